package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/projections"
	list "rollcall/projections/accountlist/sqlite"
)

func listFile(data string) string { return filepath.Join(data, "list", "accounts.db") }

// catchUp builds the list anew from the log, beside reading the log and nothing
// else, and beside writing the same rows into the same tables and nothing else.
func (r *run) catchUp(ctx context.Context, data string) (err error) {
	parts, err := r.reopen(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.close()) }()
	last, err := parts.store.Last(ctx)
	if err != nil {
		return err
	}
	consumed, err := parts.consume(ctx, last)
	if err != nil {
		return fmt.Errorf("bare consumer: %w", err)
	}
	projected, err := parts.project(ctx, r.path("rebuilt.db"), last)
	if err != nil {
		return fmt.Errorf("projection: %w", err)
	}
	inserted, err := bulkInsert(ctx, listFile(data), r.path("bare.db"))
	if err != nil {
		return fmt.Errorf("bare insert: %w", err)
	}
	r.head("projection from position zero, events/s", "rollcall", "raw part")
	r.beside("beside a bare ordered consumer", projected, consumed)
	r.beside("beside a bare bulk insert of the rows", projected, inserted)
	return nil
}

// consume reads the log with an ordered consumer and returns messages a second.
func (p *parts) consume(ctx context.Context, last eventstore.Position) (float64, error) {
	start := time.Now()
	c, err := p.js.OrderedConsumer(ctx, jetstream.DefaultStream, natsjs.OrderedConsumerConfig{})
	if err != nil {
		return 0, err
	}
	messages, err := c.Messages(natsjs.PullMaxMessages(4096))
	if err != nil {
		return 0, err
	}
	defer messages.Stop()
	for range last {
		if _, err := messages.Next(natsjs.NextContext(ctx)); err != nil {
			return 0, err
		}
	}
	return float64(last) / time.Since(start).Seconds(), nil
}

// project runs the projection into an empty list and returns events a second.
func (p *parts) project(ctx context.Context, path string, last eventstore.Position) (_ float64, err error) {
	l, err := list.Open(ctx, path, p.codec)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	runner := projections.NewRunner(p.store, l)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	start := time.Now()
	go func() { ended <- runner.Run(ctx) }()
	err = runner.WaitFor(ctx, last)
	took := time.Since(start)
	cancel()
	return float64(last) / took.Seconds(), errors.Join(err, <-ended)
}

// withDB runs f on a database.
func withDB(ctx context.Context, path string, flags sqlite.OpenFlags, f func(*sqlite.Conn) error) (err error) {
	conn, err := sqlite.OpenConn(path, flags)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	conn.SetInterrupt(ctx.Done())
	return f(conn)
}

// tableScan reads every row and column of the list's table and returns rows a second.
func tableScan(ctx context.Context, data string) (perSecond float64, err error) {
	err = withDB(ctx, listFile(data), sqlite.OpenReadOnly, func(conn *sqlite.Conn) error {
		rows, bytes := 0, 0
		start := time.Now()
		err := sqlitex.ExecuteTransient(conn, "SELECT * FROM accounts ORDER BY app, user_id", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			rows++
			for i := range s.ColumnCount() {
				bytes += len(s.ColumnText(i))
			}
			return nil
		}})
		perSecond = float64(rows) / time.Since(start).Seconds()
		return err
	})
	return perSecond, err
}

// bulkInsert writes the rows of one list into the empty tables of another file, with its
// indexes, 8,192 rows a transaction, and returns rows a second.
func bulkInsert(ctx context.Context, from, to string) (perSecond float64, err error) {
	err = withDB(ctx, to, sqlite.OpenReadWrite|sqlite.OpenCreate, func(conn *sqlite.Conn) error {
		var ddl []string
		setUp := fmt.Sprintf("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32768; PRAGMA wal_autocheckpoint=16384; ATTACH '%s' AS source;", strings.ReplaceAll(from, "'", "''"))
		for stmt := range strings.SplitSeq(strings.TrimSuffix(setUp, ";"), ";") {
			if err := sqlitex.ExecuteTransient(conn, stmt, nil); err != nil {
				return err
			}
		}
		err := sqlitex.ExecuteTransient(conn, "SELECT sql FROM source.sqlite_schema WHERE tbl_name = 'accounts' AND sql IS NOT NULL", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			ddl = append(ddl, s.ColumnText(0))
			return nil
		}})
		if err != nil {
			return err
		}
		for _, stmt := range ddl {
			if err := sqlitex.ExecuteTransient(conn, stmt, nil); err != nil {
				return err
			}
		}
		start, rows, after := time.Now(), 0, int64(-1)
		for {
			err := sqlitex.Execute(conn, "INSERT INTO main.accounts SELECT * FROM source.accounts WHERE id > ?1 ORDER BY id LIMIT 8192", &sqlitex.ExecOptions{Args: []any{after}})
			if err != nil {
				return err
			}
			n := conn.Changes()
			if n == 0 {
				perSecond = float64(rows) / time.Since(start).Seconds()
				return nil
			}
			rows += n
			err = sqlitex.Execute(conn, "SELECT max(id) FROM main.accounts", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
				after = s.ColumnInt64(0)
				return nil
			}})
			if err != nil {
				return err
			}
		}
	})
	return perSecond, err
}
