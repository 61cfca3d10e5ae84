package audit_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	log "rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/handlers/audit"
	"rollcall/handlers/command"
)

// rig is a service over a real log with real keys.
type rig struct {
	*audit.Service
	commands *command.Service
	store    eventstore.Store
	keys     *keyring.Keyring
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRig(t testing.TB) rig {
	t.Helper()
	dir := t.TempDir()
	server, err := log.StartEmbedded(log.EmbeddedConfig{Dir: filepath.Join(dir, "log"), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { must(t, server.Stop()) })
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
	return rig{audit.New(store, c), command.New(store, c, keys, command.Options{}), store, keys}
}

type fataler interface{ Fatal(...any) }

// do executes a command and returns its position.
func (r rig) do(ctx context.Context, t fataler, c domain.Command) eventstore.Position {
	res, err := r.commands.Execute(ctx, command.Request{ID: ulid.Make().String(), Actor: "tester"}, c)
	if err != nil {
		t.Fatal(err)
	}
	return eventstore.Position(res.Position)
}

// erase destroys the keys of all events of an account up to a position, as erasure does once it has been deleted.
func (r rig) erase(ctx context.Context, t fataler, id eventstore.AggregateID, until eventstore.Position) {
	for e, err := range r.store.Load(ctx, id) {
		if err == nil && e.KeyID != "" && e.Position <= until {
			err = r.keys.Destroy(ctx, e.KeyID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// events returns the events of a query that is not refused.
func (r rig) events(ctx context.Context, t testing.TB, q audit.Query) iter.Seq2[eventstore.Envelope, error] {
	t.Helper()
	events, err := r.Events(ctx, q)
	must(t, err)
	return events
}

func edit(user domain.UserID, change func(*domain.Profile), fields ...domain.Field) domain.EditAccount {
	var p domain.Profile
	if change != nil {
		change(&p)
	}
	return domain.EditAccount{App: "shop", UserID: user, Patch: domain.Patch{Fields: domain.FieldsOf(fields...), Values: p}}
}

func TestAnAccountAsOfEachPositionIsTheFoldOfWhatWasThereThen(t *testing.T) {
	r := newRig(t)
	r.do(t.Context(), t, domain.CreateApp{App: "shop"})
	count := 0
	rapid.Check(t, func(rt *rapid.T) {
		count++
		user := domain.UserID(fmt.Sprintf("u%d", count))
		type version struct {
			at      eventstore.Position
			account domain.Account // zero when there is none
		}
		first, err := r.store.Last(t.Context())
		must(t, err)
		versions := []version{{at: first}}
		exists := false
		for i := range rapid.IntRange(1, 8).Draw(rt, "commands") {
			var c domain.Command
			switch n := rapid.IntRange(0, 3).Draw(rt, "command"); {
			case !exists:
				c, exists = domain.CreateAccount{App: "shop", UserID: user, Profile: domain.Profile{Nickname: fmt.Sprint("n", i)}}, true
			case n == 0:
				c, exists = domain.DeleteAccount{App: "shop", UserID: user}, false
			default:
				c = edit(user, func(p *domain.Profile) { p.Nickname, p.Level = fmt.Sprint("e", i), domain.Num(uint32(i)) }, domain.FieldNickname, domain.FieldLevel)
			}
			res, err := r.commands.Execute(t.Context(), command.Request{ID: ulid.Make().String(), Actor: "tester"}, c)
			if err != nil {
				rt.Fatal(err)
			}
			v := version{at: eventstore.Position(res.Position)}
			if exists {
				v.account = res.Account
			}
			versions = append(versions, v)
		}
		for i, v := range versions {
			until := v.at + 1 // and what stands between it and the next one
			if i+1 < len(versions) {
				until = versions[i+1].at
			}
			for at := v.at; at < until; at++ {
				if last, err := r.store.Last(t.Context()); err != nil || at == 0 || at > last {
					continue
				}
				got, position, err := r.Account(t.Context(), "shop", user, audit.Moment{Position: at})
				if v.account.UserID == "" {
					if !errors.Is(err, domain.CodeAccountNotFound) {
						rt.Fatalf("at %d: %+v, %v; want none", at, got, err)
					}
				} else if err != nil || got != v.account || position != at {
					rt.Fatalf("at %d: %+v at %d, %v; want %+v", at, got, position, err, v.account)
				}
			}
		}
	})
}

func TestAHistoryTellsWhatEachEventChangedAndOutlivesErasure(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.do(ctx, t, domain.CreateApp{App: "shop"})
	r.do(ctx, t, domain.CreateAccount{App: "shop", UserID: "ann", Profile: domain.Profile{Nickname: "앤", Level: domain.Num(0)}})
	r.do(ctx, t, edit("ann", func(p *domain.Profile) { p.Nickname = "안나" }, domain.FieldNickname, domain.FieldLevel))
	deleted := r.do(ctx, t, domain.DeleteAccount{App: "shop", UserID: "ann"})
	r.do(ctx, t, domain.CreateAccount{App: "shop", UserID: "ann", Profile: domain.Profile{Nickname: "second"}})

	text := func(s string) domain.Value { return domain.Value{Text: s, Set: s != ""} }
	number := func(n uint64) domain.Value { return domain.Value{Number: n, Set: true} }
	normal, none := text("normal"), domain.Value{}
	want := [][]audit.Change{
		{{domain.FieldType, none, normal}, {domain.FieldNickname, none, text("앤")}, {domain.FieldLevel, none, number(0)}},
		{{domain.FieldNickname, text("앤"), text("안나")}, {domain.FieldLevel, number(0), none}},
		{{domain.FieldType, normal, none}, {domain.FieldNickname, text("안나"), none}},
		{{domain.FieldType, none, normal}, {domain.FieldNickname, none, text("second")}},
	}
	check := func(when string, erased bool) {
		t.Helper()
		entries, more, err := r.History(ctx, "shop", "ann", audit.Page{})
		if err != nil || more || len(entries) != len(want) {
			t.Fatalf("%s: %d entries, %t, %v", when, len(entries), more, err)
		}
		for i, e := range entries {
			if e.Event.Actor != "tester" || e.Event.CommandID == "" || e.Event.Recorded.IsZero() {
				t.Errorf("%s: event %d does not tell who, by what and when: %+v", when, i, e.Event)
			}
			gone := erased && i < 3
			if e.Erased != gone {
				t.Errorf("%s: event %d: erased is %t", when, i, e.Erased)
			}
			if !gone && !slices.Equal(e.Changes, want[i]) {
				t.Errorf("%s: event %d changed %+v, want %+v", when, i, e.Changes, want[i])
			}
			for _, c := range e.Changes {
				if gone && c.Field != domain.FieldType && (c.Before.Set || c.After.Set) {
					t.Errorf("%s: event %d tells a value that is erased: %+v", when, i, c)
				}
			}
		}
		if len(entries[1].Changes) != 2 {
			t.Errorf("%s: the names of the changed fields are %+v", when, entries[1].Changes)
		}
	}
	check("before", false)
	r.erase(ctx, t, eventstore.Account("shop", "ann"), deleted)
	check("after", true)
	if _, _, err := r.Account(ctx, "shop", "ann", audit.Moment{Position: deleted - 1}); !errors.Is(err, audit.CodeErased) {
		t.Errorf("an account that has been erased: %v, want %s", err, audit.CodeErased)
	}
	if _, _, err := r.History(ctx, "shop", "nobody", audit.Page{}); !errors.Is(err, audit.CodeNoEvent) {
		t.Errorf("the history of nobody: %v, want %s", err, audit.CodeNoEvent)
	}
}

// counting counts what is decoded.
type counting struct {
	audit.Decoder
	n int
}

func (c *counting) Decode(ctx context.Context, env eventstore.Envelope) (domain.Event, bool, error) {
	c.n++
	return c.Decoder.Decode(ctx, env)
}

func TestThePagesOfAHistoryFollowEachOtherInBothDirectionsAndAreAllThatIsUnsealed(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.do(ctx, t, domain.CreateApp{App: "shop"})
	several := []func(i int) domain.EditAccount{
		func(i int) domain.EditAccount {
			return edit("ann", func(p *domain.Profile) { p.Level = domain.Num(uint32(i)) }, domain.FieldLevel)
		},
		func(i int) domain.EditAccount {
			return edit("ann", func(p *domain.Profile) { p.Nickname, p.Role = fmt.Sprint("n", i), domain.Num(uint32(i)) }, domain.FieldNickname, domain.FieldRole)
		},
		func(int) domain.EditAccount { return edit("ann", nil, domain.FieldRole) },
		func(i int) domain.EditAccount {
			return edit("ann", func(p *domain.Profile) { p.Location = fmt.Sprint("l", i) }, domain.FieldLocation)
		},
	}
	for life := range 3 {
		r.do(ctx, t, domain.CreateAccount{App: "shop", UserID: "ann", Profile: domain.Profile{Nickname: "first", SelfSignature: fmt.Sprint("life ", life)}})
		for i := range 60 { // more than are loaded one by one
			r.do(ctx, t, several[(i*i+life)%len(several)](i))
		}
		if life < 2 {
			deleted := r.do(ctx, t, domain.DeleteAccount{App: "shop", UserID: "ann"})
			if life == 0 {
				r.erase(ctx, t, eventstore.Account("shop", "ann"), deleted)
			}
		}
	}
	decoder := &counting{Decoder: codec.New(r.keys)}
	service := audit.New(r.store, decoder)
	whole, _, err := service.History(ctx, "shop", "ann", audit.Page{})
	must(t, err)
	for _, newest := range []bool{false, true} {
		for _, limit := range []int{1, 3, 50} {
			var got []audit.Entry
			for p := (audit.Page{Limit: limit, Newest: newest}); ; {
				decoder.n = 0
				entries, more, err := service.History(ctx, "shop", "ann", p)
				must(t, err)
				if most := limit + 5; decoder.n > most { // and what the account held before
					t.Fatalf("a page of %d behind %d unseals %d events, want at most %d", limit, p.After, decoder.n, most)
				}
				got = append(got, entries...)
				if !more {
					break
				}
				p.After = got[len(got)-1].Event.Position
			}
			if newest {
				slices.Reverse(got)
			}
			if !reflect.DeepEqual(got, whole) {
				t.Errorf("newest first is %t, %d a page: the pages differ from the whole: %d and %d events", newest, limit, len(got), len(whole))
			}
		}
	}
}

func TestEventsAreReadBetweenMomentsFilteredAndFollowed(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	for _, app := range []domain.AppID{"shop", "other"} {
		r.do(ctx, t, domain.CreateApp{App: app})
		r.do(ctx, t, domain.CreateAccount{App: app, UserID: "ann"})
	}
	positions := func(q audit.Query) (all []eventstore.Position) {
		t.Helper()
		q.App = "shop"
		for e, err := range r.events(ctx, t, q) {
			must(t, err)
			if e.Aggregate.App != "shop" {
				t.Errorf("an event of %s", e.Aggregate)
			}
			all = append(all, e.Position)
		}
		return all
	}
	second := r.do(ctx, t, domain.CreateAccount{App: "shop", UserID: "bob"})
	third := r.do(ctx, t, domain.DeleteAccount{App: "shop", UserID: "bob"})
	all := positions(audit.Query{})
	if len(all) < 4 || all[len(all)-1] != third {
		t.Fatalf("the events are at %v", all)
	}
	var recorded time.Time
	for e, err := range r.store.Read(ctx, second, second) {
		must(t, err)
		recorded = e.Recorded
	}
	for name, c := range map[string]struct {
		query audit.Query
		want  []eventstore.Position
	}{
		"from a position":      {audit.Query{From: audit.Moment{Position: second}}, []eventstore.Position{second, third}},
		"until a position":     {audit.Query{Until: audit.Moment{Position: third - 1}}, all[:len(all)-1]},
		"from a time":          {audit.Query{From: audit.Moment{Time: recorded}}, []eventstore.Position{second, third}},
		"until a time":         {audit.Query{Until: audit.Moment{Time: recorded}}, all[:len(all)-1]},
		"of an account":        {audit.Query{UserID: "bob"}, []eventstore.Position{second, third}},
		"of a type":            {audit.Query{Types: []string{"account.deleted"}}, []eventstore.Position{third}},
		"of a type as written": {audit.Query{Types: []string{"account.deleted.v1", "account.del"}}, []eventstore.Position{third}},
		"of a type half named": {audit.Query{Types: []string{"account.deleted.v", "account.deleted.", "account.delete"}}, nil},
		"until a time to come": {audit.Query{From: audit.Moment{Position: second}, Until: audit.Moment{Time: time.Now().Add(time.Hour)}}, []eventstore.Position{second, third}},
		"from behind the end":  {audit.Query{From: audit.Moment{Position: third + 1}}, nil},
		"of a time long ago":   {audit.Query{Until: audit.Moment{Time: time.Unix(1, 0)}}, nil},
	} {
		if got := positions(c.query); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	soon := audit.Moment{Time: time.Now().Add(time.Hour)}
	for what, q := range map[string]audit.Query{
		"until a position": {Until: audit.Moment{Position: third + 100}},
		"from a position":  {From: audit.Moment{Position: third + 2}}, "from a time": {From: soon}, "followed from a time": {From: soon, Follow: true},
	} {
		q.App = "shop"
		if _, err := r.Events(ctx, q); !errors.Is(err, audit.CodeFuture) {
			t.Errorf("%s that is yet to come: %v, want %s", what, err, audit.CodeFuture)
		}
	}
	if _, _, err := r.Account(ctx, "shop", "ann", soon); !errors.Is(err, audit.CodeFuture) {
		t.Errorf("as of a time that is yet to come: %v, want %s", err, audit.CodeFuture)
	}
	if _, err := r.Events(ctx, audit.Query{App: "none", Follow: true}); !errors.Is(err, domain.CodeAppNotFound) {
		t.Errorf("of no application: %v, want %s", err, domain.CodeAppNotFound)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	next := eventstore.Position(0)
	for e, err := range r.events(ctx, t, audit.Query{App: "shop", Follow: true, From: audit.Moment{Position: third}}) {
		must(t, err)
		if e.Position == next {
			break
		}
		if e.Position != third || next != 0 {
			t.Fatalf("followed to %d", e.Position)
		}
		next = r.do(ctx, t, domain.CreateAccount{App: "shop", UserID: "eve"})
	}
}

func TestTheNewestEventsAreReadBackwardToTheBeginning(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.do(ctx, t, domain.CreateApp{App: "other"})
	r.do(ctx, t, domain.CreateApp{App: "shop"})
	for i := range 6 { // more than one window of positions apart
		r.do(ctx, t, domain.CreateAccount{App: "shop", UserID: domain.UserID(fmt.Sprint("u", i))})
		for range 90 {
			r.do(ctx, t, edit("u0", func(p *domain.Profile) { p.Nickname = ulid.Make().String() }, domain.FieldNickname))
		}
	}
	for name, q := range map[string]audit.Query{
		"all of it":                {},
		"of a type":                {Types: []string{"account.created"}},
		"of one account":           {UserID: "u0"},
		"of another account":       {UserID: "u5"},
		"between two positions":    {From: audit.Moment{Position: 40}, Until: audit.Moment{Position: 400}},
		"of somebody":              {Actor: "test"},
		"of somebody who is not":   {Actor: "nobody"},
		"of an account that isn't": {UserID: "nobody"},
	} {
		q.App = "shop"
		var want, got []eventstore.Position
		for e, err := range r.events(ctx, t, q) {
			must(t, err)
			want = append(want, e.Position)
		}
		slices.Reverse(want)
		for before, parts := eventstore.Position(0), 0; ; parts++ {
			s, err := r.Newest(ctx, q, before, 50)
			must(t, err)
			if len(s.Events) > 50 || parts > 50 {
				t.Fatalf("%s: part %d has %d events", name, parts, len(s.Events))
			}
			for _, e := range s.Events {
				got = append(got, e.Position)
			}
			if before = s.Before; before == 0 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d events %v, want %d %v", name, len(got), got, len(want), want)
		}
	}
	if _, err := r.Newest(ctx, audit.Query{App: "none"}, 0, 1); !errors.Is(err, domain.CodeAppNotFound) {
		t.Errorf("of no application: %v", err)
	}
}
