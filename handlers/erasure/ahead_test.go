package erasure_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/eventstore"
	"rollcall/handlers/erasure"
)

// written is a log.
type written []eventstore.Envelope

func (w written) Last(context.Context) (eventstore.Position, error) {
	return eventstore.Position(len(w)), nil
}

func (w written) Read(_ context.Context, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		for _, e := range w {
			if e.Position >= from && e.Position <= until && !yield(e, nil) {
				return
			}
		}
	}
}

// slow is a Forgetter that takes a time before it answers as another does.
type slow struct {
	erasure.Forgetter
	time.Duration
}

func (s slow) Forget(ctx context.Context, accounts []erasure.Erased) error {
	time.Sleep(s.Duration)
	return s.Forgetter.Forget(ctx, accounts)
}

func destroyed(calls []string) (keys []string) {
	for _, c := range calls {
		if k, ok := strings.CutPrefix(c, "destroy "); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

func wantStanding(t *testing.T, r *erasure.Reactor, want erasure.Standing) {
	t.Helper()
	if got, err := r.Standing(t.Context()); err != nil || got != want {
		t.Errorf("it stands at %+v, %v, want %+v", got, err, want)
	}
}

func TestKeysAreDestroyedWithoutWaitingForCopiesThatCannotBeRemoved(t *testing.T) {
	for _, call := range []string{"forget", "record"} {
		l := &ledger{fail: map[string]error{call: errors.New("the store is away")}}
		log := batch(0, created("a", "k1"), deleted("a", "k1"), created("b", "k2"), deleted("b", "k2"), deleted("c", ""), created("d", "k4"))
		counted := 0
		r := erasure.New(l, l, l, erasure.Options{Forgetters: []erasure.Forgetter{l}, Ahead: written(log), Erased: func(n int) { counted += n }})
		for range 2 {
			if err := r.Apply(t.Context(), 0, log[:2]); err == nil {
				t.Errorf("%s fails and nothing is said", call)
			}
			wantStanding(t, r, erasure.Standing{Keys: 6, Done: 0, Stuck: true})
		}
		if got := strings.Join(destroyed(l.take()), " "); got != "k1 k2 k1" {
			t.Errorf("%s fails: the keys %s are destroyed", call, got)
		}
		l.fail = nil
		if err := r.Apply(t.Context(), 0, log[:2]); err != nil {
			t.Fatal(err)
		}
		wantStanding(t, r, erasure.Standing{Keys: 6, Done: 2})
		if err := r.Apply(t.Context(), 2, log[2:]); err != nil {
			t.Fatal(err)
		}
		wantStanding(t, r, erasure.Standing{Keys: 6, Done: 6})
		wantCalls(t, l, "destroy k1", "forget mine/a:k1@2", "record 2", "put erasure 2",
			"destroy k2", "forget mine/b:k2@4,mine/c:@5", "record 4,5", "put erasure 6")
		if counted != 3 {
			t.Errorf("%s fails: %d accounts were counted as erased, want 3", call, counted)
		}
	}
}

func TestKeysAreDestroyedWhileCopiesAreStillBeingRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		log := batch(0, deleted("a", "k1"), deleted("b", "k2"))
		r := erasure.New(l, l, l, erasure.Options{Forgetters: []erasure.Forgetter{slow{l, time.Minute}}, Ahead: written(log)})
		done := make(chan error)
		go func() { done <- r.Apply(t.Context(), 0, log[:1]) }()
		time.Sleep(30 * time.Second)
		wantStanding(t, r, erasure.Standing{Keys: 2})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantStanding(t, r, erasure.Standing{Keys: 2, Done: 1})
		if got := strings.Join(destroyed(l.take()), " "); got != "k1 k2" {
			t.Errorf("the keys %s are destroyed", got)
		}
	})
}

func TestKeysThatCannotBeDestroyedAreSaidToWait(t *testing.T) {
	l := &ledger{fail: map[string]error{"destroy": errors.New("no answer")}}
	log := batch(0, deleted("a", "k1"), deleted("b", "k2"))
	r := erasure.New(l, l, l, erasure.Options{Ahead: written(log)})
	if err := r.Apply(t.Context(), 0, log[:1]); err == nil {
		t.Error("nothing is said")
	}
	wantStanding(t, r, erasure.Standing{Stuck: true})
}
