package export_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
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
	high atomic.Uint64 // most bytes of heap in use
}

func (l *endless) Scan(_ context.Context, _ domain.Selection, visit func(domain.Snapshot) error) error {
	var accounts iter.Seq2[domain.Account, error] = func(yield func(domain.Account, error) bool) {
		a := full()
		for i := range l.rows {
			if i%100_000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				l.high.Store(max(l.high.Load(), m.HeapInuse))
			}
			a.Revision = uint64(i)
			if !yield(a, nil) {
				return
			}
		}
	}
	return visit(domain.Snapshot{Position: l.position, Total: l.rows, Accounts: accounts})
}

// BenchmarkExport measures a whole export of a million accounts into a folder, with its events, without the
// reading of the list.
func BenchmarkExport(b *testing.B) {
	for _, format := range export.Formats() {
		b.Run(string(format), func(b *testing.B) {
			w := newWorld(b, 0)
			l := &endless{list: w.list, rows: 1_000_000}
			w.scan = l
			in := w.start(b)
			var before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			rows := 0
			for n := 0; b.Loop(); n++ {
				job := in.order(b, fmt.Sprint("cmd-", n), export.Spec{Format: format})
				if err := in.Work(b.Context(), app, job.ID); err != nil {
					b.Fatal(err)
				}
				in.await(b, job.ID, export.StatusCompleted)
				rows += l.rows
				w.clock.advance(time.Second)
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(l.high.Load()-before.HeapInuse)/(1<<20), "heap-MiB")
		})
	}
}
