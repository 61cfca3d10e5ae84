package export_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	zsqlite "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/handlers/export"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/postgres/pgtest"
	"rollcall/projections/accountlist/sqlite"
)

// busy is the real list of a load, to which somebody writes, with as much of its log as tells of what was written.
type busy struct {
	*listtest.World
	b *testing.B

	mu     sync.Mutex
	events map[eventstore.AggregateID][]eventstore.Envelope
	high   uint64 // most bytes of heap in use
}

func (l *busy) App(ctx context.Context, app domain.AppID) (domain.App, uint64, error) {
	return l.List.App(ctx, app)
}

func (l *busy) Chunk(ctx context.Context, s domain.Stretch) (domain.Chunk, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	l.mu.Lock()
	l.high = max(l.high, m.HeapInuse)
	l.mu.Unlock()
	return l.List.Chunk(ctx, s)
}

func (l *busy) Last(context.Context) (eventstore.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Position, nil
}

func (l *busy) PositionAt(context.Context, time.Time) (eventstore.Position, error) { return 0, nil }

func (l *busy) WaitFor(context.Context, eventstore.Position) error { return nil }

func (l *busy) Load(_ context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	l.mu.Lock()
	events := l.events[id]
	l.mu.Unlock()
	return func(yield func(eventstore.Envelope, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// write edits accounts, each a command of its own.
func (l *busy) write(ids []domain.UserID, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		aggregate := eventstore.Account(string(listtest.LoadApp), string(id))
		if l.events[aggregate] == nil {
			a, _, err := l.List.Account(l.b.Context(), listtest.LoadApp, id)
			if err != nil {
				l.b.Error(err)
				return
			}
			l.events[aggregate] = l.Encode(l.b, eventstore.Position(a.Revision)-1, domain.AccountCreated{App: a.App, UserID: id, Type: a.Type, Profile: a.Profile, At: a.CreatedAt})
		}
		e := l.Encode(l.b, l.Position, domain.AccountEdited{App: listtest.LoadApp, UserID: id, At: listtest.Epoch, Patch: domain.Patch{
			Fields: domain.FieldsOf(domain.FieldLevel), Values: domain.Profile{Level: domain.Num(uint32(n))},
		}})
		if err := l.List.Apply(l.b.Context(), l.Position, e); err != nil {
			l.b.Error(err)
			return
		}
		l.Position++
		l.events[aggregate] = append(l.events[aggregate], e...)
	}
}

// BenchmarkExportOfTheList measures exports of a million accounts of the list while 500 edits a second go on: in SQLite beside a bare scan of
// the table, in PostgreSQL beside its own COPY to csv. Nothing is written while the bare one is measured.
// The last file of each format is compared with a replay of what was written.
func BenchmarkExportOfTheList(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		file := filepath.Join(b.TempDir(), "list.db")
		benchmarkList(b, func(t testing.TB, c *codec.Codec) accountlist.List {
			list, err := sqlite.Open(t.Context(), file, c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = list.Close() })
			return list
		}, func(b *testing.B) int { return scanTable(b, file) })
	})
	b.Run("postgres", func(b *testing.B) {
		server, err := pgtest.Start(b.Context(), "", "shared_buffers=1GB", "max_wal_size=8GB")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = server.Close() })
		benchmarkList(b, func(t testing.TB, c *codec.Codec) accountlist.List {
			db, err := postgres.Open(t.Context(), server.URL("postgres"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.Close)
			return db.Live(c)
		}, func(b *testing.B) int { return copyTable(b, server.URL("postgres")) })
	})
}

// benchmarkList measures the bare way, which returns how many rows there are, and exports of each format.
func benchmarkList(b *testing.B, open listtest.Open, bare func(*testing.B) int) {
	const accounts = 1_000_000
	c := codec.New(listtest.NewGCMSealer(b))
	l := &busy{b: b, events: make(map[eventstore.AggregateID][]eventstore.Envelope), World: listtest.NewWorld(b, func(t testing.TB, _ *codec.Codec) accountlist.List {
		return open(t, c)
	})}
	l.Codec = c
	_, l.Position = listtest.Load(b, l.List, c, accounts)
	page, err := l.List.Page(b.Context(), domain.Listing{App: listtest.LoadApp, Limit: domain.MaxListLimit})
	if err != nil {
		b.Fatal(err)
	}
	bareRate := 0.0
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			if n := bare(b); n != accounts {
				b.Fatalf("the table has %d rows", n)
			}
		}
		bareRate = accounts * float64(b.N) / b.Elapsed().Seconds()
		b.ReportMetric(bareRate, "rows/s")
	})
	w := newWorld(b, 0)
	w.scan, w.log, w.past = l, l, export.NewHistory(l, c)
	in := w.start(b)
	for _, format := range export.Formats() {
		b.Run(string(format), func(b *testing.B) {
			stop := background(b, func(ctx context.Context) error { return l.keepWriting(ctx, page.Accounts) })
			runtime.GC()
			var before runtime.MemStats
			runtime.ReadMemStats(&before)
			l.high = 0
			var job export.Job
			for n := 0; b.Loop(); n++ {
				if job, err = in.Order(b.Context(), export.Request{ID: fmt.Sprintf("%s-%d-%d", format, time.Now().UnixNano(), n), Actor: "alice"}, export.Spec{App: listtest.LoadApp, Format: format}); err != nil {
					b.Fatal(err)
				}
				if err := in.Work(b.Context(), listtest.LoadApp, job.ID); err != nil {
					b.Fatal(err)
				}
				if job, err = in.Get(b.Context(), listtest.LoadApp, job.ID); err != nil || job.Rows != accounts {
					b.Fatalf("%d rows, %v", job.Rows, err)
				}
			}
			rate := accounts * float64(b.N) / b.Elapsed().Seconds()
			stop()
			if want := l.replay(b, accounts, job); job.SHA256 != want {
				b.Errorf("the file's SHA-256 is %s, that of a replay of the log up to %d is %s", job.SHA256, job.Position, want)
			}
			b.ReportMetric(rate, "rows/s")
			b.ReportMetric(rate/bareRate, "of-bare")
			b.ReportMetric(float64(l.high-min(l.high, before.HeapInuse))/(1<<20), "heap-MiB")
		})
	}
}

// replay returns the SHA-256 of a file of what was written up to a job's position.
func (l *busy) replay(b *testing.B, accounts int, job export.Job) string {
	b.Helper()
	sum := sha256.New()
	enc, err := export.NewEncoder(sum, job.Spec.Format, job.Spec.Compression, job.Spec.Fields)
	if err != nil {
		b.Fatal(err)
	}
	random := listtest.LoadRandom()
	for i := range accounts {
		created := listtest.LoadAccount(random, i)
		first := uint64(len(listtest.NewApp(listtest.LoadApp)) + i + 1)
		state := domain.Evolve(domain.State{}, created, first)
		for _, e := range l.events[eventstore.Account(string(created.App), string(created.UserID))] {
			if p := uint64(e.Position); p > first && p <= job.Position {
				event, _, err := l.Codec.Decode(b.Context(), e)
				if err != nil {
					b.Fatal(err)
				}
				state = domain.Evolve(state, event, p)
			}
		}
		if err := enc.Append(&state.Account); err != nil {
			b.Fatal(err)
		}
	}
	if err := enc.End(); err != nil {
		b.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// keepWriting edits accounts, 500 a second, until ctx ends.
func (l *busy) keepWriting(ctx context.Context, accounts []domain.Account) error {
	const perTick, tick = 50, 100 * time.Millisecond
	every := time.NewTicker(tick)
	defer every.Stop()
	for n := 0; ; n++ {
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
		from := n * perTick % len(accounts)
		ids := make([]domain.UserID, perTick)
		for i := range ids {
			ids[i] = accounts[from+i].UserID
		}
		l.write(ids, n)
	}
}

// copyTable has PostgreSQL write the accounts of the live list as csv, and returns how many there are.
func copyTable(b *testing.B, address string) int {
	conn, err := pgx.Connect(b.Context(), address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context()) //nolint:errcheck // it was only read
	tag, err := conn.PgConn().CopyTo(b.Context(), io.Discard, "COPY rollcall_list_1.accounts TO STDOUT (FORMAT csv)")
	if err != nil {
		b.Fatal(err)
	}
	return int(tag.RowsAffected())
}

// scanTable reads every column of every account, and nothing else, and returns how many there are.
func scanTable(b *testing.B, file string) (n int) {
	conn, err := zsqlite.OpenConn(file, zsqlite.OpenReadOnly|zsqlite.OpenWAL)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = sqlitex.ExecuteTransient(conn, "SELECT * FROM accounts", &sqlitex.ExecOptions{ResultFunc: func(row *zsqlite.Stmt) error {
		for i := range row.ColumnCount() {
			_ = row.ColumnText(i)
		}
		n++
		return nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
