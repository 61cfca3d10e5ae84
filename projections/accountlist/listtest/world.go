package listtest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
)

// T is what checks need of a *testing.T, a *rapid.T or a benchmark.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}

// Sealer leaves personal data readable, except under keys that were destroyed.
// The zero value has none destroyed.
type Sealer struct{ destroyed map[string]bool }

// Destroy makes what is sealed with a key unreadable. It must not run beside Unseal.
func (s *Sealer) Destroy(keyID string) {
	if s.destroyed == nil {
		s.destroyed = make(map[string]bool)
	}
	s.destroyed[keyID] = true
}

// Seal returns a copy of the plaintext.
func (s *Sealer) Seal(_ context.Context, _ string, plaintext, _ []byte) ([]byte, error) {
	return slices.Clone(plaintext), nil
}

// Unseal returns a copy of what was sealed, or eventstore.ErrKeyDestroyed.
func (s *Sealer) Unseal(_ context.Context, keyID string, sealed, _ []byte) ([]byte, error) {
	if s.destroyed[keyID] {
		return nil, eventstore.ErrKeyDestroyed
	}
	return slices.Clone(sealed), nil
}

// World is a list beside a simple model of it, both fed with the same events.
type World struct {
	List  accountlist.List
	Codec *codec.Codec
	Keys  *Sealer

	Position eventstore.Position // of the last event applied
	apps     map[domain.AppID]domain.App
	accounts map[domain.AppID]map[domain.UserID]domain.Account
}

// NewWorld returns a world whose list is empty.
func NewWorld(t testing.TB, open Open) *World {
	keys := &Sealer{}
	c := codec.New(keys)
	return &World{
		List: open(t, c), Codec: c, Keys: keys,
		apps:     make(map[domain.AppID]domain.App),
		accounts: make(map[domain.AppID]map[domain.UserID]domain.Account),
	}
}

// Epoch is when histories begin.
var Epoch = time.Date(2026, 3, 1, 9, 0, 0, 123456789, time.UTC)

// KeyID returns the key that Encode seals an event of an account with.
func KeyID(app domain.AppID, id domain.UserID) string { return string(app) + "/" + string(id) }

// Encode returns the envelopes of events that follow a position.
func (w *World) Encode(t T, from eventstore.Position, events ...domain.Event) []eventstore.Envelope {
	t.Helper()
	envelopes := make([]eventstore.Envelope, 0, len(events))
	for i, e := range events {
		position := from + eventstore.Position(i) + 1
		key := "none"
		switch e := e.(type) {
		case domain.AccountCreated:
			key = KeyID(e.App, e.UserID)
		case domain.AccountEdited:
			key = KeyID(e.App, e.UserID)
		case domain.AccountDeleted:
			key = KeyID(e.App, e.UserID)
		}
		env, err := w.Codec.Encode(t.Context(), codec.Meta{
			EventID: fmt.Sprintf("%026d", position), Actor: "tester", CommandID: fmt.Sprintf("c%d", position),
		}, key, e)
		if err != nil {
			t.Fatalf("encode %T: %v", e, err)
		}
		env.Position, env.Recorded = position, env.Time
		envelopes = append(envelopes, env)
	}
	return envelopes
}

// Apply applies events to the list and to the model.
func (w *World) Apply(t T, events ...domain.Event) {
	t.Helper()
	if err := w.List.Apply(t.Context(), w.Position, w.Encode(t, w.Position, events...)); err != nil {
		t.Fatalf("apply %d events at position %d: %v", len(events), w.Position+1, err)
	}
	w.Record(events...)
}

// Record applies events to the model only, for a list that is fed by other means.
func (w *World) Record(events ...domain.Event) {
	for _, e := range events {
		w.Position++
		w.evolve(e)
	}
}

func (w *World) evolve(event domain.Event) {
	position := uint64(w.Position)
	switch e := event.(type) {
	case domain.AppCreated:
		w.apps[e.App] = domain.Evolve(domain.State{}, e, position).App
		w.accounts[e.App] = make(map[domain.UserID]domain.Account)
	case domain.AppEdited:
		w.apps[e.App] = domain.Evolve(domain.State{App: w.apps[e.App]}, e, position).App
	case domain.AccountCreated:
		w.accounts[e.App][e.UserID] = domain.Evolve(domain.State{}, e, position).Account
	case domain.AccountEdited:
		a := w.accounts[e.App][e.UserID]
		w.accounts[e.App][e.UserID] = domain.Evolve(domain.State{Account: a}, e, position).Account
	case domain.AccountDeleted:
		delete(w.accounts[e.App], e.UserID)
	}
}

// Find returns the accounts that the model lists, in order.
func (w *World) Find(app domain.AppID, f domain.Filter, sort domain.Sort, order domain.Order) []domain.Account {
	var found []domain.Account
	for _, a := range w.accounts[app] {
		if f.Matches(a) {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, func(a, b domain.Account) int {
		c := cmp.Compare(a.UserID, b.UserID)
		switch sort {
		case domain.SortCreatedAt:
			c = cmp.Or(a.CreatedAt.Compare(b.CreatedAt), c)
		case domain.SortNickname:
			c = cmp.Or(cmp.Compare(a.Profile.Nickname, b.Profile.Nickname), c)
		}
		if order == domain.Descending {
			return -c
		}
		return c
	})
	return found
}

// ids returns the user ids of an application in the model, sorted.
func (w *World) ids(app domain.AppID) []domain.UserID {
	return slices.Sorted(maps.Keys(w.accounts[app]))
}

// Walk reads all pages of a listing from its cursor on. Between is called after
// each page, unless it is nil.
func (w *World) Walk(t T, l domain.Listing, between func()) (all []domain.Account) {
	t.Helper()
	estimate := -1
	for {
		page, err := w.List.Page(t.Context(), l)
		if err != nil {
			t.Fatalf("page of %+v: %v", l, err)
		}
		if page.Position != uint64(w.Position) {
			t.Fatalf("page of %+v shows position %d, not %d", l, page.Position, w.Position)
		}
		if len(page.Accounts) > l.Limit || (page.Next != "" && len(page.Accounts) != l.Limit) {
			t.Fatalf("page of %+v has %d accounts and next cursor %q", l, len(page.Accounts), page.Next)
		}
		if between == nil && page.TotalIsEstimate {
			if estimate >= 0 && page.Total != estimate {
				t.Fatalf("page of %+v estimates %d accounts, the page before %d", l, page.Total, estimate)
			}
			estimate = page.Total
		}
		all = append(all, page.Accounts...)
		if page.Next == "" {
			return all
		}
		l.Cursor = page.Next
		if between != nil {
			between()
		}
	}
}

// CheckPages compares every page of a listing with the model.
func (w *World) CheckPages(t T, l domain.Listing) {
	t.Helper()
	want := w.Find(l.App, l.Filter, l.Sort, l.Order)
	CheckSame(t, fmt.Sprintf("%+v", l), w.Walk(t, l, nil), want)
	page, err := w.List.Page(t.Context(), l)
	if err != nil {
		t.Fatalf("page of %+v: %v", l, err)
	}
	if page.TotalIsEstimate && l.Filter.Text == "" {
		t.Fatalf("the total of %+v is an estimate", l)
	}
	if !page.TotalIsEstimate && page.Total != len(want) {
		t.Fatalf("the total of %+v is %d, want %d", l, page.Total, len(want))
	}
}

// CheckSame compares accounts in order.
func CheckSame(t T, what string, got, want []domain.Account) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: account %d is\n%+v, want\n%+v", what, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d accounts, want %d", what, len(got), len(want))
	}
}

// Listings yields a listing of an application for each sort, order and type.
func Listings(app domain.AppID, text string, limit int) []domain.Listing {
	var all []domain.Listing
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
		for _, order := range []domain.Order{domain.Ascending, domain.Descending} {
			for _, typ := range []domain.AccountType{"", domain.TypeNormal, domain.TypeAdmin} {
				all = append(all, domain.Listing{
					App: app, Filter: domain.Filter{Type: typ, Text: text}, Sort: sort, Order: order, Limit: limit,
				})
			}
		}
	}
	return all
}

// NewApp returns the events of an application's creation.
func NewApp(app domain.AppID) []domain.Event {
	return []domain.Event{
		domain.AppCreated{App: app, Name: "Application " + string(app), MaxAdmins: domain.DefaultMaxAdmins, At: Epoch},
		domain.AdminLimitSet{App: app, Limit: domain.DefaultMaxAdmins, At: Epoch},
	}
}

// NewAccount returns the event of a normal account's creation.
func NewAccount(app domain.AppID, id domain.UserID, nickname string, after time.Duration) domain.AccountCreated {
	return domain.AccountCreated{
		App: app, UserID: id, Type: domain.TypeNormal,
		Profile: domain.Profile{Nickname: nickname}, At: Epoch.Add(after),
	}
}
