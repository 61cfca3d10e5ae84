package keyring_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/keyring"
	"rollcall/eventstore/storetest"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// node is a server that can be stopped and started again on its store.
type node struct {
	opts *server.Options
	srv  *server.Server
}

// newNode starts a server on a free port of loopback. It acknowledges a message when it is on disk.
func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{opts: nodeOptions(t, "single")}
	n.start(t)
	return n
}

func nodeOptions(t testing.TB, name string) *server.Options {
	return &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoLog: true, NoSigs: true,
	}
}

func (n *node) start(t testing.TB) {
	t.Helper()
	srv, err := server.NewServer(n.opts)
	if err != nil {
		t.Fatalf("start server %s: %v", n.opts.ServerName, err)
	}
	n.srv = srv
	srv.Start()
	t.Cleanup(n.stop)
	if len(n.opts.Routes) == 0 {
		n.ready(t)
	}
}

// ready waits until the server takes connections.
func (n *node) ready(t testing.TB) {
	t.Helper()
	if !n.srv.ReadyForConnections(patience) {
		t.Fatalf("server %s did not come up", n.opts.ServerName)
	}
}

// stop is harmless on a server that is stopped.
func (n *node) stop() {
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

// port returns the port that a server listens on.
func port(t testing.TB, n *node) int {
	t.Helper()
	addr, ok := n.srv.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("the server listens on %v", n.srv.Addr())
	}
	return addr.Port
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
		t.Fatalf("connect: %v", err)
	}
	return js
}

// newCluster starts three servers and waits until they agree on a leader.
func newCluster(t testing.TB) []*node {
	t.Helper()
	nodes := make([]*node, 3)
	// A server of a cluster must know where the others are before it starts.
	ports := storetest.FreePorts(t, len(nodes))
	var routes []*url.URL
	for _, p := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p))})
	}
	for i := range nodes {
		n := &node{opts: nodeOptions(t, fmt.Sprintf("node-%d", i))}
		n.opts.Cluster = server.ClusterOpts{Name: "keys", Host: "127.0.0.1", Port: ports[i]}
		n.opts.Routes = routes
		n.start(t)
		nodes[i] = n
	}
	for _, n := range nodes {
		n.ready(t)
	}
	eventually(t, "the cluster has a leader and three peers", func() bool {
		for _, n := range nodes {
			if n.srv.JetStreamIsLeader() {
				return len(n.srv.JetStreamClusterPeers()) == len(nodes)
			}
		}
		return false
	})
	return nodes
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// filesWith returns the files below a folder that contain one of the needles.
func filesWith(t testing.TB, dir string, needles ...[]byte) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return ignoreGone(err)
		}
		for _, needle := range needles {
			if bytes.Contains(content, needle) {
				found = append(found, path)
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("search the store: %v", err)
	}
	return found
}

// ignoreGone lets pass that a running server removed a file during the search.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// newMaster returns a master key.
func newMaster(t testing.TB) keyring.MasterKey {
	t.Helper()
	m, err := keyring.CreateMasterKey(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// open opens a keyring; the test's end closes it.
func open(t testing.TB, js jetstream.JetStream, m keyring.MasterKey, opts keyring.Options) *keyring.Keyring {
	t.Helper()
	k, err := keyring.Open(t.Context(), js, m, opts)
	if err != nil {
		t.Fatalf("open keyring: %v", err)
	}
	t.Cleanup(k.Close)
	return k
}
