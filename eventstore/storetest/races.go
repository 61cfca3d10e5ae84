package storetest

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"rollcall/eventstore"
)

func twoAtOnce(t *testing.T, s *suite) {
	for round := range 50 {
		id := s.account("alice" + strconv.Itoa(round))
		var wins, conflicts atomic.Int64
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				switch _, err := s.Append(t.Context(), proposal(id, 0)); {
				case err == nil:
					wins.Add(1)
				case errors.Is(err, eventstore.ErrConflict):
					conflicts.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 || conflicts.Load() != 1 {
			t.Fatalf("round %d: %d wins and %d conflicts, want one of each", round, wins.Load(), conflicts.Load())
		}
	}
}

// increment appends to the aggregate until it wins n times.
func (s *suite) increment(t *testing.T, n int, ids ...eventstore.AggregateID) {
	for n > 0 {
		proposals := make([]eventstore.Proposal, len(ids))
		for i, id := range ids {
			var revision eventstore.Revision
			events, err := collect(s.Load(t.Context(), id))
			if err != nil {
				t.Errorf("load %s: %v", id, err)
				return
			}
			if len(events) > 0 {
				revision = events[len(events)-1].Position
			}
			proposals[i] = proposal(id, revision)
		}
		switch _, err := s.Append(t.Context(), proposals...); {
		case err == nil:
			n--
		case !errors.Is(err, eventstore.ErrConflict):
			t.Errorf("append: %v", err)
			return
		}
	}
}

func counterLosesNone(t *testing.T, s *suite) {
	const racers, each = 8, 5
	id := s.account("counter")
	var wg sync.WaitGroup
	for range racers {
		wg.Go(func() { s.increment(t, each, id) })
	}
	wg.Wait()
	if events := s.checkGuards(t, id); len(events) != racers*each {
		t.Errorf("the counter is at %d, want %d", len(events), racers*each)
	}
}

// batchesRaceSingles lets batches and single appends race on the same
// aggregates while enough others write to keep the log committing groups.
func batchesRaceSingles(t *testing.T, s *suite) {
	const racers, each, others = 3, 4, 16
	a, b := s.account("a"), s.account("b")
	var racing, noise sync.WaitGroup
	for range racers {
		racing.Go(func() { s.increment(t, each, a) })
		racing.Go(func() { s.increment(t, each, b) })
		racing.Go(func() { s.increment(t, each, a, b) })
	}
	over := make(chan struct{})
	for i := range others {
		noise.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
					s.increment(t, 1, s.account("other"+strconv.Itoa(i)+"-"+strconv.Itoa(n)))
				}
			}
		})
	}
	racing.Wait()
	close(over)
	noise.Wait()
	eventsA, eventsB := s.checkGuards(t, a), s.checkGuards(t, b)
	if len(eventsA) != 2*racers*each || len(eventsB) != 2*racers*each {
		t.Fatalf("a has %d events and b %d, want %d each", len(eventsA), len(eventsB), 2*racers*each)
	}
	inB := make(map[eventstore.Position]bool)
	for _, e := range eventsB {
		inB[e.Position] = true
	}
	pairs := 0
	for _, e := range eventsA {
		if inB[e.Position+1] {
			pairs++
		}
	}
	if pairs < racers*each {
		t.Errorf("%d pairs of neighbours, want at least %d", pairs, racers*each)
	}
}

// conflictAmongMany makes a third of many concurrent appends stale.
func conflictAmongMany(t *testing.T, s *suite) {
	const n = 300
	seeds := make([]eventstore.Proposal, 0, n/3)
	for i := 0; i < n; i += 3 {
		seeds = append(seeds, proposal(s.account("user"+strconv.Itoa(i)), 0))
	}
	s.mustAppend(t, seeds...)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			id := s.account("user" + strconv.Itoa(i))
			ids := []eventstore.Proposal{proposal(id, 0)}
			if i%5 == 0 {
				ids = append(ids, proposal(s.account("mate"+strconv.Itoa(i)), 0))
			}
			positions, err := s.Append(t.Context(), ids...)
			switch {
			case i%3 == 0 && !errors.Is(err, eventstore.ErrConflict):
				t.Errorf("append %d to an aggregate that exists: %v, want ErrConflict", i, err)
			case i%3 != 0 && err != nil:
				t.Errorf("append %d: %v", i, err)
			case err == nil:
				for k, p := range positions {
					s.checkRevision(t, ids[k].Event.Aggregate, p)
				}
			}
		})
	}
	wg.Wait()
	for i := 0; i < n; i += 15 {
		s.checkRevision(t, s.account("mate"+strconv.Itoa(i)), 0)
	}
}
