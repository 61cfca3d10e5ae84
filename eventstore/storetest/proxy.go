package storetest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy stands between a client and a server and loses what the server says.
type Proxy struct {
	listener net.Listener
	server   string
	mute     atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	over  bool
	work  sync.WaitGroup
}

// RunProxy starts a proxy for the server at an address. The test's end stops it.
func RunProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, server: u.Host, conns: make(map[net.Conn]struct{})}
	p.work.Go(p.accept)
	t.Cleanup(p.Stop)
	return p
}

// Stop closes all connections and refuses new ones.
func (p *Proxy) Stop() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Cut()
	p.work.Wait()
}

// URL returns the address of the proxy.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Mute drops all that the server says from now on; what the client says arrives.
func (p *Proxy) Mute() { p.mute.Store(true) }

// Cut closes all connections. New ones are not mute.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
	p.mute.Store(false)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		if p.over {
			_, _ = client.Close(), server.Close()
		}
		p.conns[client], p.conns[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		for _, dir := range []struct{ to, from net.Conn }{{server, client}, {client, server}} {
			p.work.Go(func() {
				defer client.Close()
				defer server.Close()
				to := io.Writer(dir.to)
				if dir.from == server {
					to = mutable{dir.to, &p.mute}
				}
				_, _ = io.Copy(to, dir.from) // ends when either side does
			})
		}
	}
}

// mutable drops what is written while it is mute.
type mutable struct {
	io.Writer
	mute *atomic.Bool
}

func (m mutable) Write(b []byte) (int, error) {
	if m.mute.Load() {
		return len(b), nil
	}
	return m.Writer.Write(b)
}
