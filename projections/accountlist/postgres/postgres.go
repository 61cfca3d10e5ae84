// Package postgres keeps the account list in a PostgreSQL database that any number of
// instances share.
//
// It owns two kinds of schemas in the database: rollcall, which tells what lists there are
// and who leads, and one schema for each generation of the list. One instance writes a list at
// a time, its leader; the fence of the checkpoint keeps the list right even when two believe
// that they lead. It must never hold what cannot be built again from the log.
//
// Batches commit without waiting for the disk. A crash of the server may take back the last
// ones, at most about a second of them, together with their checkpoint, so that the list is
// at an earlier position and right. A reader that had waited for a position that was taken
// back may then see an older list until the leader has applied the events again.
//
// What remains of deleted text, and for how long, is told at List.Idle.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
)

// Connections of an instance, unless the address says pool_max_conns, which is for readers.
const (
	readers  = 8
	scanners = 4
	writers  = 4 // a batch of the live list and one of another, a vacuum, what an operator does
	leases   = 2 // apart, so that nothing keeps a renewal waiting
)

// writerPool names the sessions that write.
const writerPool = "writer"

// connectTime bounds how long a connection may take to come about.
const connectTime = 2 * time.Second

// defaultReadTime is longer than any page takes on a busy server.
const defaultReadTime = 10 * time.Second

// oldestServer is the oldest version of PostgreSQL that has all that is used.
const oldestServer = 140000

// DB is a database that holds account lists. Create one with Open. It is safe for concurrent
// use.
type DB struct {
	id       string // of this instance, in leases and in the names of its sessions
	log      *slog.Logger
	readers  *pgxpool.Pool
	scanners *pgxpool.Pool // apart, so that exports and comparisons never keep pages waiting
	writers  *pgxpool.Pool
	leases   *pgxpool.Pool
	readTime time.Duration // longest time of a read that is no chunk
	live     atomic.Int64  // the generation that was live when last seen
	config   *pgx.ConnConfig
	prepared atomic.Bool

	lifetime context.Context // ends with Close, for work that no call waits for
	end      context.CancelFunc
	mu       sync.Mutex // guards what follows
	closed   bool
	working  sync.WaitGroup
}

// Option changes how a database is used.
type Option func(*DB)

// WithLogger sets where the database tells of trouble that it rides out; by default nowhere.
func WithLogger(log *slog.Logger) Option { return func(db *DB) { db.log = log } }

// WithReadTime bounds how long a read of the list waits for the server, 10 seconds by default. It is then
// projections.ErrUnavailable. Chunks are not bounded.
func WithReadTime(d time.Duration) Option { return func(db *DB) { db.readTime = d } }

// Open is Connect and Prepare.
func Open(ctx context.Context, address string, opts ...Option) (*DB, error) {
	db, err := Connect(ctx, address, opts...)
	if err != nil {
		return nil, err
	}
	if err := db.Prepare(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Connect returns the database at a postgres:// address. Nobody is asked for anything yet: the server may be away. Until Prepare has
// succeeded, lists may be projections.ErrUnavailable. Close it at the end.
//
// The database's encoding must be UTF8; its locale does not matter. A pooler between must
// keep sessions, not only transactions. The user must be allowed to create schemas.
func Connect(ctx context.Context, address string, opts ...Option) (*DB, error) {
	db := &DB{id: strings.ToLower(rand.Text()), log: slog.New(slog.DiscardHandler), readTime: defaultReadTime}
	db.lifetime, db.end = context.WithCancel(context.WithoutCancel(ctx))
	for _, opt := range opts {
		opt(db)
	}
	config, err := pgxpool.ParseConfig(address)
	if err == nil {
		db.config = config.ConnConfig.Copy()
		db.config.ConnectTimeout = connectTime
		err = db.connect(ctx, config, strings.Contains(address, "pool_max_conns"))
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open the account list in PostgreSQL: %w", err)
	}
	return db, nil
}

// Prepare checks the server, brings the tables up to date, and creates the first list of this version where there is none, at position
// zero. It may be called again after an error, such as projections.ErrUnavailable.
func (db *DB) Prepare(ctx context.Context) error {
	for _, step := range []func(context.Context) error{db.check, db.migrate, db.ensureLive} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("open the account list in PostgreSQL: %w", reachable(err))
		}
	}
	db.prepared.Store(true)
	return nil
}

// Prepared tells whether Prepare has succeeded.
func (db *DB) Prepared() bool { return db.prepared.Load() }

// connect makes the pools. Readers make a plan for each query with its values, for a plan for
// any values takes many rows for granted. They are to walk along indexes also while a list is
// being filled and has no statistics; so they sort only what has no index in its order, and read
// no table from end to end.
func (db *DB) connect(ctx context.Context, config *pgxpool.Config, sized bool) (err error) {
	read := map[string]string{
		"default_transaction_isolation": "repeatable read",
		"default_transaction_read_only": "on",
		"plan_cache_mode":               "force_custom_plan",
		"enable_seqscan":                "off",
		"enable_sort":                   "off",
	}
	n := int32(readers)
	if sized {
		n = config.MaxConns
	}
	if db.readers, err = db.pool(ctx, config, "reader", n, read); err != nil {
		return err
	}
	if db.scanners, err = db.pool(ctx, config, "scanner", scanners, read); err != nil {
		return err
	}
	// A leader that is gone must not hold the checkpoint's row for longer than its lease.
	gone := map[string]string{
		"idle_in_transaction_session_timeout": milliseconds(leaseTime),
		"tcp_user_timeout":                    milliseconds(leaseTime),
	}
	if db.leases, err = db.pool(ctx, config, "lease", leases, gone); err != nil {
		return err
	}
	gone["synchronous_commit"] = "off"
	db.writers, err = db.pool(ctx, config, writerPool, writers, gone)
	return err
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// pool makes a pool of connections whose sessions have settings of their own.
func (db *DB) pool(ctx context.Context, config *pgxpool.Config, name string, most int32, settings map[string]string) (*pgxpool.Pool, error) {
	config = config.Copy()
	config.MaxConns = most
	config.MinConns = 0
	config.ConnConfig.ConnectTimeout = connectTime
	params := config.ConnConfig.RuntimeParams
	for k, v := range map[string]string{
		"application_name": db.sessions(name),
		"jit":              "off",
		// The server finds within seconds that this machine has vanished.
		"tcp_keepalives_idle":     "1",
		"tcp_keepalives_interval": "1",
		"tcp_keepalives_count":    "2",
	} {
		params[k] = v
	}
	for k, v := range settings {
		params[k] = v
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// sessions is the name that the server knows an instance's sessions by.
func (db *DB) sessions(pool string) string { return sessionName(pool, db.id) }

func sessionName(pool, instance string) string { return "rollcall " + pool + " " + instance }

// check refuses a server that the list cannot live in.
func (db *DB) check(ctx context.Context) (err error) {
	conn, err := pgx.ConnectConfig(ctx, db.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	var version int
	var encoding string
	err = conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')").Scan(&version, &encoding)
	switch {
	case err != nil:
		return err
	case version < oldestServer:
		return fmt.Errorf("the server is PostgreSQL %d; version %d or later is needed", version/10000, oldestServer/10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database's encoding is %s; create one with ENCODING 'UTF8'", encoding)
	}
	return nil
}

// Close ends what goes on in the background, waits for calls that run and closes all
// connections. Calls that come later return errors.
func (db *DB) Close() {
	db.mu.Lock()
	db.closed = true
	db.mu.Unlock()
	db.end()
	db.working.Wait()
	for _, pool := range []*pgxpool.Pool{db.readers, db.scanners, db.writers, db.leases} {
		if pool != nil {
			pool.Close()
		}
	}
}

// background runs f on a goroutine whose context ends with Close, which waits for it. It does not
// when the database is closed, and tells whether it does.
func (db *DB) background(f func(context.Context)) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if !db.closed {
		db.working.Go(func() { f(db.lifetime) })
	}
	return !db.closed
}

// Live returns the list that is live at each moment: a read shows the generation that is
// live in the read's own snapshot, and Apply returns projections.ErrFenced once another one
// has become live, so that a runner goes on with that one. The list is used up by Close.
func (db *DB) Live(c *codec.Codec) *List { return newList(db, c, 0) }

// List returns the list of one generation, live or not, to build or to compare it.
func (db *DB) List(generation int64, c *codec.Codec) *List {
	return newList(db, c, generation)
}

func newList(db *DB, c *codec.Codec, pinned int64) *List {
	return &List{db: db, codec: c, pinned: pinned}
}

// version is of what a list holds and of its tables: it changes when either does.
const version = accountlist.Version<<16 | tablesVersion
