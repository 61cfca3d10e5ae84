package erasure_test

import (
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/handlers/command"
	"rollcall/handlers/erasure"
)

// recorded is what the log says of one erasure.
type recorded struct {
	deletion eventstore.Position
	key      string
}

// erasuresOf returns what is recorded of a user id, in order.
func (r *rig) erasuresOf(t testing.TB, user domain.UserID) (all []recorded) {
	t.Helper()
	c := codec.New(r.keys)
	for env, err := range r.store.Load(t.Context(), eventstore.Erased(string(app), string(user))) {
		if err != nil {
			t.Fatal(err)
		}
		event, erased, err := c.Decode(t.Context(), env)
		if err != nil || erased {
			t.Fatalf("%+v: %v, %v", env, erased, err)
		}
		all = append(all, recorded{eventstore.Position(event.(domain.AccountErased).Deletion), env.KeyID})
	}
	return all
}

// deletionsOf returns the deletions of a user id, in order.
func (r *rig) deletionsOf(t testing.TB, user domain.UserID) (all []recorded) {
	t.Helper()
	for env, err := range r.store.Load(t.Context(), eventstore.Account(string(app), string(user))) {
		if err != nil {
			t.Fatal(err)
		}
		if env.Type == codec.TypeAccountDeleted {
			all = append(all, recorded{env.Position, env.KeyID})
		}
	}
	return all
}

// TestEveryDeletionIsRecordedAsErasedOnceHoweverItIsInterrupted has reactors stop, crash and go back while accounts are created,
// edited, deleted and created again, and compares what they recorded with the deletions.
func TestEveryDeletionIsRecordedAsErasedOnceHoweverItIsInterrupted(t *testing.T) {
	r := newRig(t)
	const rounds = 25 // each waits for servers
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		if round++; round > rounds {
			return
		}
		last, err := r.store.Last(t.Context())
		must(t, err)
		must(t, r.state.Put(t.Context(), "erasure", uint64(last)))
		exists := map[domain.UserID]bool{}
		revisions := map[domain.UserID]uint64{} // as commands told
		runner, stop := r.react(t, true)
		n := rapid.IntRange(1, 12).Draw(rt, "commands")
		for i := range n {
			user := domain.UserID(fmt.Sprint("u", round, "-", rapid.IntRange(0, 2).Draw(rt, "user")))
			id := fmt.Sprint(round, "-", i)
			switch {
			case !exists[user]:
				revisions[user] = r.do(t, id, domain.CreateAccount{App: app, UserID: user, Profile: nicknamed("n")}).Position
				exists[user] = true
			case rapid.Bool().Draw(rt, "delete"):
				r.do(t, id, domain.DeleteAccount{App: app, UserID: user})
				exists[user] = false
			default: // under the revision that the client holds, which no erasure moves
				revisions[user] = r.do(t, id, domain.EditAccount{App: app, UserID: user, Patch: renamed(id), IfRevision: revisions[user]}).Position
			}
			if rapid.IntRange(0, 3).Draw(rt, "interrupt") == 0 {
				stop()
				if rapid.Bool().Draw(rt, "lose the checkpoint") {
					must(t, r.state.Put(t.Context(), "erasure", uint64(last)))
				}
				runner, stop = r.react(t, true)
			}
		}
		r.erase(t, runner)
		stop()
		for user := range exists {
			if got, want := fmt.Sprint(r.erasuresOf(t, user)), fmt.Sprint(r.deletionsOf(t, user)); got != want {
				rt.Fatalf("%s: the erasures %s are recorded, the deletions are %s", user, got, want)
			}
		}
	})
}

func TestInstancesThatRecordTheSameErasureRecordItOnce(t *testing.T) {
	r := newRig(t)
	var all []erasure.Erased
	for i := range 20 {
		user := domain.UserID(fmt.Sprint("u", i%10)) // each is deleted twice
		r.do(t, fmt.Sprint("c", i), domain.CreateAccount{App: app, UserID: user, Profile: nicknamed("n")})
		r.do(t, fmt.Sprint("d", i), domain.DeleteAccount{App: app, UserID: user})
	}
	for i := range 10 {
		user := domain.UserID(fmt.Sprint("u", i))
		for env, err := range r.store.Load(t.Context(), eventstore.Account(string(app), string(user))) {
			must(t, err)
			if env.Type == codec.TypeAccountDeleted {
				all = append(all, erasure.Erased{App: string(app), UserID: string(user), KeyID: env.KeyID, Deletion: env})
			}
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := erasure.NewLog(r.store, codec.New(r.keys)).Record(t.Context(), all); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 10 {
		user := domain.UserID(fmt.Sprint("u", i))
		if got, want := fmt.Sprint(r.erasuresOf(t, user)), fmt.Sprint(r.deletionsOf(t, user)); got != want {
			t.Errorf("%s: the erasures %s are recorded, the deletions are %s", user, got, want)
		}
	}
}

// BenchmarkErasureOfAHundred tells how long a batch of a hundred deletions takes to be erased and recorded, beside the time that the
// deletions themselves took.
func BenchmarkErasureOfAHundred(b *testing.B) {
	r := newRig(b)
	const batch = 100
	round := 0
	for b.Loop() {
		round++
		b.StopTimer()
		var wg sync.WaitGroup
		each := func(do func(i int, user domain.UserID)) {
			for i := range batch {
				wg.Go(func() { do(i, domain.UserID(fmt.Sprint("u", round, "-", i))) })
			}
			wg.Wait()
		}
		each(func(i int, user domain.UserID) {
			r.do(b, fmt.Sprint("c", round, "-", i), domain.CreateAccount{App: app, UserID: user, Profile: nicknamed("n")})
		})
		var mu sync.Mutex
		var all []erasure.Erased
		each(func(i int, user domain.UserID) {
			_, err := r.Execute(b.Context(), command.Request{ID: fmt.Sprint("d", round, "-", i)}, domain.DeleteAccount{App: app, UserID: user})
			if err != nil {
				b.Error(err)
			}
			for env, err := range r.store.Load(b.Context(), eventstore.Account(string(app), string(user))) {
				if err == nil && env.Type == codec.TypeAccountDeleted {
					mu.Lock()
					all = append(all, erasure.Erased{App: string(app), UserID: string(user), KeyID: env.KeyID, Deletion: env})
					mu.Unlock()
				}
			}
		})
		ids := make([]string, len(all))
		for i, a := range all {
			ids[i] = a.KeyID
		}
		b.StartTimer()
		if err := r.keys.Destroy(b.Context(), ids...); err != nil {
			b.Fatal(err)
		}
		if err := erasure.NewLog(r.store, codec.New(r.keys)).Record(b.Context(), all); err != nil {
			b.Fatal(err)
		}
	}
}
