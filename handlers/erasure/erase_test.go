package erasure_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	log "rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/eventstore/storetest"
	"rollcall/handlers/command"
	"rollcall/handlers/erasure"
	"rollcall/handlers/messaging"
	"rollcall/projections"
)

// The reactor is fed as a projection is.
var (
	_ projections.Projection = (*erasure.Reactor)(nil)
	_ projections.Idler      = (*erasure.Reactor)(nil)
)

const app = domain.AppID("mine")

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// rig is commands, keys and checkpoints on a real server.
type rig struct {
	*command.Service
	store  eventstore.Store
	js     jetstream.JetStream
	master keyring.MasterKey
	keys   *keyring.Keyring
	state  *messaging.State
}

func newRig(t testing.TB) *rig {
	t.Helper()
	nc := storetest.Connect(t, storetest.RunServer(t))
	r := &rig{}
	var err error
	r.store, err = openLog(t, nc)
	must(t, err)
	r.js, err = jetstream.New(nc)
	must(t, err)
	r.master, err = keyring.CreateMasterKey(filepath.Join(t.TempDir(), "master.key"))
	must(t, err)
	r.keys = r.openKeys(t)
	r.state, err = messaging.OpenState(t.Context(), r.js, 1)
	must(t, err)
	r.Service = command.New(r.store, codec.New(r.keys), r.keys, command.Options{})
	r.do(t, "app", domain.CreateApp{App: app})
	return r
}

func openLog(t testing.TB, nc *nats.Conn) (eventstore.Store, error) {
	s, err := log.Open(t.Context(), nc, log.Config{})
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

// openKeys opens the keyring anew, with nothing in memory.
func (r *rig) openKeys(t testing.TB) *keyring.Keyring {
	t.Helper()
	keys, err := keyring.Open(t.Context(), r.js, r.master, keyring.Options{})
	must(t, err)
	t.Cleanup(keys.Close)
	return keys
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) do(t testing.TB, id string, c domain.Command) command.Result {
	t.Helper()
	res, err := r.Execute(t.Context(), command.Request{ID: id, Actor: "tester"}, c)
	must(t, err)
	return res
}

func nicknamed(name string) domain.Profile { return domain.Profile{Nickname: name} }

func renamed(name string) domain.Patch {
	return domain.Patch{Fields: domain.FieldsOf(domain.FieldNickname), Values: nicknamed(name)}
}

// react runs the reactor until stop is called, which closes it too unless it crashes.
func (r *rig) react(t *testing.T, crash bool) (*projections.Runner, func()) {
	t.Helper()
	reactor := erasure.New(r.keys, erasure.NewLog(r.store, codec.New(r.keys)), r.state, erasure.Options{})
	runner := projections.NewRunner(r.store, reactor)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := runner.Run(ctx); err != nil {
			t.Errorf("the reactor has halted: %v", err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if !crash {
			must(t, reactor.Close(context.Background()))
		}
	})
	t.Cleanup(stop)
	return runner, stop
}

// erase waits until all that the log holds is erased.
func (r *rig) erase(t *testing.T, runner *projections.Runner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last, err := r.store.Last(ctx)
	must(t, err)
	must(t, runner.WaitFor(ctx, last))
}

// readable tells of each event of an account with personal data whether it can be read by a
// process that has just started, in order.
func (r *rig) readable(t *testing.T, user domain.UserID) []bool {
	t.Helper()
	c := codec.New(r.openKeys(t))
	var all []bool
	for env, err := range r.store.Load(t.Context(), eventstore.Account(string(app), string(user))) {
		must(t, err)
		if env.Type == codec.TypeAccountDeleted {
			continue
		}
		_, erased, err := c.Decode(t.Context(), env)
		must(t, err)
		all = append(all, !erased)
	}
	return all
}

func TestADeletedAccountCannotBeReadOnceItsDeletionIsReached(t *testing.T) {
	r := newRig(t)
	runner, _ := r.react(t, false)
	r.do(t, "1", domain.CreateAccount{App: app, UserID: "gone", Type: domain.TypeNormal, Profile: nicknamed("김철수")})
	r.do(t, "2", domain.CreateAccount{App: app, UserID: "kept", Type: domain.TypeNormal, Profile: nicknamed("이영희")})
	r.do(t, "3", domain.EditAccount{App: app, UserID: "gone", Patch: renamed("박민수")})
	r.erase(t, runner)
	if got := fmt.Sprint(r.readable(t, "gone"), r.readable(t, "kept")); got != "[true true] [true]" {
		t.Errorf("before the deletion: %s", got)
	}
	res := r.do(t, "4", domain.DeleteAccount{App: app, UserID: "gone"})
	must(t, runner.WaitFor(t.Context(), eventstore.Position(res.Position)))
	if got := fmt.Sprint(r.readable(t, "gone"), r.readable(t, "kept")); got != "[false false] [true]" {
		t.Errorf("after the deletion: %s", got)
	}
	r.do(t, "5", domain.CreateAccount{App: app, UserID: "gone", Type: domain.TypeNormal, Profile: nicknamed("another")})
	r.erase(t, runner)
	if got := fmt.Sprint(r.readable(t, "gone")); got != "[false false true]" {
		t.Errorf("created again: %s", got)
	}
}

func TestDeletionsSinceTheKeptCheckpointAreRepeatedHarmlessly(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		user := domain.UserID(fmt.Sprint("u", i))
		r.do(t, fmt.Sprint("c", i), domain.CreateAccount{App: app, UserID: user, Type: domain.TypeNormal, Profile: nicknamed("n")})
		r.do(t, fmt.Sprint("d", i), domain.DeleteAccount{App: app, UserID: user})
		r.do(t, fmt.Sprint("r", i), domain.CreateAccount{App: app, UserID: user, Type: domain.TypeNormal, Profile: nicknamed("new")})
	}
	for _, kept := range []uint64{0, 0, 4, 7} { // what a crash may leave
		must(t, r.state.Put(t.Context(), "erasure", kept))
		runner, stop := r.react(t, true)
		r.erase(t, runner)
		stop()
		for i := range 5 {
			if got := fmt.Sprint(r.readable(t, domain.UserID(fmt.Sprint("u", i)))); got != "[false true]" {
				t.Errorf("u%d, from checkpoint %d: %s", i, kept, got)
			}
		}
	}
}

func TestAStopInOrderKeepsTheCheckpoint(t *testing.T) {
	r := newRig(t)
	runner, stop := r.react(t, false)
	res := r.do(t, "1", domain.CreateAccount{App: app, UserID: "a", Type: domain.TypeNormal})
	r.erase(t, runner)
	stop()
	if got, err := r.state.Get(t.Context(), "erasure"); err != nil || got != res.Position {
		t.Errorf("the checkpoint that is kept is %d, %v, want %d", got, err, res.Position)
	}
}

// TestAnEditThatRacesADeletionLeavesNothingSealedBehindIt has writers edit an account
// while it is deleted and its key destroyed.
func TestAnEditThatRacesADeletionLeavesNothingSealedBehindIt(t *testing.T) {
	r := newRig(t)
	runner, _ := r.react(t, false)
	const accounts, editors, edits = 8, 4, 10
	var wg sync.WaitGroup
	for i := range accounts {
		user := domain.UserID(fmt.Sprint("u", i))
		r.do(t, fmt.Sprint("c", i), domain.CreateAccount{App: app, UserID: user, Type: domain.TypeNormal, Profile: nicknamed("n")})
		underway := make(chan struct{}, editors)
		for e := range editors {
			wg.Go(func() {
				for n := range edits {
					name := fmt.Sprint("edit-", i, "-", e, "-", n)
					_, err := r.Execute(t.Context(), command.Request{ID: name}, domain.EditAccount{App: app, UserID: user, Patch: renamed(name)})
					if err != nil && !errors.Is(err, domain.CodeAccountNotFound) {
						t.Errorf("%s: %v", name, err)
					}
					if n == 0 {
						underway <- struct{}{}
					}
				}
			})
		}
		wg.Go(func() {
			<-underway
			res, err := r.Execute(t.Context(), command.Request{ID: fmt.Sprint("d", i)}, domain.DeleteAccount{App: app, UserID: user})
			if err != nil {
				t.Errorf("delete %s: %v", user, err)
				return
			}
			if err := runner.WaitFor(t.Context(), eventstore.Position(res.Position)); err != nil {
				t.Errorf("erase %s: %v", user, err)
			}
		})
	}
	wg.Wait()
	for i := range accounts {
		user := domain.UserID(fmt.Sprint("u", i))
		var dead string // the key of the deleted account
		for env, err := range r.store.Load(t.Context(), eventstore.Account(string(app), string(user))) {
			must(t, err)
			if dead != "" {
				t.Errorf("%s at position %d follows the deletion of %s", env.Type, env.Position, user)
			}
			if env.Type == codec.TypeAccountDeleted {
				dead = env.KeyID
			}
		}
		if dead == "" {
			t.Errorf("%s was not deleted, or its deletion names no key", user)
		}
		for n, ok := range r.readable(t, user) {
			if ok {
				t.Errorf("event %d of %s can be read", n, user)
			}
		}
	}
}
