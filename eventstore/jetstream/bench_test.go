package jetstream_test

import (
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

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

// BenchmarkReadApp reads an application that has one event in a hundred of a log, and the one that has the others, as ReadApp does and by a
// bare filter of the server, which passes over what it cannot read; beside the whole log, in one run.
func BenchmarkReadApp(b *testing.B) {
	const n, one = 100_000, 100
	s, js := embeddedWith(b)
	for i := 0; i < n; i += 1000 {
		batch := make([]eventstore.Proposal, 1000)
		for j := range batch {
			app := "large"
			if (i+j)%one == 0 {
				app = "small"
			}
			e := storetest.Event(eventstore.Account(app, fmt.Sprint("u", i+j)), "c")
			e.Data = fmt.Appendf(nil, `{"type":"normal","sealed":"%0240d"}`, i)
			batch[j] = eventstore.Proposal{Event: e}
		}
		if _, err := s.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	count := func(events iter.Seq2[eventstore.Envelope, error]) (found int) {
		for _, err := range events {
			if err != nil {
				b.Fatal(err)
			}
			found++
		}
		return found
	}
	small, large := n/one, n-n/one
	rate := func(want int, read func() int) float64 {
		began := time.Now()
		if got := read(); got != want {
			b.Fatalf("%d events, want %d", got, want)
		}
		return n / time.Since(began).Seconds()
	}
	for b.Loop() {
		for unit, positions := range map[string]float64{
			"whole/s":          rate(n, func() int { return count(s.Read(b.Context(), 1, n)) }),
			"small/s":          rate(small, func() int { return count(s.ReadApp(b.Context(), "small", 1, n)) }),
			"small-behind/s":   rate(small-1, func() int { return count(s.ReadApp(b.Context(), "small", 2, n)) }),
			"small-filtered/s": rate(small, func() int { return filtered(b, js, "small", small) }),
			"large/s":          rate(large, func() int { return count(s.ReadApp(b.Context(), "large", 1, n)) }),
			"large-filtered/s": rate(large, func() int { return filtered(b, js, "large", large) }),
		} {
			b.ReportMetric(positions, unit)
		}
	}
}

// filtered reads the events of an application by a filter of the server.
func filtered(b *testing.B, js natsjs.JetStream, app string, n int) int {
	consumer, err := js.OrderedConsumer(b.Context(), jetstream.DefaultStream, natsjs.OrderedConsumerConfig{FilterSubjects: []string{eventstore.AppSubjects(app)}})
	if err != nil {
		b.Fatal(err)
	}
	messages, err := consumer.Messages(natsjs.PullMaxMessages(4096))
	if err != nil {
		b.Fatal(err)
	}
	defer messages.Stop()
	for range n {
		if _, err := messages.Next(); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

// embedded returns a store on an embedded server of its own.
func embedded(tb testing.TB) *jetstream.Store {
	tb.Helper()
	s, _ := embeddedWith(tb)
	return s
}

// embeddedWith returns, beside the store, what reads its stream as any client does.
func embeddedWith(tb testing.TB) (*jetstream.Store, natsjs.JetStream) {
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
	js, err := natsjs.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return s, js
}
