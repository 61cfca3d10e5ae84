package jetstream_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// BenchmarkAppend measures appends of single events to different aggregates by
// a number of clients, each waiting for its answer.
func BenchmarkAppend(b *testing.B) {
	for _, clients := range []int{1, 4, 8, 16, 32, 64, 256, 1024} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s := embedded(b)
			var n atomic.Int64
			b.SetParallelism(max(clients/2, 1)) // GOMAXPROCS is 2 on the machine the comments speak of
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := eventstore.Account("app", fmt.Sprintf("u%d", n.Add(1)))
					if _, err := s.Append(b.Context(), eventstore.Proposal{Event: storetest.Event(id, "command")}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// embedded returns a store on an embedded server of its own.
func embedded(tb testing.TB) *jetstream.Store {
	tb.Helper()
	e, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Stop(); err != nil {
			tb.Error(err)
		}
	})
	nc, err := e.Connect()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	s, err := e.Open(tb.Context(), nc, jetstream.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}
