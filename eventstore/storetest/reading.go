package storetest

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"rollcall/eventstore"
)

// fill appends n events, each of an aggregate of its own, and returns the first and the last position.
func (s *suite) fill(t *testing.T, n int) (first, last eventstore.Position) {
	t.Helper()
	for done := 0; done < n; {
		size := min(n-done, 500)
		proposals := make([]eventstore.Proposal, size)
		for i := range proposals {
			s.filled++
			proposals[i] = proposal(s.account("filler"+strconv.Itoa(s.filled)), 0)
		}
		positions := s.mustAppend(t, proposals...)
		if first == 0 {
			first = positions[0]
		}
		last = positions[size-1]
		done += size
	}
	return first, last
}

// checkRun fails the test unless the events are those of consecutive positions.
func checkRun(t *testing.T, events []eventstore.Envelope, from, until eventstore.Position) {
	t.Helper()
	if len(events) != int(until-from+1) {
		t.Fatalf("%d events, want those at %d to %d", len(events), from, until)
	}
	for i, e := range events {
		if e.Position != from+eventstore.Position(i) {
			t.Fatalf("event %d is at position %d, want %d", i, e.Position, from+eventstore.Position(i))
		}
		if e.Recorded.IsZero() || i > 0 && e.Recorded.Before(events[i-1].Recorded) {
			t.Fatalf("the log's time runs backwards at position %d", e.Position)
		}
	}
}

func readRanges(t *testing.T, s *suite) {
	first, last := s.fill(t, 1500)
	for _, r := range []struct{ from, until eventstore.Position }{
		{first, last}, {first, first}, {last, last}, {first + 700, last - 100},
	} {
		events, err := collect(s.Read(t.Context(), r.from, r.until))
		if err != nil {
			t.Fatalf("read %d to %d: %v", r.from, r.until, err)
		}
		checkRun(t, events, r.from, r.until)
	}
	if events, err := collect(s.Read(t.Context(), last, last-1)); len(events) != 0 || err != nil {
		t.Errorf("an empty range yields %d events, %v", len(events), err)
	}
	for e, err := range s.Read(t.Context(), first, last) {
		if err != nil || e.Position != first {
			t.Errorf("the first event is at %d, %v, want %d", e.Position, err, first)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collect(s.Read(ctx, first, last)); !errors.Is(err, context.Canceled) {
		t.Errorf("read with a cancelled context: %v", err)
	}
}

func readPastTheEnd(t *testing.T, s *suite) {
	first, last := s.fill(t, 3)
	events, err := collect(s.Read(t.Context(), first, last+2))
	if !errors.Is(err, eventstore.ErrDamaged) {
		t.Errorf("read past the end: %v, want ErrDamaged", err)
	}
	checkRun(t, events, first, last)
	if _, err := collect(s.Read(t.Context(), last+1, last+1)); !errors.Is(err, eventstore.ErrDamaged) {
		t.Errorf("read beyond the end: %v, want ErrDamaged", err)
	}
}

// take returns the next n events of a subscription.
func take(t *testing.T, sub eventstore.Subscription, n, limit int) []eventstore.Envelope {
	t.Helper()
	var events []eventstore.Envelope
	for len(events) < n {
		got, err := sub.Next(t.Context(), min(limit, n-len(events)))
		if err != nil {
			t.Fatalf("after %d events: %v", len(events), err)
		}
		if len(got) == 0 || len(got) > limit {
			t.Fatalf("next returned %d events, want 1 to %d", len(got), limit)
		}
		events = append(events, got...)
	}
	return events
}

func (s *suite) subscribe(t *testing.T, from eventstore.Position) eventstore.Subscription {
	t.Helper()
	sub, err := s.Subscribe(t.Context(), from)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	t.Cleanup(sub.Close)
	return sub
}

func subscribeLive(t *testing.T, s *suite) {
	first, last := s.fill(t, 10)
	sub := s.subscribe(t, first+5)
	checkRun(t, take(t, sub, 5, 3), first+5, last)
	for range 5 {
		next := s.mustAppend(t, proposal(s.account("live"+strconv.Itoa(int(last))), 0))[0]
		checkRun(t, take(t, sub, 1, 100), last+1, next)
		last = next
	}
	ahead := s.subscribe(t, last+3)
	first, last = s.fill(t, 4)
	checkRun(t, take(t, ahead, 2, 10), first+2, last)
	checkRun(t, take(t, sub, 4, 10), first, last)
}

func subscribeMany(t *testing.T, s *suite) {
	first, last := s.fill(t, 5_000)
	checkRun(t, take(t, s.subscribe(t, first), 5_000, 1000), first, last)
}

func subscribeCancelled(t *testing.T, s *suite) {
	_, last := s.fill(t, 1)
	sub := s.subscribe(t, last+1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sub.Next(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("next with a cancelled context: %v", err)
	}
	sub.Close()
	if _, err := sub.Next(t.Context(), 1); err == nil {
		t.Error("a closed subscription returns events")
	}
}
