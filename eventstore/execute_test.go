package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// faulty is a real log with an answer now and then that is not the log's own.
type faulty struct {
	eventstore.Store
	onAppend func(write func() ([]eventstore.Position, error)) ([]eventstore.Position, error)
	onLoad   func() error
}

func (f *faulty) Append(ctx context.Context, proposals ...eventstore.Proposal) ([]eventstore.Position, error) {
	write := func() ([]eventstore.Position, error) { return f.Store.Append(ctx, proposals...) }
	if f.onAppend == nil {
		return write()
	}
	return f.onAppend(write)
}

func (f *faulty) Load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	if f.onLoad == nil {
		return f.Store.Load(ctx, id)
	}
	return func(yield func(eventstore.Envelope, error) bool) {
		if err := f.onLoad(); err != nil {
			yield(eventstore.Envelope{}, err)
			return
		}
		f.Store.Load(ctx, id)(yield)
	}
}

func newLog(t *testing.T) *faulty {
	t.Helper()
	s, err := jetstream.Open(t.Context(), storetest.Connect(t, storetest.RunServer(t)), jetstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &faulty{Store: s}
}

func count(t *testing.T, s eventstore.Store, id eventstore.AggregateID) int {
	t.Helper()
	n := 0
	for _, err := range s.Load(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestExecuteResolvesALostAnswer(t *testing.T) {
	log := newLog(t)
	for _, written := range []bool{true, false} {
		t.Run(fmt.Sprintf("written %t", written), func(t *testing.T) {
			id := eventstore.Account("app", fmt.Sprint(written))
			lose := true
			log.onAppend = func(write func() ([]eventstore.Position, error)) ([]eventstore.Position, error) {
				if !lose {
					return write()
				}
				lose = false
				if written {
					if _, err := write(); err != nil {
						t.Error(err)
					}
				}
				return nil, eventstore.ErrUnknownOutcome
			}
			out, err := eventstore.Execute(t.Context(), log, "command", storetest.Add(id, "command"))
			if err != nil || len(out.Events) != 1 || out.Events[0].Position == 0 || out.Replayed != written {
				t.Errorf("%+v, %v", out, err)
			}
			if n := count(t, log.Store, id); n != 1 {
				t.Errorf("%d events, want 1", n)
			}
		})
	}
}

func TestExecuteSaysThatTheOutcomeIsUnknownWhenItCannotFindOut(t *testing.T) {
	log := newLog(t)
	id := eventstore.Account("app", "alice")
	gone := false
	log.onLoad = func() error {
		if gone {
			return eventstore.ErrUnavailable
		}
		return nil
	}
	log.onAppend = func(write func() ([]eventstore.Position, error)) ([]eventstore.Position, error) {
		if _, err := write(); err != nil {
			t.Error(err)
		}
		gone = true
		return nil, eventstore.ErrUnknownOutcome
	}
	if _, err := eventstore.Execute(t.Context(), log, "command", storetest.Add(id, "command")); !errors.Is(err, eventstore.ErrUnknownOutcome) {
		t.Errorf("%v, want ErrUnknownOutcome", err)
	}
	out, err := eventstore.Execute(t.Context(), log.Store, "command", storetest.Add(id, "command"))
	if err != nil || !out.Replayed || len(out.Events) != 1 {
		t.Errorf("the same command again: %+v, %v", out, err)
	}
}

func TestExecuteDoesNotRepeatForeverWhatALogNeverAnswers(t *testing.T) {
	log := newLog(t)
	id := eventstore.Account("app", "alice")
	appends := 0
	log.onAppend = func(func() ([]eventstore.Position, error)) ([]eventstore.Position, error) {
		appends++
		return nil, eventstore.ErrUnknownOutcome // it can be read, and has no leader that takes anything
	}
	if _, err := eventstore.Execute(t.Context(), log, "command", storetest.Add(id, "command")); !errors.Is(err, eventstore.ErrUnknownOutcome) || appends > 2 {
		t.Errorf("after %d appends: %v", appends, err)
	}

	appends = 0
	log.onAppend = func(write func() ([]eventstore.Position, error)) ([]eventstore.Position, error) {
		if appends++; appends == 2 {
			if _, err := write(); err != nil {
				t.Error(err)
			}
		}
		return nil, eventstore.ErrUnknownOutcome
	}
	out, err := eventstore.Execute(t.Context(), log, "command", storetest.Add(id, "command"))
	if err != nil || !out.Replayed || appends != 2 {
		t.Errorf("the last append is not looked for: %+v, %v", out, err)
	}
}

func TestExecuteReportsWhatStopsIt(t *testing.T) {
	log := newLog(t)
	id, other := eventstore.Account("app", "alice"), eventstore.Account("app", "bob")
	errRefused := errors.New("refused")
	decide := func(events []eventstore.Envelope, err error) eventstore.Decide {
		return func(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
			if _, lerr := u.Load(ctx, id); lerr != nil {
				return nil, lerr
			}
			return events, err
		}
	}
	tests := []struct {
		name   string
		decide eventstore.Decide
		want   error
	}{
		{"a refusal", decide(nil, errRefused), errRefused},
		{"nothing to do", decide(nil, nil), nil},
		{"an event of an aggregate that was not loaded", decide([]eventstore.Envelope{storetest.Event(other, "command")}, nil), eventstore.ErrInvalid},
		{"an event of another command", decide([]eventstore.Envelope{storetest.Event(id, "other")}, nil), eventstore.ErrInvalid},
	}
	for _, test := range tests {
		if _, err := eventstore.Execute(t.Context(), log, "command", test.decide); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := eventstore.Execute(ctx, log, "command", storetest.Add(id, "command")); err == nil {
		t.Error("executed with a context that has ended")
	}
	if last, err := log.Last(t.Context()); err != nil || last != 0 {
		t.Errorf("the log ends at %d, %v, want 0: something was written", last, err)
	}
}

func TestTroubleAfterALostAnswerLeavesTheOutcomeUnknown(t *testing.T) {
	log := newLog(t)
	id := eventstore.Account("app", "late")
	log.onAppend = func(func() ([]eventstore.Position, error)) ([]eventstore.Position, error) {
		return nil, eventstore.ErrUnknownOutcome // it may still be on its way
	}
	attempts := 0
	_, err := eventstore.Execute(t.Context(), log, "command", func(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
		attempts++
		if _, err := u.Load(ctx, id); err != nil {
			return nil, err
		}
		if u.Uncertain() != (attempts > 1) {
			t.Errorf("attempt %d is uncertain: %v", attempts, u.Uncertain())
		}
		if attempts > 1 {
			return nil, fmt.Errorf("read a key: %w", eventstore.ErrUnavailable)
		}
		return []eventstore.Envelope{storetest.Event(id, "command")}, nil
	})
	if !errors.Is(err, eventstore.ErrUnknownOutcome) || attempts != 2 {
		t.Errorf("after %d attempts: %v", attempts, err)
	}
}
