package storetest

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"rollcall/eventstore"
)

// interleave appends events of the suite's application, each followed by one of another, and returns the positions of the
// former and the last of all.
func (s *suite) interleave(t *testing.T, n int) (mine []eventstore.Position, last eventstore.Position) {
	t.Helper()
	other := nextApp()
	for i := range n {
		at := s.mustAppend(t, proposal(s.account("a"+strconv.Itoa(i)), 0), proposal(eventstore.Account(other, strconv.Itoa(i)), 0))
		mine, last = append(mine, at[0]), at[1]
	}
	return mine, last
}

func (s *suite) checkApp(t *testing.T, events []eventstore.Envelope, want []eventstore.Position) {
	t.Helper()
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d", len(events), len(want))
	}
	for i, e := range events {
		if e.Aggregate.App != s.app || e.Position != want[i] {
			t.Fatalf("event %d is of %s at %d, want one of %s at %d", i, e.Aggregate.App, e.Position, s.app, want[i])
		}
	}
}

func readApp(t *testing.T, s *suite) {
	mine, last := s.interleave(t, 20)
	for _, r := range []struct{ from, until, first, end int }{
		{0, int(last), 0, 20}, {int(mine[5]), int(mine[9]), 5, 10}, {int(mine[5]) + 1, int(mine[9]) + 1, 6, 10}, {int(mine[19]) + 1, int(last), 0, 0},
		{int(mine[3]) + 1, int(mine[3]) + 1, 0, 0}, {5, 4, 0, 0},
	} {
		events, err := collect(s.ReadApp(t.Context(), s.app, eventstore.Position(r.from), eventstore.Position(r.until)))
		if err != nil {
			t.Fatalf("read %d to %d: %v", r.from, r.until, err)
		}
		s.checkApp(t, events, mine[r.first:r.end])
	}
	if events, err := collect(s.ReadApp(t.Context(), nextApp(), 1, last)); len(events) != 0 || err != nil {
		t.Errorf("an application without events yields %d, %v", len(events), err)
	}
	if _, err := collect(s.ReadApp(t.Context(), s.app, 1, last+1000)); !errors.Is(err, eventstore.ErrDamaged) {
		t.Errorf("read past the end: %v, want ErrDamaged", err)
	}
	few := nextApp() // so few that another way is faster
	var rare []eventstore.Position
	for i := range 3 {
		rare = append(rare, s.mustAppend(t, proposal(eventstore.Account(few, strconv.Itoa(i)), 0))...)
		others := nextApp()
		for n := range 20 {
			s.mustAppend(t, proposal(eventstore.Account(others, strconv.Itoa(n)), 0))
		}
	}
	for until, want := range map[eventstore.Position]int{rare[2] + 1: 3, rare[1]: 2, rare[2] - 1: 2, rare[0] - 1: 0} {
		events, err := collect(s.ReadApp(t.Context(), few, 1, until))
		if err != nil || len(events) != want {
			t.Errorf("of an application with 3 events, up to position %d there are %d, %v; want %d", until, len(events), err, want)
		}
	}
	erased := s.mustAppend(t, proposal(eventstore.Erased(s.app, "a1"), 0), proposal(eventstore.Erased(nextApp(), "a1"), 0))
	if events, err := collect(s.ReadErased(t.Context(), s.app, 1, erased[1])); err != nil {
		t.Errorf("read erasures: %v", err)
	} else {
		s.checkApp(t, events, erased[:1])
	}
	for e, err := range s.ReadApp(t.Context(), s.app, 1, last) {
		if err != nil || e.Position != mine[0] {
			t.Errorf("the first event is at %d, %v, want %d", e.Position, err, mine[0])
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collect(s.ReadApp(ctx, s.app, 1, last)); !errors.Is(err, context.Canceled) {
		t.Errorf("read with a cancelled context: %v", err)
	}
}

func positionAt(t *testing.T, s *suite) {
	first, last := s.fill(t, 20)
	events, err := collect(s.Read(t.Context(), first, last))
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		want := e.Position
		for _, later := range events[i+1:] { // events that were written together have one time
			if !later.Recorded.After(e.Recorded) {
				want = later.Position
			}
		}
		if at, err := s.PositionAt(t.Context(), e.Recorded); at != want || err != nil {
			t.Errorf("the position at the time of %d is %d (%v), want %d", e.Position, at, err, want)
		}
	}
	if at, err := s.PositionAt(t.Context(), events[0].Recorded.Add(-time.Nanosecond)); at >= first || err != nil {
		t.Errorf("the position before the first is %d (%v)", at, err)
	}
	if at, err := s.PositionAt(t.Context(), time.Now().Add(time.Hour)); at < last || err != nil {
		t.Errorf("the position in an hour is %d (%v), want %d", at, err, last)
	}
	if at, err := s.PositionAt(t.Context(), time.Unix(0, 0)); at != 0 || err != nil {
		t.Errorf("the position long ago is %d (%v), want 0", at, err)
	}
}

func subscribeApp(t *testing.T, s *suite) {
	mine, _ := s.interleave(t, 10)
	sub, err := s.SubscribeApp(t.Context(), s.app, mine[2]+1)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	s.checkApp(t, take(t, sub, 7, 3), mine[3:])
	s.interleave(t, 0)
	at := s.mustAppend(t, proposal(s.account("live"), 0))
	s.checkApp(t, take(t, sub, 1, 10), at)
}
