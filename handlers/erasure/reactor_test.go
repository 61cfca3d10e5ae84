package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/handlers/erasure"
)

// ledger stands where keys, copies and checkpoints are kept and notes what is
// asked of it, in order. What real ones do is tested with a server in erase_test.go.
type ledger struct {
	mu         sync.Mutex
	calls      []string
	checkpoint uint64
	fail       map[string]error // by the first word of a call
}

func (l *ledger) note(call string, args ...any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, strings.TrimSpace(call+" "+fmt.Sprint(args...)))
	return l.fail[call]
}

func (l *ledger) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

func (l *ledger) Destroy(_ context.Context, ids ...string) error {
	return l.note("destroy", strings.Join(ids, ","))
}

func (l *ledger) Forget(_ context.Context, accounts []erasure.Erased) error {
	var names []string
	for _, a := range accounts {
		names = append(names, fmt.Sprintf("%s/%s:%s@%d", a.App, a.UserID, a.KeyID, a.Position()))
	}
	return l.note("forget", strings.Join(names, ","))
}

func (l *ledger) Record(_ context.Context, accounts []erasure.Erased) error {
	var at []string
	for _, a := range accounts {
		at = append(at, fmt.Sprint(a.Position()))
	}
	return l.note("record", strings.Join(at, ","))
}

func (l *ledger) Get(_ context.Context, name string) (uint64, error) {
	return l.checkpoint, l.note("get", name)
}

func (l *ledger) Put(_ context.Context, name string, position uint64) error {
	if err := l.note("put", name, " ", position); err != nil {
		return err
	}
	l.checkpoint = position
	return nil
}

func newReactor(l *ledger, every uint64) *erasure.Reactor {
	return erasure.New(l, l, l, erasure.Options{Forgetters: []erasure.Forgetter{l}, PersistEvery: every})
}

// created, deleted and other make events; batch gives them positions.
func created(user, key string) eventstore.Envelope {
	return eventstore.Envelope{Type: codec.TypeAccountCreated, Aggregate: eventstore.Account("mine", user), KeyID: key}
}

func deleted(user, key string) eventstore.Envelope {
	return eventstore.Envelope{Type: codec.TypeAccountDeleted, Aggregate: eventstore.Account("mine", user), KeyID: key}
}

func batch(from eventstore.Position, events ...eventstore.Envelope) []eventstore.Envelope {
	for i := range events {
		events[i].Position = from + eventstore.Position(i) + 1
	}
	return events
}

func wantCalls(t *testing.T, l *ledger, want ...string) {
	t.Helper()
	if got := l.take(); !slices.Equal(got, want) {
		t.Errorf("got calls\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func wantCheckpoint(t *testing.T, r *erasure.Reactor, want eventstore.Position) {
	t.Helper()
	if got, err := r.Checkpoint(t.Context()); err != nil || got != want {
		t.Errorf("the checkpoint is %d, %v, want %d", got, err, want)
	}
}

func TestABatchIsErasedInOneCallBeforeItsCheckpointIsKept(t *testing.T) {
	l := &ledger{checkpoint: 10}
	r := newReactor(l, 1000)
	events := batch(10, created("a", "k1"), deleted("a", "k1"), created("a", "k2"), deleted("b", "k3"), deleted("c", ""))
	if err := r.Apply(t.Context(), 10, events); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, l, "get erasure", "destroy k1,k3", "forget mine/a:k1@12,mine/b:k3@14,mine/c:@15", "record 12,14,15", "put erasure 15")
	wantCheckpoint(t, r, 15)
}

func TestADeletionWithoutAKeyHasItsCopiesForgotten(t *testing.T) {
	l := &ledger{}
	if err := newReactor(l, 1000).Apply(t.Context(), 0, batch(0, deleted("c", ""))); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, l, "get erasure", "forget mine/c:@1", "record 1", "put erasure 1")
}

func TestNoDeletionIsPassedThatIsNotErased(t *testing.T) {
	cause := errors.New("no answer")
	for _, call := range []string{"destroy", "forget", "record"} {
		t.Run(call+" fails", func(t *testing.T) {
			l := &ledger{fail: map[string]error{call: cause}}
			r := newReactor(l, 1)
			events := batch(0, created("a", "k1"), deleted("a", "k1"))
			for range 2 {
				if err := r.Apply(t.Context(), 0, events); !errors.Is(err, cause) {
					t.Errorf("got %v", err)
				}
				wantCheckpoint(t, r, 0)
			}
			if slices.ContainsFunc(l.take(), func(c string) bool { return strings.HasPrefix(c, "put") }) {
				t.Error("a checkpoint was kept")
			}
			l.fail = nil
			if err := r.Apply(t.Context(), 0, events); err != nil {
				t.Fatal(err)
			}
			wantCalls(t, l, "destroy k1", "forget mine/a:k1@2", "record 2", "put erasure 2")
		})
	}
}

func TestACheckpointThatCannotBeKeptIsKeptLater(t *testing.T) {
	l := &ledger{fail: map[string]error{"put": errors.New("no answer")}}
	r := newReactor(l, 1000)
	if err := r.Apply(t.Context(), 0, batch(0, deleted("a", "k1"))); err != nil {
		t.Fatal(err)
	}
	wantCheckpoint(t, r, 1)
	if err := r.Idle(t.Context()); err == nil {
		t.Error("idle hides that the checkpoint was not kept")
	}
	l.fail = nil
	l.take()
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, l, "put erasure 1")
}

func TestWithoutDeletionsTheCheckpointIsKeptNowAndThen(t *testing.T) {
	l := &ledger{}
	r := newReactor(l, 3)
	for from := range eventstore.Position(7) {
		if err := r.Apply(t.Context(), from, batch(from, created("a", "k1"))); err != nil {
			t.Fatal(err)
		}
	}
	wantCalls(t, l, "get erasure", "put erasure 3", "put erasure 6")
	for range 2 {
		if err := errors.Join(r.Idle(t.Context()), r.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	wantCalls(t, l, "put erasure 7")
	wantCheckpoint(t, newReactor(l, 3), 7)
}

func TestEventsThatDoNotFollowTheCheckpointAreFenced(t *testing.T) {
	l := &ledger{checkpoint: 5}
	r := newReactor(l, 1)
	for _, from := range []eventstore.Position{0, 4, 6} {
		if err := r.Apply(t.Context(), from, batch(from, deleted("a", "k1"))); !errors.Is(err, erasure.ErrFenced) {
			t.Errorf("from %d: %v", from, err)
		}
	}
	if err := r.Apply(t.Context(), 5, nil); err != nil {
		t.Errorf("no events: %v", err)
	}
	wantCalls(t, l, "get erasure")
	wantCheckpoint(t, r, 5)
}

func TestACheckpointThatCannotBeReadIsAnError(t *testing.T) {
	cause := errors.New("no answer")
	l := &ledger{fail: map[string]error{"get": cause}, checkpoint: 3}
	r := newReactor(l, 1)
	if _, err := r.Checkpoint(t.Context()); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if err := r.Apply(t.Context(), 0, batch(0, deleted("a", "k1"))); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	l.fail = nil
	wantCheckpoint(t, r, 3)
}
