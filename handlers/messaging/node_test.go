package messaging_test

import (
	"context"
	"testing"
	"time"

	"rollcall/eventstore/storetest"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// node is a server that can be stopped and started again on its store and port.
type node struct {
	opts *server.Options
	srv  *server.Server
}

// newNode starts a server on a free port of loopback; the test's end stops it.
func newNode(t testing.TB) *node {
	t.Helper()
	return newNodeOf(t, func(*server.Options) {})
}

// newNodeOf is newNode with other options.
func newNodeOf(t testing.TB, change func(*server.Options)) *node {
	t.Helper()
	n := &node{opts: &server.Options{
		ServerName: "single", Host: "127.0.0.1", Port: storetest.FreePorts(t, 1)[0],
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoLog: true, NoSigs: true,
	}}
	change(n.opts)
	n.run(t)
	return n
}

// run starts the server for the length of the test.
func (n *node) run(t testing.TB) {
	t.Helper()
	n.start(t)
	t.Cleanup(n.stop)
}

func (n *node) start(t testing.TB) {
	t.Helper()
	srv, err := server.NewServer(n.opts)
	if err != nil {
		t.Fatalf("start server: %v", err)
	}
	n.srv = srv
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server did not come up")
	}
}

// stop is harmless on a server that is stopped.
func (n *node) stop() {
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

// connect returns a connection of its own; the test's end closes it.
func (n *node) connect(t testing.TB) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(n.srv.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// eventually polls a condition until it holds and returns how long that took.
func eventually(t testing.TB, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("did not happen within %v: %s", patience, what)
		}
	}
	return time.Since(start)
}
