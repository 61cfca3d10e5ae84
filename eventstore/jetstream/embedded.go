package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

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
	*Door
	lock *os.File
	dir  string
}

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
	e := &Embedded{lock: lock, dir: cfg.Dir}
	if err := e.start(cfg); err != nil {
		return nil, errors.Join(err, e.lock.Close())
	}
	return e, nil
}

func (e *Embedded) start(cfg EmbeddedConfig) (err error) {
	if err := prepareFolder(cfg.Dir); err != nil {
		return fmt.Errorf("start the log in %s: %w", cfg.Dir, err)
	}
	if err := checkBlocks(cfg.Dir, DefaultStream); err != nil {
		return err
	}
	e.Door, err = startDoor(cfg.Listen, cfg.Authenticate, cfg.Logger, &server.Options{
		ServerName: "rollcall",
		JetStream:  true,
		StoreDir:   cfg.Dir,
		// An acknowledgement means that the event is on disk. The default writes every two minutes.
		SyncAlways: true,
	})
	if err != nil {
		return fmt.Errorf("start the log in %s: %w", cfg.Dir, err)
	}
	return nil
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

// Stop ends the server and waits until everything is written and released. Close stores and
// connections first.
func (e *Embedded) Stop() error {
	return errors.Join(e.Door.Stop(), e.lock.Close())
}
