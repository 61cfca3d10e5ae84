package postgres_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/postgres/pgtest"
)

var benchAccounts = flag.Int("accounts", 20_000, "number of accounts of the benchmarks")

// benchServer starts a server that keeps its data safe, with the memory of a small machine.
func benchServer(b *testing.B) string {
	server, err := pgtest.Start(b.Context(), "", "shared_buffers=1GB", "max_wal_size=8GB", "maintenance_work_mem=256MB")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Close(); err != nil {
			b.Error(err)
		}
	})
	return server.URL("postgres")
}

func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// execSQL runs statements.
func execSQL(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// liveSchema returns the schema of the live list.
func liveSchema(t testing.TB, db *postgres.DB) string {
	t.Helper()
	for _, g := range generations(t, db) {
		if g.State == postgres.Live {
			return fmt.Sprintf("rollcall_list_%d", g.Number)
		}
	}
	t.Fatal("no list is live")
	return ""
}

func generations(t testing.TB, db *postgres.DB) []postgres.Generation {
	t.Helper()
	all, err := db.Generations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// BenchmarkApply applies the creation of accounts and then copies the rows that this led to
// into another list with the same indexes, by one bare COPY and by one for each batch.
func BenchmarkApply(b *testing.B) {
	for b.Loop() {
		address := benchServer(b)
		db, conn := open(b, address), connect(b, address)
		c := codec.New(listtest.NewGCMSealer(b))
		took, _ := listtest.Load(b, db.Live(c), c, *benchAccounts)
		apply := float64(*benchAccounts) / took.Seconds()
		rows := dump(b, conn, liveSchema(b, db))
		bare := bareCopy(b, db, conn, rows)
		b.ReportMetric(apply, "events/s")
		b.ReportMetric(bare, "copied/s")
		b.ReportMetric(apply/bare, "ratio")
		db.Close()
	}
}

// dump writes the accounts of a list to a file in the form of COPY and returns its path.
func dump(b *testing.B, conn *pgx.Conn, schema string) string {
	path := filepath.Join(b.TempDir(), "rows")
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.PgConn().CopyTo(b.Context(), file, "COPY "+schema+".accounts TO STDOUT (FORMAT binary)"); err != nil {
		b.Fatal(err)
	}
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// bareCopy copies the rows of a file into a new list and returns how many a second.
func bareCopy(b *testing.B, db *postgres.DB, conn *pgx.Conn, path string) float64 {
	generation, err := db.Create(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	tag, err := conn.PgConn().CopyFrom(b.Context(), onlyReader{bytes.NewReader(content)}, fmt.Sprintf("COPY rollcall_list_%d.accounts FROM STDIN (FORMAT binary)", generation))
	if err != nil {
		b.Fatal(err)
	}
	return float64(tag.RowsAffected()) / time.Since(start).Seconds()
}

type onlyReader struct{ io.Reader }

// BenchmarkEdit changes every account of a load once, without and with its nickname.
func BenchmarkEdit(b *testing.B) {
	for name, patch := range map[string]domain.Patch{
		"profile":  {Fields: domain.FieldsOf(domain.FieldLevel), Values: domain.Profile{Level: domain.Num(7)}},
		"nickname": {Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: "왕새봄"}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				address := benchServer(b)
				db := open(b, address)
				c := codec.New(listtest.NewGCMSealer(b))
				l := db.Live(c)
				_, position := listtest.Load(b, l, c, *benchAccounts)
				took := edit(b, &listtest.World{List: l, Codec: c, Position: position}, patch)
				b.ReportMetric(float64(*benchAccounts)/took.Seconds(), "events/s")
				db.Close()
			}
		})
	}
}

// edit edits the accounts of a load and returns how long Apply took.
func edit(b *testing.B, w *listtest.World, patch domain.Patch) (took time.Duration) {
	r := rand.New(rand.NewPCG(1, 2))
	for done := 0; done < *benchAccounts; {
		var events []domain.Event
		for range min(listtest.LoadBatch, *benchAccounts-done) {
			events = append(events, domain.AccountEdited{App: listtest.LoadApp, UserID: listtest.LoadAccount(r, done).UserID, Patch: patch, At: listtest.Epoch})
			done++
		}
		envelopes := w.Encode(b, w.Position, events...)
		start := time.Now()
		if err := w.List.Apply(b.Context(), w.Position, envelopes); err != nil {
			b.Fatal(err)
		}
		took += time.Since(start)
		w.Position += eventstore.Position(len(envelopes))
	}
	return took
}

// BenchmarkPages measures pages and searches on one list.
func BenchmarkPages(b *testing.B) {
	address := benchServer(b)
	db, conn := open(b, address), connect(b, address)
	c := codec.New(listtest.NewGCMSealer(b))
	l := db.Live(c)
	listtest.Load(b, l, c, *benchAccounts)
	schema := liveSchema(b, db)
	execSQL(b, conn, "VACUUM ANALYZE "+schema+".accounts")
	logSizes(b, conn, schema)
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
		first := domain.Listing{App: listtest.LoadApp, Sort: sort, Limit: 50}
		deep := first
		deep.Cursor = listtest.DeepCursor(b, l, first, min(10_000, *benchAccounts/50-1))
		for name, listing := range map[string]domain.Listing{"first": first, "deep": deep} {
			b.Run(fmt.Sprintf("%s/%s", sort, name), func(b *testing.B) { listtest.BenchPage(b, l, listing) })
			for _, typ := range []domain.AccountType{domain.TypeNormal, domain.TypeAdmin} {
				listing := listing
				listing.Cursor, listing.Filter.Type = "", typ
				if name == "deep" && typ == domain.TypeNormal {
					listing.Cursor = listtest.DeepCursor(b, l, listing, min(10_000, *benchAccounts/50-2))
				}
				b.Run(fmt.Sprintf("%s/%s/%s", sort, name, typ), func(b *testing.B) { listtest.BenchPage(b, l, listing) })
			}
		}
	}
	for _, text := range listtest.LoadTexts() {
		for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
			listing := domain.Listing{App: listtest.LoadApp, Sort: sort, Limit: 50, Filter: domain.Filter{Text: text}}
			b.Run("search="+text+"/"+string(sort), func(b *testing.B) { listtest.BenchPage(b, l, listing) })
			listing.Order = domain.Descending
			b.Run("search="+text+"/"+string(sort)+"/desc", func(b *testing.B) { listtest.BenchPage(b, l, listing) })
		}
	}
	b.Run("account", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := l.Account(b.Context(), listtest.LoadApp, "user_0000000"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all chunks", func(b *testing.B) { listtest.BenchAll(b, l) })
}

// logSizes logs the sizes of the table and its indexes.
func logSizes(b *testing.B, conn *pgx.Conn, schema string) {
	rows, err := conn.Query(b.Context(), `SELECT c.relname, pg_size_pretty(pg_relation_size(c.oid)) FROM pg_class c
		WHERE c.relnamespace = $1::regnamespace AND c.relname ~ '^(accounts|admins)' ORDER BY c.relname`, schema)
	if err != nil {
		b.Fatal(err)
	}
	sizes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Size string }])
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("sizes: %v", sizes)
}
