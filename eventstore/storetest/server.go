// Package storetest holds the conformance suite of the log and the servers that
// tests run it on. It must only be imported by tests.
package storetest

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startTimeout is how long a server may take to come up.
const startTimeout = 30 * time.Second

// RunServer starts a server with JetStream on a free port of loopback and a store of its
// own, which acknowledges a message when it is on disk. It returns the address; the
// test's end stops the server.
func RunServer(t testing.TB) string {
	t.Helper()
	s := start(t, options(t, "single"))
	return s.ClientURL()
}

// Connect connects to a server; the test's end closes the connection.
func Connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func options(t testing.TB, name string) *server.Options {
	return &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
		NoLog: true, NoSigs: true,
	}
}

// start runs a server until the end of the test.
func start(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatalf("start server %s: %v", opts.ServerName, err)
	}
	s.Start()
	t.Cleanup(func() { stop(s) })
	if !s.ReadyForConnections(startTimeout) {
		t.Fatalf("server %s on port %s did not come up", opts.ServerName, strconv.Itoa(opts.Port))
	}
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// Eventually polls a condition until it holds and fails the test when that takes too long.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("in vain waited %s until %s", startTimeout, what)
		}
	}
}
