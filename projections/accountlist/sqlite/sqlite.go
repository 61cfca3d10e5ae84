// Package sqlite keeps the account list in an SQLite database.
//
// It owns one file and its companions (-wal, -shm). One connection writes, others
// read beside it, each read in a transaction of its own. It must never hold what cannot be
// built again from the log: a file of another version is thrown away.
//
// A power loss may take back the last transactions, whose checkpoints go with
// them, so that they are applied again. Deleted text is overwritten, in the file
// at once and wherever copies of it are soon after, see List.Idle.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
)

// Sizes of connections. Together the page caches stay below 64 MiB.
const (
	readers        = 8
	scanners       = 4
	writerCacheKiB = 32 << 10
	readerCacheKiB = 2 << 10
	// checkpointPages is how long the write-ahead log grows before a commit writes it
	// back: 64 MiB, so that a bulk load writes each page of an index few times.
	checkpointPages = 16 << 10
	// busyTimeout bounds the wait for another process that holds the file.
	busyTimeout = 5 * time.Second
)

// List is the account list in an SQLite database. It is safe for concurrent use.
type List struct {
	path     string
	codec    *codec.Codec
	readers  *sqlitex.Pool
	scanners *sqlitex.Pool // apart, so that long scans never keep pages waiting

	mu       sync.Mutex // guards what follows
	writer   *sqlite.Conn
	scrubber *scrubber
	closed   bool
	erasure  erasure
}

var _ accountlist.List = (*List)(nil)

// Open opens the list at path and creates it if need be. A file of another
// version is removed, and the list is then built again from position zero. A file that
// is not an account list is refused. The list is to be closed.
func Open(ctx context.Context, path string, c *codec.Codec) (*List, error) {
	writer, err := openWriter(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open the account list %s: %w", path, err)
	}
	// What was deleted before a crash may not be erased yet.
	l := &List{path: path, codec: c, writer: writer, erasure: erasure{due: true}}
	if err := l.openRest(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the account list %s: %w", path, err), l.Close())
	}
	return l, nil
}

// openRest opens what comes beside the writer.
func (l *List) openRest() (err error) {
	if l.readers, err = openReaders(l.path, readers); err != nil {
		return err
	}
	if l.scanners, err = openReaders(l.path, scanners); err != nil {
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

// Close ends reads that run, waits for them, and closes the database.
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
	return contextError(ctx, f(l.writer))
}

// contextError puts the context's error in the place of the interruption it causes.
func contextError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultInterrupt {
		return ctx.Err()
	}
	return err
}
