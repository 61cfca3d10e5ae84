package storetest

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"rollcall/eventstore/storetest/freeport"
)

// Cluster is a cluster of servers on loopback, each with a store of its own,
// which acknowledge a message when it is on the disks of most of them.
type Cluster struct {
	t     testing.TB
	nodes []*server.Server // nil for one that is stopped
	opts  []*server.Options
}

// RunCluster starts n servers that form a cluster and waits until JetStream has
// a leader. The test's end stops them.
func RunCluster(t testing.TB, n int) *Cluster {
	t.Helper()
	c := newCluster(t)
	// The ports are chosen beforehand and kept: a node starts with the routes to all, and
	// clients and nodes find it again after a restart.
	ports := FreePorts(t, 2*n)
	var routes []*url.URL
	for _, port := range ports[n:] {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
	}
	for i := range n {
		opts := options(t, fmt.Sprintf("node%d", i+1))
		opts.Port = ports[i]
		opts.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[n+i]}
		opts.Routes = routes
		c.nodes, c.opts = append(c.nodes, c.run(opts)), append(c.opts, opts)
	}
	c.await()
	return c
}

// newCluster returns a cluster without servers, whose servers the test's end stops.
func newCluster(t testing.TB) *Cluster {
	c := &Cluster{t: t}
	t.TempDir() // the test's folders are removed after what is registered from here on has ended
	t.Cleanup(func() {
		for _, s := range c.nodes {
			if s != nil {
				stop(s)
			}
		}
	})
	return c
}

// FreePorts returns ports of loopback that nobody listens on, see package freeport.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports, err := freeport.Choose(n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

// URL returns the addresses of all nodes, joined by commas.
func (c *Cluster) URL() string {
	var urls []string
	for _, o := range c.opts {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return strings.Join(urls, ",")
}

// Stop stops the node of that name, such as the leader that a stream's info names.
func (c *Cluster) Stop(name string) {
	c.t.Helper()
	i := c.index(name)
	stop(c.nodes[i])
	c.nodes[i] = nil
}

// Start starts a stopped node again, on its ports and its store, and waits until it is up to date.
func (c *Cluster) Start(name string) {
	c.t.Helper()
	i := c.index(name)
	c.nodes[i] = c.run(c.opts[i])
	c.await()
}

func (c *Cluster) index(name string) int {
	c.t.Helper()
	i := slices.IndexFunc(c.opts, func(o *server.Options) bool { return o.ServerName == name })
	if i < 0 {
		c.t.Fatalf("the cluster has no node %q", name)
	}
	return i
}

// run starts a node and waits until it listens. Alone it cannot get ready.
func (c *Cluster) run(opts *server.Options) *server.Server {
	c.t.Helper()
	s, err := server.NewServer(opts.Clone())
	if err != nil {
		c.t.Fatalf("start %s: %v", opts.ServerName, err)
	}
	s.Start()
	Eventually(c.t, opts.ServerName+" listens", func() bool { return s.Addr() != nil && s.ClusterAddr() != nil })
	return s
}

// await waits until the running nodes have a leader that knows them all, and are up to date with it.
func (c *Cluster) await() {
	c.t.Helper()
	Eventually(c.t, "the cluster has a leader that all follow", func() bool {
		running, known := 0, 0
		for _, s := range c.nodes {
			if s == nil {
				continue
			}
			if !s.JetStreamIsCurrent() {
				return false
			}
			running++
			if s.JetStreamIsLeader() {
				known = len(s.JetStreamClusterPeers())
			}
		}
		return known >= running
	})
}
