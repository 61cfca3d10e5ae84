package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections"
	"rollcall/projections/accountlist"
)

// List is the account list, either whichever generation is live or a certain one. It is
// safe for concurrent use, and so are several lists on one database, of one instance or many.
type List struct {
	db      *DB
	codec   *codec.Codec
	pinned  int64 // the generation, zero for the live one
	erasure erasure
}

var _ accountlist.List = (*List)(nil)

// Name returns accountlist.Name.
func (l *List) Name() string { return accountlist.Name }

// generation returns the generation that is read and written, as far as is known.
func (l *List) generation() int64 {
	if l.pinned != 0 {
		return l.pinned
	}
	return l.db.live.Load()
}

// view is one read transaction: the tables of one generation as of one position.
type view struct {
	conn       *pgxpool.Conn
	generation int64
	position   uint64
}

// errMoved means that another generation has become live.
var errMoved = errors.New("another list has become live")

// mostMoves bounds how often a read begins anew because another generation has become live.
const mostMoves = 10

// look is read for what takes a moment. A server that hangs is not waited for longer than readTime.
func (l *List) look(ctx context.Context, f func(context.Context, *view) error) error {
	bounded, cancel := context.WithTimeout(ctx, l.db.readTime)
	defer cancel()
	err := l.read(bounded, l.db.readers, f)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return fmt.Errorf("%w: it has not answered within %s", projections.ErrUnavailable, l.db.readTime)
	}
	return err
}

// read calls f with a view of now. When the live generation has changed, the view is made
// again of the new one before f is called.
func (l *List) read(ctx context.Context, pool *pgxpool.Pool, f func(context.Context, *view) error) error {
	for range mostMoves {
		generation := l.generation()
		called := false
		err := l.readFrom(ctx, pool, generation, func(v *view) error {
			called = true
			return f(ctx, v)
		})
		if err == nil || called || l.pinned != 0 {
			return l.failure(ctx, generation, err)
		}
		if rerr := l.db.ensureLive(ctx); rerr != nil {
			return l.failure(ctx, generation, rerr)
		}
		if l.generation() == generation && !errors.Is(err, errMoved) {
			return l.failure(ctx, generation, err)
		}
	}
	return errMoved
}

// readFrom calls f with a view of a generation.
func (l *List) readFrom(ctx context.Context, pool *pgxpool.Pool, generation int64, f func(*view) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release() // closes it if the transaction has not ended
	v := &view{conn: conn, generation: generation}
	err = v.begin(ctx, l.pinned == 0)
	if err == nil {
		err = f(v)
	}
	v.end(ctx)
	return err
}

// begin begins the transaction in one round trip. Sessions of readers are such that its
// snapshot stays the same.
func (v *view) begin(ctx context.Context, follow bool) error {
	var b pgx.Batch
	b.Queue("BEGIN")
	if follow {
		b.Queue(selectLive, version).QueryRow(func(row pgx.Row) error {
			var live int64
			if err := row.Scan(&live); err != nil {
				return err
			}
			if live != v.generation {
				return errMoved
			}
			return nil
		})
	}
	b.Queue(in(v.generation, "SELECT checkpoint FROM list.progress")).QueryRow(func(row pgx.Row) error {
		return row.Scan(&v.position)
	})
	return v.conn.SendBatch(ctx, &b).Close()
}

// end ends the transaction, which has changed nothing. A connection on which that fails is
// closed when it is released.
func (v *view) end(ctx context.Context) {
	if !v.conn.Conn().IsClosed() {
		_, _ = v.conn.Exec(ctx, "ROLLBACK")
	}
}

// query calls row for each row of the answer, until it returns an error.
func (v *view) query(ctx context.Context, sql string, row func(pgx.Rows) error, args ...any) error {
	rows, err := v.conn.Query(ctx, in(v.generation, sql), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// app returns an application that exists, or a rejection.
func (v *view) app(ctx context.Context, app domain.AppID) (r appRow, err error) {
	err = v.query(ctx, selectApps+" WHERE app = $1", func(rows pgx.Rows) (err error) {
		r, err = readApp(rows)
		return err
	}, string(app))
	if err == nil && !r.app.Exists() {
		err = accountlist.AppNotFound(app)
	}
	return r, err
}

// Checkpoint returns the position of the last event applied.
func (l *List) Checkpoint(ctx context.Context) (position eventstore.Position, err error) {
	err = l.look(ctx, func(_ context.Context, v *view) error {
		position = eventstore.Position(v.position)
		return nil
	})
	return position, err
}

// App returns one application.
func (l *List) App(ctx context.Context, app domain.AppID) (found domain.App, position uint64, err error) {
	err = l.look(ctx, func(ctx context.Context, v *view) error {
		position = v.position
		r, err := v.app(ctx, app)
		found = r.app
		return err
	})
	return found, position, err
}

// Apps returns all applications by id.
func (l *List) Apps(ctx context.Context) (apps []domain.App, position uint64, err error) {
	err = l.look(ctx, func(ctx context.Context, v *view) error {
		position = v.position
		return v.query(ctx, selectApps+" ORDER BY app", func(rows pgx.Rows) error {
			r, err := readApp(rows)
			apps = append(apps, r.app)
			return err
		})
	})
	return apps, position, err
}

// Account returns one account.
func (l *List) Account(ctx context.Context, app domain.AppID, id domain.UserID) (found domain.Account, position uint64, err error) {
	err = l.look(ctx, func(ctx context.Context, v *view) error {
		position = v.position
		r, err := v.app(ctx, app)
		if err != nil {
			return err
		}
		err = v.query(ctx, "SELECT "+accountColumns+" FROM list.accounts a WHERE app = $1 AND user_id = $2", func(rows pgx.Rows) (err error) {
			found, err = readAccount(rows, app)
			return err
		}, r.id, string(id))
		if err == nil && !found.Exists() {
			err = accountlist.AccountNotFound(app, id)
		}
		return err
	})
	return found, position, err
}

// failure returns an error of the database as a caller is to see it: the context's when that
// has ended, projections.ErrBroken with what to do when only a damaged list can cause it.
func (l *List) failure(ctx context.Context, generation int64, err error) error {
	switch code(err) {
	case codeDataCorrupted, codeIndexCorrupted, codeUndefinedTable, codeUndefinedColumn:
		if !l.db.Prepared() {
			return fmt.Errorf("%w: its tables are not there yet: %w", projections.ErrUnavailable, err)
		}
		return broken(generation, err)
	}
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return reachable(err)
}

// reachable returns an error, as projections.ErrUnavailable when the server cannot be reached.
func reachable(err error) error {
	if unreachable(err) {
		return fmt.Errorf("%w: %w", projections.ErrUnavailable, err)
	}
	return err
}

// unreachable tells whether the server cannot be reached, or can serve nobody for now.
func unreachable(err error) bool {
	var rejected *domain.Rejection
	if err == nil || errors.As(err, &rejected) || errors.Is(err, projections.ErrBroken) || errors.Is(err, projections.ErrFenced) {
		return false
	}
	switch c := code(err); {
	case c != "":
		const connection, resources, operator = "08", "53", "57P"
		return strings.HasPrefix(c, connection) || strings.HasPrefix(c, resources) || strings.HasPrefix(c, operator)
	}
	var network net.Error
	var connect *pgconn.ConnectError
	return errors.As(err, &network) || errors.As(err, &connect) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		pgconn.Timeout(err) || errors.Is(err, pgconn.ErrConnClosed)
}

// broken returns the error of a list that is damaged.
func broken(generation int64, err error) error {
	if err == nil || errors.Is(err, projections.ErrBroken) {
		return err
	}
	return fmt.Errorf("%w: the account list in the schema %s: %w; build another one from the log, promote it, and drop this one",
		projections.ErrBroken, schemaOf(generation), err)
}
