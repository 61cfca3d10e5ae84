package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

// rebuild builds the list in PostgreSQL anew beside the live one while accounts are written and read, and copies the same rows into
// a table with the same indexes. A read or a write that fails ends it.
func (r *run) rebuild(ctx context.Context) (err error) {
	if r.DB == "" {
		return errors.New("a list is built anew in PostgreSQL: name an empty database")
	}
	p, err := r.serve(ctx, r.path("rebuild"), "--db", r.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.post(ctx, "/v1/apps", `{"app":"bench"}`, nil); err != nil {
		return err
	}
	position, err := p.importAll(ctx, app, r.Accounts)
	if err != nil {
		return err
	}
	if err := p.get(ctx, fmt.Sprintf("/v1/apps/%s/accounts?limit=1&min_position=%d", app, position), nil); err != nil {
		return err
	}
	before, err := r.during(ctx, p, func(ctx context.Context) error { return rest(ctx, quietReads) })
	if err != nil {
		return err
	}
	var b built
	meanwhile, err := r.during(ctx, p, func(ctx context.Context) error {
		b, err = p.rebuildList(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if err := p.holds(ctx, r.Accounts+meanwhile.created+before.created); err != nil {
		return err
	}
	return r.besideCopy(ctx, p, b, before, meanwhile)
}

// quietReads is how long reads are measured before the list is built anew.
const quietReads = 10 * time.Second

// besideCopy copies the rows of the list that was built, with and without writes and reads, and prints how all compares.
func (r *run) besideCopy(ctx context.Context, p *process, b built, before, meanwhile traffic) error {
	rows := r.path("rows")
	if err := copyOut(ctx, r.DB, b.table(), rows); err != nil {
		return err
	}
	var loaded float64
	_, err := r.during(ctx, p, func(ctx context.Context) (err error) {
		loaded, err = copyIn(ctx, r.DB, b.table(), rows)
		return err
	})
	if err != nil {
		return err
	}
	alone, err := copyIn(ctx, r.DB, b.table(), rows)
	if err != nil {
		return err
	}
	r.head(fmt.Sprintf("list of %s accounts built anew, events/s", figure(float64(r.Accounts))), "rollcall", "bare COPY")
	r.beside("until it shows the whole log, same load", b.applied(), loaded)
	r.beside("until it shows the whole log, COPY alone", b.applied(), alone)
	r.beside("until it is compared and live, same load", b.promoted(), loaded)
	r.columns("reads meanwhile, none failed", "before", "meanwhile")
	for _, row := range []struct{ what, before, meanwhile string }{
		{"reads", figure(float64(len(before.reads))), figure(float64(len(meanwhile.reads)))},
		{"p50", millis(before.percentile(50)), millis(meanwhile.percentile(50))},
		{"p99", millis(before.percentile(99)), millis(meanwhile.percentile(99))},
		{"most", millis(before.percentile(100)), millis(meanwhile.percentile(100))},
		{"writes a second", figure(before.writeRate()), figure(meanwhile.writeRate())},
	} {
		fmt.Fprintf(r.Out, "%-44s %14s %14s\n", row.what, row.before, row.meanwhile)
	}
	return nil
}

// built is a list that was built anew.
type built struct {
	number            int64
	position, shown   uint64 // of the end of the log: when the list was live, and when it first showed the whole log
	caughtUp, wasLive time.Duration
}

func (b built) table() string     { return fmt.Sprintf("rollcall_list_%d.accounts", b.number) }
func (b built) applied() float64  { return float64(b.shown) / b.caughtUp.Seconds() }
func (b built) promoted() float64 { return float64(b.position) / b.wasLive.Seconds() }

// nearly is how many events a list may be behind a log that is written to, and is still said to show all of it.
const nearly = 1000

// rebuildList orders a new list and returns when it is live.
func (p *process) rebuildList(ctx context.Context) (b built, err error) {
	type list struct {
		Number         int64
		State, Note    string
		Position, Last uint64
	}
	var answer struct{ Lists []list }
	start := time.Now()
	const path = "/v1/projections/account_list/lists"
	if err := p.post(ctx, path, "", &answer); err != nil {
		return b, err
	}
	b.number = answer.Lists[len(answer.Lists)-1].Number
	for {
		if err := p.get(ctx, path, &answer); err != nil {
			return b, err
		}
		for _, l := range answer.Lists {
			if l.Number != b.number {
				continue
			}
			if b.caughtUp == 0 && l.Position+nearly >= l.Last {
				b.caughtUp, b.shown = time.Since(start), l.Position
			}
			switch l.State {
			case "live":
				b.wasLive, b.position = time.Since(start), l.Position
				return b, nil
			case "building":
			default:
				return b, fmt.Errorf("list %d is %s: %s", l.Number, l.State, l.Note)
			}
		}
		if err := rest(ctx, 20*time.Millisecond); err != nil {
			return b, err
		}
	}
}

// holds checks that the list shows a number of accounts.
func (p *process) holds(ctx context.Context, accounts int) error {
	var log struct{ Projections []struct{ Last uint64 } }
	if err := p.get(ctx, "/v1/projections", &log); err != nil {
		return err
	}
	var page struct{ Total int }
	if err := p.get(ctx, fmt.Sprintf("/v1/apps/%s/accounts?limit=1&min_position=%d", url.PathEscape(app), log.Projections[0].Last), &page); err != nil {
		return err
	}
	if page.Total != accounts {
		return fmt.Errorf("the list that was built shows %d accounts, and there are %d", page.Total, accounts)
	}
	return nil
}

// copyOut writes the rows of a table to a file, in the form of COPY.
func copyOut(ctx context.Context, address, table, path string) error {
	return onDatabase(ctx, address, func(conn *pgx.Conn) (err error) {
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		_, err = conn.PgConn().CopyTo(ctx, file, "COPY "+table+" TO STDOUT (FORMAT binary)")
		return err
	})
}

// copyIn copies the rows of a file into a new table like another one, with its indexes, and returns how many a second.
func copyIn(ctx context.Context, address, table, path string) (perSecond float64, err error) {
	err = onDatabase(ctx, address, func(conn *pgx.Conn) (err error) {
		if _, err := conn.Exec(ctx, "CREATE TABLE bench_copy (LIKE "+table+" INCLUDING ALL)"); err != nil {
			return err
		}
		defer func() {
			_, derr := conn.Exec(context.WithoutCancel(ctx), "DROP TABLE bench_copy")
			err = errors.Join(err, derr)
		}()
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		start := time.Now()
		tag, err := conn.PgConn().CopyFrom(ctx, struct{ io.Reader }{file}, "COPY bench_copy FROM STDIN (FORMAT binary)")
		perSecond = float64(tag.RowsAffected()) / time.Since(start).Seconds()
		return err
	})
	return perSecond, err
}

func onDatabase(ctx context.Context, address string, f func(*pgx.Conn) error) (err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return f(conn)
}
