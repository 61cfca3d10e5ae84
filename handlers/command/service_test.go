package command_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	log "rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/handlers/command"
)

// rig is the command service on a real log with real keys.
type rig struct {
	*command.Service
	store eventstore.Store
	codec *codec.Codec
	keys  *keyring.Keyring
}

func newRig(t testing.TB, opts command.Options) rig {
	t.Helper()
	dir := t.TempDir()
	server, err := log.StartEmbedded(log.EmbeddedConfig{Dir: filepath.Join(dir, "log"), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	nc, err := server.Connect()
	must(t, err)
	t.Cleanup(nc.Close)
	store, err := server.Open(t.Context(), nc, log.Config{})
	must(t, err)
	t.Cleanup(store.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	master, err := keyring.CreateMasterKey(filepath.Join(dir, "master.key"))
	must(t, err)
	keys, err := keyring.Open(t.Context(), js, master, keyring.Options{})
	must(t, err)
	t.Cleanup(keys.Close)
	c := codec.New(keys)
	return rig{command.New(store, c, keys, opts), store, c, keys}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r rig) do(t testing.TB, id string, c domain.Command) command.Result {
	t.Helper()
	res, err := r.Execute(t.Context(), command.Request{ID: id, Actor: "tester"}, c)
	must(t, err)
	return res
}

func (r rig) refuses(t *testing.T, code domain.Code, id string, c domain.Command) {
	t.Helper()
	before, err := r.store.Last(t.Context())
	must(t, err)
	res, err := r.Execute(t.Context(), command.Request{ID: id}, c)
	if !errors.Is(err, code) {
		t.Errorf("got %+v, %v; want %s", res, err, code)
	}
	after, err := r.store.Last(t.Context())
	must(t, err)
	if before != after {
		t.Errorf("a refused command left %d events behind", after-before)
	}
}

func (r rig) events(t testing.TB, id eventstore.AggregateID) []eventstore.Envelope {
	t.Helper()
	var all []eventstore.Envelope
	for e, err := range r.store.Load(t.Context(), id) {
		must(t, err)
		all = append(all, e)
	}
	return all
}

func TestTheLifeOfAnAccount(t *testing.T) {
	r := newRig(t, command.Options{})
	if res := r.do(t, "app", domain.CreateApp{App: "chat", Name: "Chat"}); !res.Created || res.App.MaxAdmins != 10 {
		t.Errorf("%+v", res)
	}
	res := r.do(t, "1", domain.CreateAccount{App: "chat", UserID: "kim.01", Profile: domain.Profile{Nickname: "하늘"}})
	if res.Account.Revision != res.Position || !res.Created || res.Account.Profile.Nickname != "하늘" || res.Account.CreatedAt.IsZero() {
		t.Errorf("created: %+v", res)
	}
	nickname := func(s string) domain.Patch {
		return domain.Patch{Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: s}}
	}
	edited := r.do(t, "2", domain.EditAccount{App: "chat", UserID: "kim.01", Patch: nickname("바다")})
	if edited.Account.Profile.Nickname != "바다" || edited.Position <= res.Position || !edited.Account.CreatedAt.Equal(res.Account.CreatedAt) {
		t.Errorf("edited: %+v", edited)
	}
	same := r.do(t, "3", domain.EditAccount{App: "chat", UserID: "kim.01", Patch: nickname("바다")})
	if same.Changed || same.Position != edited.Position || same.Account != edited.Account {
		t.Errorf("unchanged: %+v", same)
	}
	if res := r.do(t, "4", domain.DeleteAccount{App: "chat", UserID: "kim.01"}); res.Account.Exists() || res.Position == 0 {
		t.Errorf("deleted: %+v", res)
	}
	r.refuses(t, domain.CodeAccountNotFound, "5", domain.DeleteAccount{App: "chat", UserID: "kim.01"})
	again := r.do(t, "6", domain.CreateAccount{App: "chat", UserID: "kim.01"})
	if again.Account.Profile != (domain.Profile{}) {
		t.Errorf("created again: %+v", again)
	}

	events := r.events(t, eventstore.Account("chat", "kim.01"))
	if len(events) != 4 {
		t.Fatalf("%d events", len(events))
	}
	if events[2].Type != codec.TypeAccountDeleted || events[2].KeyID != events[0].KeyID || events[3].KeyID == events[0].KeyID {
		t.Error("a deletion names the account's key, and an account created again has another")
	}
	if events[0].Actor != "tester" || events[0].CommandID != "1" {
		t.Errorf("%+v", events[0])
	}
}

func TestACommandIDIsExecutedOnce(t *testing.T) {
	r := newRig(t, command.Options{})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	create := domain.CreateAccount{App: "chat", UserID: "kim", Profile: domain.Profile{Nickname: "a"}}
	first := r.do(t, "c1", create)
	r.do(t, "c2", domain.EditAccount{App: "chat", UserID: "kim", Patch: domain.Patch{Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: "b"}}})

	t.Run("given again, it answers as the first time", func(t *testing.T) {
		again := r.do(t, "c1", create)
		if !again.Replayed || !again.Created || again.Position != first.Position || again.Account != first.Account {
			t.Errorf("got  %+v\nwant %+v", again, first)
		}
	})
	t.Run("another command under its id is refused", func(t *testing.T) {
		r.refuses(t, command.CodeCommandIDReused, "c1", domain.DeleteAccount{App: "chat", UserID: "kim"})
	})
	t.Run("the same verb with other values under its id is refused", func(t *testing.T) {
		r.refuses(t, command.CodeCommandIDReused, "c1", domain.CreateAccount{App: "chat", UserID: "kim", Profile: domain.Profile{Nickname: "z"}})
		r.refuses(t, command.CodeCommandIDReused, "c2", domain.EditAccount{App: "chat", UserID: "kim", Patch: domain.Patch{
			Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: "z"},
		}})
	})
	t.Run("an edit given again after a later one answers as the first time", func(t *testing.T) {
		edit := func(level uint32) domain.EditAccount {
			return domain.EditAccount{App: "chat", UserID: "kim", Patch: domain.Patch{
				Fields: domain.FieldsOf(domain.FieldLevel), Values: domain.Profile{Level: domain.Num(level)},
			}}
		}
		one := r.do(t, "e1", edit(1))
		r.do(t, "e2", edit(2))
		if again := r.do(t, "e1", edit(1)); !again.Replayed || again.Account != one.Account {
			t.Errorf("got  %+v\nwant %+v", again, one)
		}
	})
	t.Run("an administrator created again under its id answers as the first time", func(t *testing.T) {
		c := domain.CreateAccount{App: "chat", UserID: "boss", Type: domain.TypeAdmin}
		one := r.do(t, "a1", c)
		if again := r.do(t, "a1", c); !again.Replayed || again.Account != one.Account {
			t.Errorf("got  %+v\nwant %+v", again, one)
		}
	})
	t.Run("an application created again under its id answers as the first time", func(t *testing.T) {
		if res := r.do(t, "app", domain.CreateApp{App: "chat"}); !res.Replayed || res.App.ID != "chat" {
			t.Errorf("%+v", res)
		}
	})
	t.Run("many at once write one event", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := r.Execute(t.Context(), command.Request{ID: "c3"}, domain.CreateAccount{App: "chat", UserID: "lee"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(r.events(t, eventstore.Account("chat", "lee"))); n != 1 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("an id that is empty, too long or not ASCII is refused", func(t *testing.T) {
		for _, id := range []string{"", fmt.Sprintf("%065d", 1), "a b", "하늘"} {
			r.refuses(t, domain.CodeInvalid, id, create)
		}
	})
}

func TestNamesThatCannotBeSubjectsAreRefusedByTheDomain(t *testing.T) {
	r := newRig(t, command.Options{})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	r.refuses(t, domain.CodeInvalid, "1", domain.CreateApp{App: "a.b"})
	r.refuses(t, domain.CodeAppNotFound, "1", domain.EditApp{App: "*"})
	r.refuses(t, domain.CodeAppNotFound, "1", domain.CreateAccount{App: ">", UserID: "kim"})
	r.refuses(t, domain.CodeAppNotFound, "1", domain.DeleteAccount{App: "none", UserID: "kim"})
	r.refuses(t, domain.CodeInvalid, "1", domain.CreateAccount{App: "chat", UserID: "a b"})
	r.refuses(t, domain.CodeInvalid, "1", domain.UpsertAccount{App: "chat", UserID: ""})
	r.refuses(t, domain.CodeAccountNotFound, "1", domain.EditAccount{App: "chat", UserID: "a\nb"})
	r.refuses(t, domain.CodeAccountNotFound, "1", domain.DeleteAccount{App: "chat", UserID: ""})
}

func TestTheLimitOfAdministratorsHoldsAgainstRacers(t *testing.T) {
	r := newRig(t, command.Options{})
	limit := 3
	r.do(t, "app", domain.CreateApp{App: "chat", MaxAdmins: &limit})
	race := func(round int) (created int) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				id := fmt.Sprintf("r%d-%d", round, i)
				_, err := r.Execute(t.Context(), command.Request{ID: id}, domain.CreateAccount{App: "chat", UserID: domain.UserID(id), Type: domain.TypeAdmin})
				if err != nil && !errors.Is(err, domain.CodeAdminLimitReached) {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					created++
				}
			})
		}
		wg.Wait()
		return created
	}
	if n := race(1); n != 3 {
		t.Fatalf("%d administrators were created, want 3", n)
	}
	seat := r.events(t, eventstore.Admins("chat"))[1]
	event, _, err := r.codec.Decode(t.Context(), seat)
	must(t, err)
	taken, ok := event.(domain.AdminSeatTaken)
	if !ok {
		t.Fatalf("%+v", event)
	}
	r.do(t, "free", domain.DeleteAccount{App: "chat", UserID: taken.UserID})
	if n := race(2); n != 1 {
		t.Fatalf("%d administrators were created on one free seat", n)
	}
}

func TestABatchDeletionAnswersEachItem(t *testing.T) {
	r := newRig(t, command.Options{})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	r.do(t, "a", domain.CreateAccount{App: "chat", UserID: "a"})
	r.do(t, "b", domain.CreateAccount{App: "chat", UserID: "b", Type: domain.TypeAdmin})
	results, err := r.DeleteAccounts(t.Context(), command.Request{ID: "d"}, "chat", []domain.UserID{"a", "none", "b"})
	must(t, err)
	if len(results) != 3 || results[0].Err != nil || !errors.Is(results[1].Err, domain.CodeAccountNotFound) || results[2].Err != nil {
		t.Fatalf("%+v", results)
	}
	if results[0].UserID != "a" || results[0].Position == 0 {
		t.Errorf("%+v", results[0])
	}
	again, err := r.DeleteAccounts(t.Context(), command.Request{ID: "d"}, "chat", []domain.UserID{"a", "none", "b"})
	must(t, err)
	for i := range again {
		if again[i].Position != results[i].Position {
			t.Errorf("the same batch given again: %+v, the first time %+v", again[i], results[i])
		}
	}
	t.Run("administrators share a roster, and each is deleted", func(t *testing.T) {
		ids := []domain.UserID{"x", "y", "z"}
		for _, id := range ids {
			r.do(t, string(id), domain.CreateAccount{App: "chat", UserID: id, Type: domain.TypeAdmin})
		}
		for range 2 {
			results, err := r.DeleteAccounts(t.Context(), command.Request{ID: "admins"}, "chat", ids)
			must(t, err)
			for _, res := range results {
				if res.Err != nil {
					t.Errorf("%+v", res)
				}
			}
		}
	})
	for _, n := range []int{0, command.MaxDeletions + 1} {
		if _, err := r.DeleteAccounts(t.Context(), command.Request{ID: "d"}, "chat", make([]domain.UserID, n)); !errors.Is(err, domain.CodeInvalid) {
			t.Errorf("%d accounts: %v", n, err)
		}
	}
}

func TestARefusedCommandUsesUpNoKey(t *testing.T) {
	r := newRig(t, command.Options{})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	first := r.do(t, "1", domain.CreateAccount{App: "chat", UserID: "a"})
	// Another instance, which remembers nothing, makes the keys that this one would.
	other := command.New(r.store, r.codec, r.keys, command.Options{})
	for i := range 100 {
		_, err := other.Execute(t.Context(), command.Request{ID: fmt.Sprint("again", i)}, domain.CreateAccount{App: "chat", UserID: "a"})
		if !errors.Is(err, domain.CodeAccountExists) {
			t.Fatal(err)
		}
		other = command.New(r.store, r.codec, r.keys, command.Options{})
	}
	r.do(t, "2", domain.CreateAccount{App: "chat", UserID: "b"})
	a := r.events(t, eventstore.Account("chat", "a"))[0].KeyID
	b := r.events(t, eventstore.Account("chat", "b"))[0].KeyID
	blockOf := func(key string) string { return key[:strings.IndexByte(key, '.')] }
	if a == b || blockOf(a) != blockOf(b) {
		t.Errorf("revision %d has key %s, the account created after 100 refusals %s", first.Position, a, b)
	}
}

func TestObserveTellsWhatBecameOfEachCommand(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	type doorKey struct{}
	r := newRig(t, command.Options{Observe: func(ctx context.Context, c command.Observation) {
		if by, ok := ctx.Value(doorKey{}).(string); ok {
			c.Outcome += " by " + by
		}
		mu.Lock()
		defer mu.Unlock()
		seen[c.Verb+" "+c.Outcome]++
	}})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	r.do(t, "1", domain.CreateAccount{App: "chat", UserID: "a"})
	r.do(t, "1", domain.CreateAccount{App: "chat", UserID: "a"})
	r.refuses(t, domain.CodeAccountExists, "2", domain.CreateAccount{App: "chat", UserID: "a"})
	r.do(t, "3", domain.EditAccount{App: "chat", UserID: "a"})
	canceled, cancel := context.WithCancel(context.WithValue(t.Context(), doorKey{}, "the back door"))
	cancel()
	if _, err := r.Execute(canceled, command.Request{ID: "4"}, domain.DeleteAccount{App: "chat", UserID: "a"}); err == nil {
		t.Error("a canceled command succeeded")
	}
	for _, want := range []string{"create_app accepted", "create accepted", "create replayed", "create account_exists", "edit unchanged", "delete failed by the back door"} {
		if seen[want] != 1 {
			t.Errorf("%q seen %d times in %v", want, seen[want], seen)
		}
	}
}

func BenchmarkExecute(b *testing.B) {
	r := newRig(b, command.Options{})
	r.do(b, "app", domain.CreateApp{App: "chat"})
	profile := domain.Profile{Nickname: "김하늘", FaceURL: "https://example.com/faces/1.png"}
	run := 0
	for _, clients := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("create/%d", clients), func(b *testing.B) {
			run++
			parallel(b, clients, func(i int) error {
				_, err := r.Execute(b.Context(), command.Request{ID: "c"}, domain.CreateAccount{App: "chat", UserID: domain.UserID(fmt.Sprintf("u%d-%d", run, i)), Profile: profile})
				return err
			})
		})
		b.Run(fmt.Sprintf("edit/%d", clients), func(b *testing.B) {
			run++
			const accounts = 1000
			parallel(b, clients, func(i int) error {
				id := domain.UserID(fmt.Sprintf("e%d-%d", clients, i%accounts))
				_, err := r.Execute(b.Context(), command.Request{ID: fmt.Sprintf("%d-%d-%d", run, b.N, i)}, domain.UpsertAccount{App: "chat", UserID: id, Patch: domain.Patch{
					Fields: domain.FieldsOf(domain.FieldLevel), Values: domain.Profile{Level: domain.Num(uint32(i))},
				}})
				return err
			})
		})
	}
}

func parallel(b *testing.B, clients int, do func(i int) error) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
}
