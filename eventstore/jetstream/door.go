package jetstream

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Door is the nats-server in the process that others connect to. On its own it stores nothing: it leads guests to a
// cluster, as Embedded leads them to the store that it has itself.
type Door struct {
	server *server.Server
	auth   *authenticator
	listen string
	log    *serverLog
}

// DoorConfig tells how a door to a cluster is set up.
type DoorConfig struct {
	// Listen is the host:port that others connect to once Accept is called, port 0 for any free one. Empty: nobody else can.
	Listen string
	// Cluster are the addresses where servers of the cluster take leaf nodes. The credentials are those of the
	// account that the log is in.
	Cluster Cluster
	// Authenticate decides who may connect through the listener and what they may do. It is called by many
	// goroutines at once. Nil refuses everyone.
	Authenticate Authenticate
	// Logger gets the log of the server. Nothing is logged when nil.
	Logger *slog.Logger
}

const (
	maxPayload   = 1 << 20
	startTimeout = time.Minute
)

// answeredHere are the subjects of what the process itself answers: what guests of a door ask is never
// asked elsewhere, so that who they are is told by the server that has let them in.
var answeredHere = []string{"accounts.ingress.>", "accounts.rpc.>"}

// StartDoor starts a server that leads to a cluster as a leaf node. It returns when the server is ready, whether or not the
// cluster is, see Led.
func StartDoor(cfg DoorConfig) (*Door, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	remote, err := cfg.Cluster.leaf()
	if err != nil {
		return nil, fmt.Errorf("start the NATS server for clients: %w", err)
	}
	remote.DenyExports, remote.DenyImports = answeredHere, answeredHere
	d, err := startDoor(cfg.Listen, cfg.Authenticate, cfg.Logger, &server.Options{
		ServerName: "rollcall-door-" + rand.Text()[:8], // the cluster takes no two of one name
		LeafNode:   server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{remote}, ReconnectInterval: time.Second},
	})
	if err != nil {
		return nil, fmt.Errorf("start the NATS server for clients: %w", err)
	}
	return d, nil
}

// startDoor starts a server with what all doors have in common.
func startDoor(listen string, hook Authenticate, logger *slog.Logger, opts *server.Options) (*Door, error) {
	d := &Door{listen: listen, auth: newAuthenticator(hook, !opts.JetStream), log: &serverLog{log: logger}}
	var err error
	if opts.Host, opts.Port, err = hostPort(listen); err != nil {
		return nil, err
	}
	// A client that listens and is slow is cut off rather than waited for.
	opts.NoFastProducerStall = true
	opts.MaxPayload = maxPayload
	opts.NoSigs = true
	opts.DontListen = true // until Accept
	opts.CustomClientAuthentication = d.auth
	if d.server, err = server.NewServer(opts); err != nil {
		return nil, err
	}
	d.server.SetLoggerV2(d.log, false, false, false)
	d.server.Start()
	// The server starts in this goroutine: when it is not running now, it has said why.
	if d.log.isFatal() || !d.server.Running() || !d.server.ReadyForConnections(startTimeout) || d.server.JetStreamEnabled() != opts.JetStream {
		d.stopServer()
		return nil, fmt.Errorf("the server did not come up: %s", d.log.lastError())
	}
	d.auth.serveGuests(d.server)
	return d, nil
}

// hostPort splits an address to listen on as the server has it.
func hostPort(listen string) (host string, port int, err error) {
	if listen == "" {
		return "", 0, nil
	}
	host, service, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = net.LookupPort("tcp", service)
	}
	if err != nil {
		return "", 0, fmt.Errorf("listen on %q: %w; give a host:port", listen, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// Connect returns a connection of the process itself, with full rights. It gets its answers on
// subjects that nobody else hears, whatever the options.
func (d *Door) Connect(opts ...nats.Option) (*nats.Conn, error) {
	opts = slices.Concat([]nats.Option{
		nats.Name("rollcall"),
		nats.InProcessServer(d.server),
		nats.UserInfo(d.auth.user, d.auth.password),
		nats.MaxReconnects(-1),
	}, opts, []nats.Option{nats.CustomInboxPrefix(inboxPrefix)})
	nc, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to the server in the process: %w", err)
	}
	return nc, nil
}

// URL returns the address that others connect to, empty without a listener and after Stop.
func (d *Door) URL() string {
	addr := d.server.Addr()
	if addr == nil {
		return ""
	}
	return "nats://" + addr.String()
}

// Accept begins to let others connect, where an address to listen on was given. Call it once, when Authenticate knows all who may: a
// client gives up for good that is refused twice.
func (d *Door) Accept() error {
	if d.listen == "" {
		return nil
	}
	d.server.AcceptLoop(make(chan struct{})) // it returns at once; the channel is for those who wait elsewhere
	if d.server.Addr() == nil {
		return fmt.Errorf("listen on %s for NATS clients: %s; stop what listens there or choose another address", d.listen, d.log.lastError())
	}
	return nil
}

// ThrowOut ends the connections of a guest. One whose credentials end is to be refused by Authenticate first; then no
// connection is left that was let in before.
func (d *Door) ThrowOut(guest string) error { return d.auth.throwOut(guest) }

// Led tells whether the door leads to its cluster now.
func (d *Door) Led() bool { return d.server.NumLeafNodes() > 0 }

// Clients returns how many connections of others there are.
func (d *Door) Clients() int {
	// Guests have accounts of their own; what the process has itself is in the global one.
	return max(d.server.NumClients()-d.server.GlobalAccount().NumLocalConnections(), 0)
}

// SlowClients returns how many connections of others have been cut off since they did not read what they had asked to hear.
func (d *Door) SlowClients() int64 { return d.server.NumSlowConsumers() }

// Stop ends the server and waits until everything is released. Close connections first.
func (d *Door) Stop() error {
	d.stopServer()
	return nil
}

func (d *Door) stopServer() {
	d.server.Shutdown()
	d.server.WaitForShutdown()
}
