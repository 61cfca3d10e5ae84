package ledger_test

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rollcall/eventstore"
	"rollcall/eventstore/ledger"
)

type ctx = context.Context

// history returns events as a log gives them, of accounts that each have several.
func history(n int) []eventstore.Envelope {
	events := make([]eventstore.Envelope, n)
	latest := make(map[eventstore.AggregateID]eventstore.Position)
	for i := range events {
		id := eventstore.Account(fmt.Sprintf("app%d", i%3), fmt.Sprintf("u%d", i*7%50))
		e := eventstore.Envelope{
			ID: fmt.Sprintf("01J%023d", i), Type: "account.edited.v1", Aggregate: id, Time: time.Unix(int64(i), 0), Actor: "a", CommandID: fmt.Sprint("c", i),
			Data: fmt.Appendf(nil, `{"n":%d}`, i),
		}
		stored, err := eventstore.Marshal(e)
		if err != nil {
			panic(err)
		}
		e.Position, e.Previous, e.Recorded, e.Stored = eventstore.Position(i+1), latest[id], time.Unix(1_700_000_000, int64(i)*1000), stored
		latest[id] = e.Position
		events[i] = e
	}
	return events
}

// memory is a log of events.
type memory struct{ events []eventstore.Envelope }

func (m *memory) Last(ctx) (eventstore.Position, error) {
	return eventstore.Position(len(m.events)), nil
}

func (m *memory) Read(_ ctx, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	if until < from {
		return each(nil)
	}
	return each(m.events[from-1 : until])
}

func each(events []eventstore.Envelope) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// published keeps the checkpoint that was published last.
type published struct {
	mu       sync.Mutex
	signed   []byte
	sequence uint64
}

func (p *published) Publish(_ ctx, signed []byte, behind uint64) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sequence != behind {
		return 0, eventstore.ErrConflict
	}
	p.signed = signed
	p.sequence++
	return p.sequence, nil
}

func (p *published) Latest(ctx) ([]byte, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signed, p.sequence, nil
}

func (p *published) latest(t testing.TB, key ledger.Key) ledger.Checkpoint {
	t.Helper()
	c, err := ledger.OpenCheckpoint(p.signed, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t testing.TB) ledger.Key {
	t.Helper()
	key, err := ledger.LoadOrCreateKey(filepath.Join(t.TempDir(), "ledger.key"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// feed has a ledger lead, adds events in batches and ends with a checkpoint.
func feed(t testing.TB, l *ledger.Ledger, events []eventstore.Envelope) {
	t.Helper()
	stop := fmt.Errorf("enough")
	err := l.Lead(t.Context(), func(ctx ctx) error {
		at, err := l.Checkpoint(ctx)
		for len(events) > 0 && err == nil {
			n := min(len(events), 100)
			err = l.Apply(ctx, at, events[:n])
			at, events = at+eventstore.Position(n), events[n:]
		}
		if err != nil {
			return err
		}
		return stop
	})
	if err != stop {
		t.Fatal(err)
	}
}
