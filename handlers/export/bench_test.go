package export_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// endless is a list of any number of accounts that takes no memory.
type endless struct {
	*list
	rows int
	pool []domain.Account
	high atomic.Uint64 // most bytes of heap in use
}

func (l *endless) Chunk(_ context.Context, s domain.Stretch) (domain.Chunk, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	l.high.Store(max(l.high.Load(), m.HeapInuse))
	next := 0
	if !s.After.IsZero() {
		n, err := strconv.Atoi(string(s.After.UserID))
		if err != nil {
			return domain.Chunk{}, err
		}
		next = n + 1
	}
	chunk := domain.Chunk{Position: l.position, Total: l.rows, Accounts: make([]domain.Account, 0, s.Limit)}
	for ; next < l.rows && len(chunk.Accounts) < s.Limit; next++ {
		a := l.pool[next%len(l.pool)]
		a.UserID, a.Revision = domain.UserID(fmt.Sprintf("%09d", next)), 1
		chunk.Accounts = append(chunk.Accounts, a)
	}
	return chunk, nil
}

// varied returns n accounts whose texts compress no better than those of people.
func varied(n int) []domain.Account {
	random := rand.New(rand.NewPCG(1, 2))
	word := func() string { return strconv.FormatUint(random.Uint64(), 36) }
	accounts := make([]domain.Account, n)
	for i := range accounts {
		a := full()
		a.UserID = domain.UserID(word())
		a.Profile.Nickname, a.Profile.SelfSignature = word()+" 김", word()+" "+word()+" "+word()
		a.Profile.FaceURL = "https://example.org/" + word() + ".png"
		a.Profile.Level = domain.Num(random.Uint32())
		a.CreatedAt = a.CreatedAt.Add(time.Duration(random.Int64N(int64(1000 * time.Hour))))
		accounts[i] = a
	}
	return accounts
}

// mostHeap bounds how much the heap grows by an export, however many rows it has.
const mostHeap = 64 << 20

// BenchmarkExport measures a whole export of a million accounts into a folder, with its events, without the
// reading of the list.
func BenchmarkExport(b *testing.B) {
	for _, format := range export.Formats() {
		for _, compression := range packings(format) {
			b.Run(string(format)+"/"+string(compression), func(b *testing.B) { benchmarkExport(b, export.Spec{Format: format, Compression: compression}) })
		}
	}
}

func benchmarkExport(b *testing.B, spec export.Spec) {
	w := newWorld(b, 0)
	l := &endless{list: w.list, rows: 1_000_000, pool: varied(1 << 15)}
	w.scan = l
	in := w.start(b)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	rows, bytes := 0, int64(0)
	for n := 0; b.Loop(); n++ {
		job := in.order(b, fmt.Sprint("cmd-", n), spec)
		if err := in.Work(b.Context(), app, job.ID); err != nil {
			b.Fatal(err)
		}
		bytes = in.await(b, job.ID, export.StatusCompleted).Bytes
		rows += l.rows
		w.clock.advance(time.Second)
	}
	grown := l.high.Load() - min(l.high.Load(), before.HeapInuse)
	if grown > mostHeap {
		b.Errorf("the heap grew by %d MiB", grown>>20)
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(grown)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(bytes)/float64(l.rows), "bytes/row")
}
