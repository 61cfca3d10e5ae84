package storetest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"rollcall/eventstore/storetest/freeport"
)

// Passwords of the users of a Deployment.
const (
	routePassword = "test-password-of-routes"
	Password      = "test-password-of-rollcall"
	DoorPassword  = "test-password-of-doors"
	AdminPassword = "test-password-of-admin"
)

// Deployment is a cluster of three servers that are configured by deployments/nats/nats.conf.
type Deployment struct {
	*Cluster
	leafs []int
}

// RunDeployment starts the three servers and waits until JetStream has a leader. The test's end stops them.
func RunDeployment(t testing.TB) *Deployment {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	conf, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "deployments", "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	const n = 3
	at := freeport.Address
	ports := FreePorts(t, 4*n)
	var routes []string
	for _, port := range ports[n : 2*n] {
		routes = append(routes, "nats://route:"+routePassword+"@"+at(port))
	}
	d := &Deployment{Cluster: newCluster(t), leafs: ports[2*n : 3*n]}
	for i := range n {
		var values strings.Builder // the file's variables, which are the environment's where they are not set before it
		for name, value := range map[string]string{
			"NAME": fmt.Sprintf("node%d", i+1), "LISTEN": at(ports[i]), "ROUTE": at(ports[n+i]), "LEAF": at(ports[2*n+i]), "MONITOR": at(ports[3*n+i]),
			"ROUTES": "[" + strings.Join(routes, ", ") + "]", "STORE": t.TempDir(),
			"PASSWORD": Password, "LEAF_PASSWORD": DoorPassword, "ROUTE_PASSWORD": routePassword, "ADMIN_PASSWORD": AdminPassword,
		} {
			fmt.Fprintf(&values, "ROLLCALL_NATS_%s: %s\n", name, value)
		}
		file := filepath.Join(t.TempDir(), "nats.conf")
		if err := os.WriteFile(file, append([]byte(values.String()), conf...), 0o600); err != nil {
			t.Fatal(err)
		}
		opts, err := server.ProcessConfigFile(file)
		if err != nil {
			t.Fatalf("read %s: %v", file, err)
		}
		opts.NoLog, opts.NoSigs = true, true
		d.nodes, d.opts = append(d.nodes, d.run(opts)), append(d.opts, opts)
	}
	d.await()
	return d
}

// LeafURLs returns the addresses for leaf nodes.
func (d *Deployment) LeafURLs() []string {
	var urls []string
	for _, port := range d.leafs {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	return urls
}

// URLs returns the addresses of all nodes.
func (d *Deployment) URLs() []string { return strings.Split(d.URL(), ",") }
