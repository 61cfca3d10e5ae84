// Package sqlite keeps the account list in an SQLite database.
//
// It owns one file and its companions (-wal, -shm). One connection writes, others
// read beside it, each read in a transaction of its own. It must never hold what cannot be
// built again from the log: a file of another version is thrown away.
//
// A power loss may take back the last transactions, whose checkpoints go with
// them, so that they are applied again. Deleted text is overwritten: in the file
// with the deletion, and wherever copies of it are when the list is next idle or closed,
// see List.Idle.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections"
	"rollcall/projections/accountlist"
)

// Sizes of connections. Together the page caches stay below 64 MiB.
const (
	writerCacheKiB = 32 << 10
	readerCacheKiB = 2 << 10
	// checkpointPages is how long the write-ahead log grows before a commit writes it
	// back: 64 MiB, so that a bulk load writes each page of an index few times.
	checkpointPages = 16 << 10
	// busyTimeout bounds the wait for another process that holds the file.
	busyTimeout = 5 * time.Second
)

// shape is what a list is to be like.
type shape struct {
	readers, scanners int    // connections
	synchronous       string // see https://www.sqlite.org/pragma.html#pragma_synchronous
	erasesLater       bool   // deleted text is erased when that is asked for
}

// lasting is a list that outlives its process.
var lasting = shape{readers: 8, scanners: 4, synchronous: "NORMAL"}

// List is the account list in an SQLite database. It is safe for concurrent use.
type List struct {
	path     string
	shape    shape
	codec    *codec.Codec
	log      *slog.Logger
	readers  *sqlitex.Pool
	scanners *sqlitex.Pool // apart, so that exports never keep pages waiting
	erased   atomic.Uint64 // what Erased returns

	mu       sync.Mutex // guards what follows
	writer   *sqlite.Conn
	scrubber *scrubber
	closed   bool
	erasure  erasure
}

var _ accountlist.List = (*List)(nil)

// Option changes how a list works.
type Option func(*List)

// WithLogger sets where the list tells that it could not erase deleted text; by
// default nowhere.
func WithLogger(log *slog.Logger) Option { return func(l *List) { l.log = log } }

// Open opens the list at path and creates it if need be. A file of another
// version is removed, and the list is then built again from position zero. A file that
// is not an account list is refused; one that is damaged is projections.ErrBroken. The list
// is to be closed. As long as it is open, nothing else in the process may open the file.
func Open(ctx context.Context, path string, c *codec.Codec, opts ...Option) (*List, error) {
	return open(ctx, path, lasting, c, opts)
}

func open(ctx context.Context, path string, sh shape, c *codec.Codec, opts []Option) (*List, error) {
	writer, err := openWriter(ctx, path, sh)
	if err != nil {
		return nil, fmt.Errorf("open the account list %s: %w", path, broken(path, err))
	}
	// What was deleted before a crash may not be erased yet.
	l := &List{path: path, shape: sh, codec: c, log: slog.New(slog.DiscardHandler), writer: writer, erasure: erasure{due: true}}
	for _, opt := range opts {
		opt(l)
	}
	if err := l.openRest(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the account list %s: %w", path, err), l.Close())
	}
	return l, nil
}

// openRest opens what comes beside the writer.
func (l *List) openRest() (err error) {
	if l.readers, err = openReaders(l.path, l.shape.readers); err != nil {
		return err
	}
	if l.scanners, err = openReaders(l.path, l.shape.scanners); err != nil {
		return err
	}
	l.scrubber, err = openScrubber(l.path)
	return err
}

func openReaders(path string, n int) (*sqlitex.Pool, error) {
	return sqlitex.NewPool(path, sqlitex.PoolOptions{
		Flags:    sqlite.OpenReadOnly,
		PoolSize: n,
		PrepareConn: func(conn *sqlite.Conn) error {
			conn.SetBusyTimeout(busyTimeout)
			return pragmas(conn, "temp_store=MEMORY", "query_only=ON", fmt.Sprintf("cache_size=-%d", readerCacheKiB))
		},
	})
}

// Close ends reads that run, waits for them, erases what is left of deleted text, which takes
// about a second a GiB, and closes the database. When that cannot be erased it returns
// an error; the list is closed nevertheless.
func (l *List) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	for _, pool := range []*sqlitex.Pool{l.readers, l.scanners} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	if l.scrubber != nil {
		errs = append(errs, l.eraseNow())
	}
	// The last connection to close empties the write-ahead log.
	errs = append(errs, l.writer.Close())
	if l.scrubber != nil {
		errs = append(errs, l.scrubber.close())
	}
	return errors.Join(errs...)
}

// Name returns accountlist.Name.
func (l *List) Name() string { return accountlist.Name }

// Checkpoint returns the position of the last event applied.
func (l *List) Checkpoint(ctx context.Context) (position eventstore.Position, err error) {
	err = l.read(ctx, l.readers, func(v *view) error {
		position = eventstore.Position(v.position)
		return nil
	})
	return position, err
}

// errClosed means that the list is used after it was closed.
var errClosed = errors.New("the account list is closed")

// write runs f with the writing connection, which the context interrupts.
func (l *List) write(ctx context.Context, f func(*sqlite.Conn) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	l.writer.SetInterrupt(ctx.Done())
	defer l.writer.SetInterrupt(nil)
	return l.failure(ctx, f(l.writer))
}

// contextError puts the context's error in the place of the interruption it causes.
func contextError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultInterrupt {
		return ctx.Err()
	}
	return err
}

// errInconsistent means that the search index and the accounts do not belong together.
var errInconsistent = errors.New("the search index is damaged")

// rebuild says what to do about a damaged list.
const rebuild = "stop the service, delete the file and those beside it whose names end in -wal and -shm, " +
	"and start the service, which builds the list again from the log"

// failure returns an error of the database as a caller is to see it.
func (l *List) failure(ctx context.Context, err error) error {
	return broken(l.path, contextError(ctx, err))
}

// broken turns an error that only a damaged list can cause into projections.ErrBroken with
// what to do. Constraints are among them: events that break one are told apart before.
func broken(path string, err error) error {
	if err == nil || errors.Is(err, projections.ErrBroken) {
		return err
	}
	code := sqlite.ErrCode(err).ToPrimary()
	if code != sqlite.ResultCorrupt && code != sqlite.ResultNotADB && code != sqlite.ResultConstraint && !errors.Is(err, errInconsistent) {
		return err
	}
	return fmt.Errorf("%w: the account list %s: %w; %s", projections.ErrBroken, path, err, rebuild)
}
