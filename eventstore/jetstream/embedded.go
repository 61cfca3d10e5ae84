package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"rollcall/eventstore"
)

// EmbeddedConfig tells how the server in the process is set up.
type EmbeddedConfig struct {
	// Dir is the folder of the store. It is created when absent. One process at a time uses it.
	Dir string
	// Listen is the host:port that others connect to once Accept is called, port 0 for any free one. Empty: nobody else can.
	Listen string
	// Logger gets the log of the server. Nothing is logged when nil.
	Logger *slog.Logger
	// Authenticate decides who may connect through the listener and what they may do. It is called by many
	// goroutines at once. Nil refuses everyone.
	Authenticate Authenticate
}

// Embedded is a nats-server in the process, with its store on disk. An event is
// acknowledged when it is on disk.
type Embedded struct {
	server *server.Server
	lock   *os.File
	auth   *authenticator
	dir    string
	listen string
	log    *serverLog
}

const (
	maxPayload   = 1 << 20
	startTimeout = time.Minute
)

// StartEmbedded starts the server and returns when it is ready. ErrLocked means
// that another process uses the folder.
func StartEmbedded(cfg EmbeddedConfig) (*Embedded, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start the log: %w", err)
	}
	lock, err := lockFolder(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Embedded{lock: lock, dir: cfg.Dir, listen: cfg.Listen, auth: newAuthenticator(cfg.Authenticate)}
	if err := e.start(cfg); err != nil {
		return nil, errors.Join(err, e.lock.Close())
	}
	return e, nil
}

func (e *Embedded) start(cfg EmbeddedConfig) error {
	if err := prepareFolder(cfg.Dir); err != nil {
		return fmt.Errorf("start the log in %s: %w", cfg.Dir, err)
	}
	host, port, err := hostPort(cfg.Listen)
	if err != nil {
		return err
	}
	opts := &server.Options{
		ServerName: "rollcall",
		JetStream:  true,
		StoreDir:   cfg.Dir,
		// An acknowledgement means that the event is on disk. The default writes every two minutes.
		SyncAlways: true,
		// A client that listens and is slow is cut off rather than waited for.
		NoFastProducerStall:        true,
		MaxPayload:                 maxPayload,
		NoSigs:                     true,
		DontListen:                 true, // until Accept
		Host:                       host,
		Port:                       port,
		CustomClientAuthentication: e.auth,
	}
	if e.server, err = server.NewServer(opts); err != nil {
		return fmt.Errorf("start the log in %s: %w", cfg.Dir, err)
	}
	e.log = &serverLog{log: cfg.Logger}
	e.server.SetLoggerV2(e.log, false, false, false)
	e.server.Start()
	// The server starts in this goroutine: when it is not running now, it has said why.
	if e.log.isFatal() || !e.server.Running() || !e.server.ReadyForConnections(startTimeout) || !e.server.JetStreamEnabled() {
		e.stopServer()
		return fmt.Errorf("start the log in %s: the server did not come up: %s", cfg.Dir, e.log.lastError())
	}
	e.auth.serveGuests(e.server)
	return nil
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

func (e *Embedded) stopServer() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// prepareFolder leaves word in a new folder that there is no log yet to be lost.
func prepareFolder(dir string) error {
	known, err := readMark(dir)
	if known != nil || err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(dir, server.JetStreamStoreDir))
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return mark{New: true}.write(dir)
}

// Connect returns a connection of the process itself, with full rights. It gets its answers on
// subjects that nobody else hears, whatever the options.
func (e *Embedded) Connect(opts ...nats.Option) (*nats.Conn, error) {
	opts = slices.Concat([]nats.Option{
		nats.Name("rollcall"),
		nats.InProcessServer(e.server),
		nats.UserInfo(e.auth.user, e.auth.password),
		nats.MaxReconnects(-1),
	}, opts, []nats.Option{nats.CustomInboxPrefix(inboxPrefix)})
	nc, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded log: %w", err)
	}
	return nc, nil
}

// Open returns the store on the server. It creates the stream of the log only in
// a folder that was new, and compares an existing one with the last position that the folder
// remembers: a log that is gone, lost its end or has been written anew is eventstore.ErrDamaged. Open it once.
func (e *Embedded) Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Store, error) {
	known, err := readMark(e.dir)
	if err != nil {
		return nil, err
	}
	fresh := known != nil && known.New
	cfg.MustExist = cfg.MustExist || !fresh
	s, err := Open(ctx, nc, cfg)
	if err != nil {
		return nil, err
	}
	if err := e.remember(ctx, s, known); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// remember compares the log with what is known of it and begins to take note of appends.
func (e *Embedded) remember(ctx context.Context, s *Store, known *mark) error {
	var at eventstore.Position
	switch {
	case known == nil: // of an earlier log, or removed by hand
	case known.New:
		if err := (mark{}).write(e.dir); err != nil {
			return err
		}
	default:
		if err := known.compare(ctx, s); err != nil {
			return err
		}
		at = known.Position
	}
	m := startMarker(e.dir, at, s.cfg.Logger)
	s.acked, s.stopMarker = m.acked, m.close
	return nil
}

// URL returns the address that others connect to, empty without a listener and after Stop.
func (e *Embedded) URL() string {
	addr := e.server.Addr()
	if addr == nil {
		return ""
	}
	return "nats://" + addr.String()
}

// Accept begins to let others connect, where an address to listen on was given. Call it once, when Authenticate knows all who may: a
// client gives up for good that is refused twice.
func (e *Embedded) Accept() error {
	if e.listen == "" {
		return nil
	}
	e.server.AcceptLoop(make(chan struct{})) // it returns at once; the channel is for those who wait elsewhere
	if e.server.Addr() == nil {
		return fmt.Errorf("listen on %s for NATS clients: %s; stop what listens there or choose another address", e.listen, e.log.lastError())
	}
	return nil
}

// ThrowOut ends the connections of a guest. One whose credentials end is to be refused by Authenticate first; then no
// connection is left that was let in before.
func (e *Embedded) ThrowOut(guest string) error { return e.auth.throwOut(guest) }

// Stop ends the server and waits until everything is written and released. Close stores and
// connections first.
func (e *Embedded) Stop() error {
	e.stopServer()
	return e.lock.Close()
}
