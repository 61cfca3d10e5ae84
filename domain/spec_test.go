package domain_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"rollcall/domain"
)

var (
	t0 = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	t1 = t0.Add(time.Hour)
)

// spec is one Given/When/Then: given the events so far, when a command is
// decided, then these are the new events or this is the rejection.
type spec struct{ state domain.State }

func given(events ...domain.Event) spec {
	var s spec
	for i, e := range events {
		s.state = domain.Evolve(s.state, e, uint64(i+1))
	}
	return s
}

func (s spec) when(c domain.Command) decision {
	events, err := domain.Decide(s.state, c)
	return decision{events, err}
}

type decision struct {
	events []domain.Event
	err    error
}

func (d decision) then(t *testing.T, want ...domain.Event) {
	t.Helper()
	if d.err != nil {
		t.Fatalf("refused: %v", d.err)
	}
	if len(d.events) != len(want) || (len(want) > 0 && !reflect.DeepEqual(d.events, want)) {
		t.Fatalf("events\n got %+v\nwant %+v", d.events, want)
	}
}

// thenRefused checks the code and exactly which fields are named.
func (d decision) thenRefused(t *testing.T, code domain.Code, fields ...string) {
	t.Helper()
	var r *domain.Rejection
	if !errors.As(d.err, &r) || !errors.Is(d.err, code) {
		t.Fatalf("got events %+v and error %v, want a rejection with code %s", d.events, d.err, code)
	}
	var named []string
	for _, f := range r.Fields {
		named = append(named, f.Field)
		if f.Detail == "" || f.Code == "" {
			t.Errorf("field %s has no code or no detail", f.Field)
		}
	}
	if len(named) != len(fields) || (len(fields) > 0 && !reflect.DeepEqual(named, fields)) {
		t.Fatalf("fields named: %v, want %v", named, fields)
	}
	if r.Detail == "" {
		t.Error("no detail for people")
	}
}

func appCreated(limit int) []domain.Event {
	return []domain.Event{
		domain.AppCreated{App: "chat", Name: "Chat", MaxAdmins: limit, At: t0},
		domain.AdminLimitSet{App: "chat", Limit: limit, At: t0},
	}
}

func created(id domain.UserID, typ domain.AccountType, p domain.Profile) domain.AccountCreated {
	return domain.AccountCreated{App: "chat", UserID: id, Type: typ, Profile: p, At: t0}
}

func ptr[T any](v T) *T { return &v }
