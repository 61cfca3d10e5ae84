package sqlite_test

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	zsqlite "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/domain"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist/listtest"
)

var benchAccounts = flag.Int("accounts", 20_000, "number of accounts of the benchmarks")

func BenchmarkApply(b *testing.B) {
	c := codec.New(listtest.NewGCMSealer(b))
	for b.Loop() {
		took, _ := listtest.Load(b, open(b, filepath.Join(b.TempDir(), "list.db"), c), c, *benchAccounts)
		b.ReportMetric(float64(*benchAccounts)/took.Seconds(), "events/s")
	}
}

// BenchmarkBareInsert writes the same rows into the same table, without any index, decoding, or
// checkpoint.
func BenchmarkBareInsert(b *testing.B) {
	for b.Loop() {
		conn, err := zsqlite.OpenConn(filepath.Join(b.TempDir(), "bare.db"))
		if err != nil {
			b.Fatal(err)
		}
		const create = `CREATE TABLE accounts (id INTEGER PRIMARY KEY,
			app INTEGER, user_id TEXT, type TEXT, nickname TEXT, face_url TEXT, created_at INTEGER)`
		if err := sqlitex.ExecuteScript(conn, strings.ReplaceAll(create, "\n", " "), nil); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		bareInsert(b, conn, *benchAccounts)
		b.ReportMetric(float64(*benchAccounts)/time.Since(start).Seconds(), "events/s")
		if err := conn.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func bareInsert(b *testing.B, conn *zsqlite.Conn, n int) {
	r := rand.New(rand.NewPCG(1, 2))
	for done := 0; done < n; {
		end, err := sqlitex.ImmediateTransaction(conn)
		if err != nil {
			b.Fatal(err)
		}
		for range min(listtest.LoadBatch, n-done) {
			a := listtest.LoadAccount(r, done)
			done++
			if err := sqlitex.Execute(conn, "INSERT INTO accounts VALUES (?,1,?,?,?,?,?)", &sqlitex.ExecOptions{Args: []any{
				done, string(a.UserID), string(a.Type), a.Profile.Nickname, a.Profile.FaceURL, a.At.UnixNano(),
			}}); err != nil {
				b.Fatal(err)
			}
		}
		if end(&err); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPages measures pages and searches on one list.
func BenchmarkPages(b *testing.B) {
	c := codec.New(listtest.NewGCMSealer(b))
	path := filepath.Join(b.TempDir(), "list.db")
	l := open(b, path, c)
	listtest.Load(b, l, c, *benchAccounts)
	if err := l.Idle(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(path + suffix); err == nil {
			b.Logf("%s: %d MiB", filepath.Base(path+suffix), info.Size()>>20)
		}
	}
	b.Logf("memory: %s", memory())
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
		first := domain.Listing{App: listtest.LoadApp, Sort: sort, Limit: 50}
		b.Run(string(sort)+"/first", func(b *testing.B) { listtest.BenchPage(b, l, first) })
		deep := first
		deep.Cursor = listtest.DeepCursor(b, l, first, min(10_000, *benchAccounts/50-1))
		b.Run(string(sort)+"/deep", func(b *testing.B) { listtest.BenchPage(b, l, deep) })
	}
	for _, text := range listtest.LoadTexts() {
		for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
			l1 := domain.Listing{App: listtest.LoadApp, Sort: sort, Limit: 50, Filter: domain.Filter{Text: text}}
			b.Run("search="+text+"/"+string(sort), func(b *testing.B) { listtest.BenchPage(b, l, l1) })
			l1.Order = domain.Descending
			b.Run("search="+text+"/"+string(sort)+"/desc", func(b *testing.B) { listtest.BenchPage(b, l, l1) })
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
	b.Logf("memory: %s", memory())
}

// memory returns what the process occupies, as Linux tells it.
func memory() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	var lines []string
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(lines, ", ")
}
