package sqlite_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	zsqlite "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

var benchAccounts = flag.Int("accounts", 20_000, "number of accounts of the benchmarks")

const benchBatch = 8192

// gcmSealer seals with one key, so that unsealing costs what it costs in service.
type gcmSealer struct{ aead cipher.AEAD }

func newGCMSealer(b *testing.B) gcmSealer {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	return gcmSealer{aead}
}

func (s gcmSealer) Seal(_ context.Context, _ string, plaintext, aad []byte) ([]byte, error) {
	return s.aead.Seal(nil, make([]byte, 12), plaintext, aad), nil
}

func (s gcmSealer) Unseal(_ context.Context, _ string, sealed, aad []byte) ([]byte, error) {
	return s.aead.Open(nil, make([]byte, 12), sealed, aad)
}

var (
	surnames  = []rune("김이박최정강조윤장임한오서신권황안송류홍전고문양손배백허유남심노하곽성차주우구나민진지엄채원천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모")
	syllables = []rune("민준서연하늘지우도윤예은수아현시후건채원유진호영성재훈정희경태상동미혜선주형석광철종대기용인규환승범찬빈율솔별봄결온새람슬빛나래")
)

// benchName returns a Korean name, common surnames more often, or sometimes one
// of another script.
func benchName(r *rand.Rand) string {
	if r.IntN(10) == 0 {
		return []string{"Alice", "Bob", "Chen", "محمد", "王小明", "😀"}[r.IntN(6)] + fmt.Sprint(r.IntN(1000))
	}
	surname := surnames[min(r.IntN(len(surnames)), r.IntN(len(surnames)))]
	return string([]rune{surname, syllables[r.IntN(len(syllables))], syllables[r.IntN(len(syllables))]})
}

func benchAccount(r *rand.Rand, i int) domain.AccountCreated {
	return domain.AccountCreated{
		App: "bench", UserID: domain.UserID(fmt.Sprintf("user_%07d", (uint64(i)*2654435761)%10_000_019)), Type: domain.TypeNormal,
		Profile: domain.Profile{Nickname: benchName(r), FaceURL: fmt.Sprintf("https://example.com/faces/%d.png", i), Gender: domain.GenderUnknown, Language: domain.Num(1)},
		At:      listtest.Epoch.Add(time.Duration(i) * time.Millisecond),
	}
}

// fill applies n accounts and returns how long Apply took.
func fill(b *testing.B, l *sqlite.List, c *codec.Codec, n int) (took time.Duration) {
	b.Helper()
	w := &listtest.World{List: l, Codec: c}
	r := rand.New(rand.NewPCG(1, 2))
	apply := func(events []domain.Event) {
		envelopes := w.Encode(b, w.Position, events...)
		start := time.Now()
		if err := l.Apply(b.Context(), w.Position, envelopes); err != nil {
			b.Fatal(err)
		}
		took += time.Since(start)
		w.Position += eventstore.Position(len(envelopes))
	}
	apply(listtest.NewApp("bench"))
	for done := 0; done < n; {
		events := make([]domain.Event, 0, benchBatch)
		for range min(benchBatch, n-done) {
			events = append(events, benchAccount(r, done))
			done++
		}
		apply(events)
	}
	return took
}

func BenchmarkApply(b *testing.B) {
	c := codec.New(newGCMSealer(b))
	for b.Loop() {
		took := fill(b, open(b, filepath.Join(b.TempDir(), "list.db"), c), c, *benchAccounts)
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
		for range min(benchBatch, n-done) {
			a := benchAccount(r, done)
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
	c := codec.New(newGCMSealer(b))
	path := filepath.Join(b.TempDir(), "list.db")
	l := open(b, path, c)
	fill(b, l, c, *benchAccounts)
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
		first := domain.Listing{App: "bench", Sort: sort, Limit: 50}
		b.Run(string(sort)+"/first", func(b *testing.B) { benchPage(b, l, first) })
		deep := first
		deep.Cursor = deepCursor(b, l, first, min(10_000, *benchAccounts/50-1))
		b.Run(string(sort)+"/deep", func(b *testing.B) { benchPage(b, l, deep) })
	}
	for _, text := range []string{"김", "홍", "민준", "김민준", "홍길", "옥봄", "왕", "王", "user", "user_00123", "99", "7", "bob12", "zzz", "없음"} {
		for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
			l1 := domain.Listing{App: "bench", Sort: sort, Limit: 50, Filter: domain.Filter{Text: text}}
			b.Run("search="+text+"/"+string(sort), func(b *testing.B) { benchPage(b, l, l1) })
			l1.Order = domain.Descending
			b.Run("search="+text+"/"+string(sort)+"/desc", func(b *testing.B) { benchPage(b, l, l1) })
		}
	}
	b.Run("account", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := l.Account(b.Context(), "bench", "user_0000000"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) { benchScan(b, l) })
	b.Logf("memory: %s", memory())
}

// deepCursor returns the cursor of a page far behind, which is taken from a list of
// larger pages: a cursor does not depend on the limit.
func deepCursor(b *testing.B, l *sqlite.List, listing domain.Listing, pages int) string {
	rows := pages * listing.Limit
	for rows > 0 {
		listing.Limit = min(rows, domain.MaxListLimit)
		page, err := l.Page(b.Context(), listing)
		if err != nil {
			b.Fatal(err)
		}
		rows -= len(page.Accounts)
		listing.Cursor = page.Next
	}
	return listing.Cursor
}

func benchPage(b *testing.B, l *sqlite.List, listing domain.Listing) {
	var times []time.Duration
	var page domain.Page
	for b.Loop() {
		start := time.Now()
		var err error
		if page, err = l.Page(b.Context(), listing); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(page.Total), "total")
}

func benchScan(b *testing.B, l *sqlite.List) {
	for b.Loop() {
		start := time.Now()
		n := 0
		err := l.Scan(b.Context(), domain.Selection{App: "bench"}, func(s domain.Snapshot) error {
			for _, err := range s.Accounts {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "rows/s")
	}
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
