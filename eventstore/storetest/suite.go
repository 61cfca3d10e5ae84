package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/eventstore"
)

// Run checks that a store keeps the contract of eventstore.Store. Every test calls
// open for its store, which may be the same each time and may hold events of others.
func Run(t *testing.T, open func(t *testing.T) eventstore.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s *suite)
	}{
		{"appended events are loaded in order as they were written", appendedEventsAreLoaded},
		{"an aggregate without events loads nothing and has revision zero", emptyAggregate},
		{"a stale revision is refused and nothing is written", staleRevision},
		{"several proposals are written at neighbouring positions or not at all", allOrNone},
		{"what can never be written is invalid", invalidProposals},
		{"user ids with bytes that mean something in a subject are kept apart", specialUserIDs},
		{"of two appends at once exactly one wins", twoAtOnce},
		{"a counter that many increment loses none", counterLosesNone},
		{"batches that race single appends keep every guard", batchesRaceSingles},
		{"one conflict among many appends fails only its own", conflictAmongMany},
		{"a cancelled append tells what is known of it", cancelledAppend},
		{"a long history is loaded whole", longHistory},
		{"a range is read in order without holes", readRanges},
		{"a read past the end of the log is damage", readPastTheEnd},
		{"the events of an application are read without those of others", readApp},
		{"a time is turned into a position", positionAt},
		{"a subscription to an application passes others over", subscribeApp},
		{"a subscription starts in the middle and goes on live", subscribeLive},
		{"a subscription delivers many events in order", subscribeMany},
		{"a subscription ends with its context", subscribeCancelled},
		{"a command that meets a conflict is decided anew", executeRetries},
		{"a command that was executed is not executed again", executeReplays},
		{"a wrong presumption is corrected", executePresumes},
		{"a refusal is not founded on a stale read", executeRefuses},
		{"concurrent commands on an aggregate are linearizable", linearizable},
		{"an invariant over two aggregates holds under races", seats},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, &suite{Store: open(t), app: nextApp()})
		})
	}
}

var apps atomic.Int64

// nextApp returns an application that no other test of the process uses.
func nextApp() string { return "app" + strconv.FormatInt(apps.Add(1), 10) }

// suite is the store of one test and the application whose aggregates are its own.
type suite struct {
	eventstore.Store
	app    string
	filled int // accounts that fill has made
}

func (s *suite) account(name string) eventstore.AggregateID { return eventstore.Account(s.app, name) }

// proposal is an event that holds the revision that it was decided on, so that checkGuards can tell
// whether its guard held.
func proposal(id eventstore.AggregateID, expected eventstore.Revision) eventstore.Proposal {
	return eventstore.Proposal{Event: counted(id, Event(id, "").ID, int(expected)), Expected: expected}
}

// mustAppend appends what cannot fail.
func (s *suite) mustAppend(t *testing.T, proposals ...eventstore.Proposal) []eventstore.Position {
	t.Helper()
	positions, err := s.Append(t.Context(), proposals...)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return positions
}

// mustLoad returns the events of an aggregate up to its revision. A replica that is behind
// may answer with fewer, so it asks until they have come.
func (s *suite) mustLoad(t *testing.T, id eventstore.AggregateID) []eventstore.Envelope {
	t.Helper()
	revision, err := s.Revision(t.Context(), id)
	if err != nil {
		t.Fatalf("revision of %s: %v", id, err)
	}
	var events []eventstore.Envelope
	Eventually(t, fmt.Sprintf("%s is loaded up to revision %d", id, revision), func() bool {
		if events, err = collect(s.Load(t.Context(), id)); err != nil {
			t.Fatalf("load %s: %v", id, err)
		}
		var last eventstore.Position
		if len(events) > 0 {
			last = events[len(events)-1].Position
		}
		return last >= revision
	})
	return events
}

// checkGuards fails the test unless every event of the aggregate was written
// at the revision that it was decided on.
func (s *suite) checkGuards(t *testing.T, id eventstore.AggregateID) []eventstore.Envelope {
	t.Helper()
	events := s.mustLoad(t, id)
	var before eventstore.Position
	for _, e := range events {
		if got := string(e.Data); got != strconv.FormatUint(uint64(before), 10) {
			t.Errorf("%s: the event at %d was decided on revision %s and written at revision %d", id, e.Position, got, before)
		}
		before = e.Position
	}
	revision, err := s.Revision(t.Context(), id)
	if err != nil || revision != before {
		t.Errorf("%s: revision %d, %v, want %d", id, revision, err, before)
	}
	return events
}

// collect returns what an iteration yields before its end or its error.
func collect(seq iter.Seq2[eventstore.Envelope, error]) ([]eventstore.Envelope, error) {
	var events []eventstore.Envelope
	for e, err := range seq {
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

func appendedEventsAreLoaded(t *testing.T, s *suite) {
	id := s.account("alice")
	before := time.Now().Add(-time.Minute)
	written := []eventstore.Envelope{
		{
			ID: "01J0000000000000000000000A", Type: "account.created.v1", Aggregate: id,
			Time: time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC), Actor: `oper"ator\ 한국어 🙂`,
			CommandID: "c1", CausationID: "cause", CorrelationID: "correlation",
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			Fields:      []string{"nickname", "face_url"}, KeyID: "key", Data: []byte(`{"nickname":"\u00e9<>&","n":1.0}`),
		},
		Event(id, "c2"),
		Event(id, "c3"),
	}
	var revision eventstore.Revision
	for i := range written {
		written[i].Previous = revision
		revision = s.mustAppend(t, eventstore.Proposal{Event: written[i], Expected: revision})[0]
		written[i].Position = revision
	}
	got := s.mustLoad(t, id)
	if len(got) != len(written) {
		t.Fatalf("loaded %d events, want %d", len(got), len(written))
	}
	for i := range got {
		if got[i].Recorded.Before(before) {
			t.Errorf("event %d was recorded at %s, before it was written", i, got[i].Recorded)
		}
		if stored, err := eventstore.Marshal(written[i]); err != nil || string(got[i].Stored) != string(stored) {
			t.Errorf("event %d is kept as %s, was written as %s, %v", i, got[i].Stored, stored, err)
		}
		got[i].Recorded, got[i].Stored = time.Time{}, nil
	}
	// JSON's own escapes may be written in another way.
	got[0].Data, written[0].Data = nil, nil
	if !reflect.DeepEqual(got, written) {
		t.Errorf("loaded\n%+v\nwant\n%+v", got, written)
	}
	s.checkRevision(t, id, revision)
}

func (s *suite) checkRevision(t *testing.T, id eventstore.AggregateID, want eventstore.Revision) {
	t.Helper()
	if got, err := s.Revision(t.Context(), id); err != nil || got != want {
		t.Errorf("revision of %s is %d, %v, want %d", id, got, err, want)
	}
}

func emptyAggregate(t *testing.T, s *suite) {
	if events := s.mustLoad(t, s.account("nobody")); len(events) != 0 {
		t.Errorf("loaded %d events", len(events))
	}
	s.checkRevision(t, s.account("nobody"), 0)
}

func staleRevision(t *testing.T, s *suite) {
	id := s.account("alice")
	first := s.mustAppend(t, proposal(id, 0))[0]
	second := s.mustAppend(t, proposal(id, first))[0]
	last, err := s.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, expected := range []eventstore.Revision{0, first, second + 1000} {
		if _, err := s.Append(t.Context(), proposal(id, expected)); !errors.Is(err, eventstore.ErrConflict) {
			t.Errorf("append at revision %d: %v, want ErrConflict", expected, err)
		}
	}
	if got, err := s.Last(t.Context()); err != nil || got != last {
		t.Errorf("the log ends at %d, %v, want %d", got, err, last)
	}
	s.checkGuards(t, id)
}

func allOrNone(t *testing.T, s *suite) {
	a, b, c := s.account("a"), s.account("b"), eventstore.Admins(s.app)
	positions := s.mustAppend(t, proposal(a, 0), proposal(b, 0), proposal(c, 0))
	for i, p := range positions {
		if p != positions[0]+eventstore.Position(i) {
			t.Fatalf("positions are %v, want neighbours", positions)
		}
	}
	for i, id := range []eventstore.AggregateID{a, b, c} {
		s.checkRevision(t, id, positions[i])
	}
	if _, err := s.Append(t.Context(), proposal(a, positions[0]), proposal(b, 0)); !errors.Is(err, eventstore.ErrConflict) {
		t.Errorf("append with one stale guard of two: %v, want ErrConflict", err)
	}
	for i, id := range []eventstore.AggregateID{a, b, c} {
		s.checkRevision(t, id, positions[i])
	}
}

func invalidProposals(t *testing.T, s *suite) {
	large := Event(s.account("large"), "c")
	large.Data = fmt.Appendf(nil, "%q", make([]byte, 2<<20))
	tests := map[string][]eventstore.Proposal{
		"none at all":              nil,
		"no aggregate":             {{Event: Event(eventstore.AggregateID{}, "c")}},
		"no user id":               {proposal(s.account(""), 0)},
		"a space in the user id":   {proposal(s.account("a b"), 0)},
		"no command id":            {{Event: Event(s.account("a"), "")}},
		"an aggregate twice":       {proposal(s.account("a"), 0), proposal(s.account("a"), 0)},
		"too large":                {{Event: large}},
		"one of two is impossible": {proposal(s.account("a"), 0), {Event: Event(s.account("b"), "")}},
	}
	for name, proposals := range tests {
		if _, err := s.Append(t.Context(), proposals...); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	s.checkRevision(t, s.account("a"), 0)
}

func specialUserIDs(t *testing.T, s *suite) {
	names := []string{"a.b", "a%2Eb", "a%b", "a*b", "*", ">", "a>b", "%", ".", "..", "A.B", "%25", "!#$&'()+,-/:;<=?@[\\]^_`{|}~\""}
	positions := make(map[string]eventstore.Position)
	for _, name := range names {
		positions[name] = s.mustAppend(t, proposal(s.account(name), 0))[0]
	}
	for _, name := range names {
		events := s.checkGuards(t, s.account(name))
		if len(events) != 1 || events[0].Position != positions[name] || events[0].Aggregate.Name != name {
			t.Errorf("%q loads %+v", name, events)
		}
	}
}

func longHistory(t *testing.T, s *suite) {
	const n = 150
	id := eventstore.App(s.app)
	var revision eventstore.Revision
	for i := range n {
		other := s.account("other" + strconv.Itoa(i))
		revision = s.mustAppend(t, proposal(id, revision), proposal(other, 0))[0]
	}
	if events := s.checkGuards(t, id); len(events) != n {
		t.Errorf("loaded %d events, want %d", len(events), n)
	}
}

func cancelledAppend(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id := s.account("alice")
	if _, err := s.Append(ctx, proposal(id, 0)); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("append with a context that has ended: %v, want ErrUnavailable", err)
	}
	s.checkRevision(t, id, 0)

	var wg sync.WaitGroup
	for i := range 20 {
		id := s.account("bob" + strconv.Itoa(i))
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(cancel)
		wg.Go(func() {
			_, err := s.Append(ctx, proposal(id, 0))
			switch revision, rerr := s.Revision(t.Context(), id); {
			case rerr != nil:
				t.Error(rerr)
			case err == nil && revision == 0:
				t.Error("an acknowledged append is not in the log")
			case errors.Is(err, eventstore.ErrUnavailable) && revision != 0:
				t.Error("an append that was not sent is in the log")
			case err != nil && !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, eventstore.ErrUnknownOutcome):
				t.Errorf("cancelled append: %v", err)
			}
		})
	}
	wg.Wait()
}
