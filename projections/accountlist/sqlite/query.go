package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

// errEnough ends a query early.
var errEnough = errors.New("enough rows")

// query calls row for each row of the answer, until it returns an error;
// errEnough ends the query without one. The statement is kept for the next time.
// Arguments are int64 or string.
func query(conn *sqlite.Conn, sql string, row func(*sqlite.Stmt) error, args ...any) (err error) {
	stmt, err := conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() { err = finish(stmt, err) }()
	for i, arg := range args {
		switch arg := arg.(type) {
		case int64:
			stmt.BindInt64(i+1, arg)
		case string:
			stmt.BindText(i+1, arg)
		default:
			return fmt.Errorf("cannot bind %T", arg)
		}
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		if err := row(stmt); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// finish ends a statement and returns err, or else what ending it returns. After a
// failed step that is only the same again.
func finish(stmt *sqlite.Stmt, err error) error {
	if rerr := stmt.Reset(); err == nil {
		return rerr
	}
	return err
}

// exec runs a statement that answers nothing.
func exec(conn *sqlite.Conn, sql string, args ...any) error {
	return query(conn, sql, func(*sqlite.Stmt) error { return nil }, args...)
}

// view is one read transaction: the tables as of one position.
type view struct {
	conn     *sqlite.Conn
	position uint64
}

// read calls f with a view of now. The context interrupts it.
func (l *List) read(ctx context.Context, pool *sqlitex.Pool, f func(*view) error) (err error) {
	conn, err := pool.Take(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errClosed
	}
	defer pool.Put(conn)
	if err := exec(conn, "BEGIN"); err != nil {
		return l.failure(ctx, fmt.Errorf("read the account list: %w", err))
	}
	defer func() {
		conn.SetInterrupt(nil) // the transaction is to end even when the context has
		if cerr := exec(conn, "COMMIT"); err == nil && cerr != nil {
			err = fmt.Errorf("read the account list: %w", cerr)
		}
	}()
	position, err := count(conn, "SELECT checkpoint FROM progress")
	if err == nil {
		err = f(&view{conn: conn, position: uint64(position)})
	}
	return l.failure(ctx, err)
}

// appRow is an application with its counters.
type appRow struct {
	accountlist.Counts
	id  int64
	app domain.App
}

const selectApps = "SELECT id, app, name, max_admins, created_at, updated_at, revision, normals, admins FROM apps"

func readApp(row *sqlite.Stmt) appRow {
	return appRow{
		id: row.ColumnInt64(0),
		app: domain.App{
			ID: domain.AppID(row.ColumnText(1)), Name: row.ColumnText(2), MaxAdmins: row.ColumnInt(3),
			CreatedAt: fromNanos(row.ColumnInt64(4)), UpdatedAt: fromNanos(row.ColumnInt64(5)), Revision: uint64(row.ColumnInt64(6)),
		},
		Counts: accountlist.Counts{Normals: row.ColumnInt64(7), Admins: row.ColumnInt64(8)},
	}
}

// findApp returns an application; its row's id is zero when there is none.
func findApp(conn *sqlite.Conn, app domain.AppID) (r appRow, err error) {
	err = query(conn, selectApps+" WHERE app = ?1", func(row *sqlite.Stmt) error {
		r = readApp(row)
		return nil
	}, string(app))
	return r, err
}

// app returns an application that exists, or a rejection.
func (v *view) app(app domain.AppID) (appRow, error) {
	r, err := findApp(v.conn, app)
	if err == nil && r.id == 0 {
		err = accountlist.AppNotFound(app)
	}
	return r, err
}

// App returns one application.
func (l *List) App(ctx context.Context, app domain.AppID) (found domain.App, position uint64, err error) {
	err = l.read(ctx, l.readers, func(v *view) error {
		position = v.position
		r, err := v.app(app)
		found = r.app
		return err
	})
	return found, position, err
}

// Apps returns all applications by id.
func (l *List) Apps(ctx context.Context) (apps []domain.App, position uint64, err error) {
	err = l.read(ctx, l.readers, func(v *view) error {
		position = v.position
		return query(v.conn, selectApps+" ORDER BY app", func(row *sqlite.Stmt) error {
			apps = append(apps, readApp(row).app)
			return nil
		})
	})
	return apps, position, err
}

// Account returns one account.
func (l *List) Account(ctx context.Context, app domain.AppID, id domain.UserID) (found domain.Account, position uint64, err error) {
	err = l.read(ctx, l.readers, func(v *view) error {
		position = v.position
		r, err := v.app(app)
		if err != nil {
			return err
		}
		row, err := findAccount(v.conn, r, id)
		if err == nil && row.id == 0 {
			err = accountlist.AccountNotFound(app, id)
		}
		found = row.account
		return err
	})
	return found, position, err
}
