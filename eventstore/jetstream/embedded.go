package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// EmbeddedConfig tells how the server in the process is set up.
type EmbeddedConfig struct {
	// Dir is the folder of the store. It is created when absent. One process at a time uses it.
	Dir string
	// Listen is the host:port that others connect to, port 0 for any free one. Empty: nobody else can.
	Listen string
	// Logger gets the log of the server. Nothing is logged when nil.
	Logger *slog.Logger
	// Authenticate decides who may connect through the listener and what they may do. A client that
	// gives a token instead of a user and password comes with an empty user and the token
	// as password. It is called by many goroutines at once. Nil refuses everyone.
	//
	// Whatever it grants, nobody but the process itself may write on the log's subjects and the
	// keys', or change, purge or delete a stream.
	Authenticate func(user, password string) (Permissions, bool)
}

// Embedded is a nats-server in the process, with its store on disk. An event is
// acknowledged when it is on disk.
type Embedded struct {
	server *server.Server
	lock   *os.File
	auth   *authenticator
	dir    string
	fresh  bool // the folder held no store when the server was started
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
	e := &Embedded{lock: lock, dir: cfg.Dir, auth: newAuthenticator(cfg.Authenticate)}
	if err := e.start(cfg); err != nil {
		return nil, errors.Join(err, e.lock.Close())
	}
	return e, nil
}

func (e *Embedded) start(cfg EmbeddedConfig) error {
	store := filepath.Join(cfg.Dir, "jetstream")
	_, err := os.Stat(store)
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.fresh = true
	case err != nil:
		return fmt.Errorf("start the log: %w", err)
	}
	opts := &server.Options{
		ServerName: "rollcall",
		JetStream:  true,
		StoreDir:   cfg.Dir,
		// An acknowledgement means that the event is on disk. The default writes every two minutes.
		SyncAlways:                 true,
		MaxPayload:                 maxPayload,
		NoSigs:                     true,
		DontListen:                 cfg.Listen == "",
		CustomClientAuthentication: e.auth,
	}
	if cfg.Listen != "" {
		if opts.Host, opts.Port, err = splitListen(cfg.Listen); err != nil {
			return err
		}
	}
	if e.server, err = server.NewServer(opts); err != nil {
		return fmt.Errorf("start the log in %s: %w", cfg.Dir, err)
	}
	logger := &serverLog{log: cfg.Logger}
	e.server.SetLoggerV2(logger, false, false, false)
	e.server.Start()
	if !e.server.ReadyForConnections(startTimeout) || !e.server.JetStreamEnabled() {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		return fmt.Errorf("start the log in %s: the server did not come up: %s", cfg.Dir, logger.lastError())
	}
	return nil
}

// splitListen takes host:port apart. Port 0 becomes the server's own word for a free port.
func splitListen(listen string) (string, int, error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen on %q: want host:port: %w", listen, err)
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < -1 || port > 65535 {
		return "", 0, fmt.Errorf("listen on %q: %q is no port", listen, p)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// Connect returns a connection of the process itself, with full rights.
func (e *Embedded) Connect(opts ...nats.Option) (*nats.Conn, error) {
	opts = append([]nats.Option{
		nats.Name("rollcall"),
		nats.InProcessServer(e.server),
		nats.UserInfo(e.auth.user, e.auth.password),
		nats.MaxReconnects(-1),
	}, opts...)
	nc, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded log: %w", err)
	}
	return nc, nil
}

// Open returns the store on the server. It creates the stream of the log only in
// a folder that held nothing when the server was started.
func (e *Embedded) Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Store, error) {
	cfg.MustExist = cfg.MustExist || !e.fresh
	return Open(ctx, nc, cfg)
}

// URL returns the address that others connect to, empty without a listener.
func (e *Embedded) URL() string {
	if a, ok := e.server.Addr().(*net.TCPAddr); ok && a != nil {
		return "nats://" + a.String()
	}
	return ""
}

// Stop ends the server and waits until everything is written and released. Close stores and
// connections first.
func (e *Embedded) Stop() error {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	return e.lock.Close()
}

