package ledger_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/ledger"
	"rollcall/eventstore/storetest"
	"rollcall/projections"
)

// benchLog is an embedded log for a benchmark.
func benchLog(b *testing.B) (*jetstream.Store, natsjs.JetStream) {
	b.Helper()
	server, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: filepath.Join(b.TempDir(), "log")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Stop() })
	nc, err := server.Connect()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	store, err := server.Open(b.Context(), nc, jetstream.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	return store, js
}

// accountEvent returns an event that is as long as that of an account usually is.
func accountEvent(n int) eventstore.Proposal {
	e := storetest.Event(eventstore.Account("app", fmt.Sprint("u", n)), fmt.Sprint("c", n))
	e.Data = fmt.Appendf(nil, `{"type":"normal","sealed":"%0240d"}`, n)
	return eventstore.Proposal{Event: e}
}

// rate measures how long something takes for n events, the best of three.
func rate(b *testing.B, n int, f func() error) float64 {
	b.Helper()
	best := time.Duration(1<<63 - 1)
	for range 3 {
		began := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(began))
	}
	return float64(n) / best.Seconds()
}

// BenchmarkVerification sets verification beside bare SHA-256 of the same bytes, and replay beside a bare ordered consumer, in one run.
func BenchmarkVerification(b *testing.B) {
	const n = 100_000
	store, js := benchLog(b)
	for i := 0; i < n; i += 1000 {
		batch := make([]eventstore.Proposal, 1000)
		for j := range batch {
			batch[j] = accountEvent(i + j)
		}
		if _, err := store.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	key, checkpoints := newKey(b), &published{}
	l := ledger.New(openFiles(b, filepath.Join(b.TempDir(), "ledger")), checkpoints, key, store, ledger.Options{})
	events := make([]eventstore.Envelope, 0, n)
	for e, err := range store.Read(b.Context(), 1, n) {
		if err != nil {
			b.Fatal(err)
		}
		events = append(events, e)
	}
	began := time.Now()
	feed(b, l, events)
	b.ReportMetric(n/time.Since(began).Seconds(), "built/s")
	c := checkpoints.latest(b, key)
	tiles := ledger.NewTiles(c, fetchFrom(l)).Leaves()
	for b.Loop() {
		records := make([][]byte, n)
		for i, e := range events {
			records[i] = ledger.AppendRecord(nil, e)
		}
		bare := rate(b, n, func() error {
			for _, r := range records {
				sum := sha256.Sum256(r)
				_ = sum
			}
			return nil
		})
		hashed := rate(b, n, func() error {
			_, err := ledger.Verification{Checkpoint: c, Leaves: tiles}.Run(b.Context(), each(events))
			return err
		})
		verified := rate(b, n, func() error {
			_, err := ledger.Verification{Checkpoint: c, Leaves: tiles}.Run(b.Context(), store.Read(b.Context(), 1, n))
			return err
		})
		read := rate(b, n, func() error {
			for _, err := range store.Read(b.Context(), 1, n) {
				if err != nil {
					return err
				}
			}
			return nil
		})
		consumed := rate(b, n, func() error { return consume(b.Context(), js, n) })
		b.ReportMetric(bare, "sha256/s")
		b.ReportMetric(hashed, "verified-in-memory/s")
		b.ReportMetric(verified, "verified-from-log/s")
		b.ReportMetric(read, "replayed/s")
		b.ReportMetric(consumed, "consumed/s")
		b.ReportMetric(hashed/bare, "verified/sha256")
		b.ReportMetric(read/consumed, "replayed/consumed")
	}
}

// consume reads the log by a bare ordered consumer.
func consume(ctx context.Context, js natsjs.JetStream, n int) error {
	consumer, err := js.OrderedConsumer(ctx, jetstream.DefaultStream, natsjs.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(natsjs.PullMaxMessages(4096))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for range n {
		if _, err := messages.Next(); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkAppendsUnderTheLedger sets appends while the ledger follows beside appends while nothing does, by turns in one run.
func BenchmarkAppendsUnderTheLedger(b *testing.B) {
	store, _ := benchLog(b)
	key := newKey(b)
	l := ledger.New(openFiles(b, filepath.Join(b.TempDir(), "ledger")), &published{}, key, store, ledger.Options{})
	var next atomic.Int64
	const n, clients, rounds = 1500, 32, 8
	appends := func() float64 {
		began := time.Now()
		until := next.Load() + n
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for {
					i := next.Add(1)
					if i > until {
						return
					}
					if _, err := store.Append(b.Context(), accountEvent(int(i))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return n / time.Since(began).Seconds()
	}
	follow := func() (stop func()) {
		ctx, cancel := context.WithCancel(b.Context())
		runner := projections.NewRunner(l, l, projections.WithLead(l.Lead))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := runner.Run(ctx); err != nil {
				b.Error(err)
			}
		})
		last, err := store.Last(b.Context())
		if err == nil {
			err = runner.WaitFor(b.Context(), last)
		}
		if err != nil {
			b.Fatal(err)
		}
		return func() { cancel(); wg.Wait() }
	}
	for b.Loop() {
		var alone, followed, costs []float64
		appends()
		for range rounds { // what else the machine does falls on both alike
			before := appends()
			stop := follow()
			with := appends()
			stop()
			after := appends()
			alone, followed = append(alone, before, after), append(followed, with)
			costs = append(costs, 100*(1-with/((before+after)/2)))
		}
		for unit, rates := range map[string][]float64{"alone/s": alone, "followed/s": followed, "cost-%": costs} {
			slices.Sort(rates)
			b.ReportMetric(rates[len(rates)/2], unit)
		}
	}
}
