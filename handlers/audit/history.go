package audit

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Entry is one event in the history of an account.
type Entry struct {
	Event eventstore.Envelope
	// Erased tells that what the event held is gone. Its changes then name fields alone.
	Erased  bool
	Changes []Change
}

// Change is what an event did to one field. A value that is not set was, or became, none.
type Change struct {
	Field         domain.Field
	Before, After domain.Value
}

// Page bounds a part of a history. The zero value is the whole from the oldest on.
type Page struct {
	After  eventstore.Position // in the order of the page; zero for the beginning
	Limit  int                 // zero for all
	Newest bool                // newest first
}

// History returns the events of an account, those of earlier accounts of its id included, and whether there are more behind them.
// CodeNoEvent when no event is about it.
func (s *Service) History(ctx context.Context, app domain.AppID, id domain.UserID, p Page) (entries []Entry, more bool, err error) {
	var before domain.State
	gone := false // what the account held is erased
	envelopes, err := s.trail(ctx, app, id)
	if err != nil {
		return nil, false, err
	}
	for _, env := range envelopes {
		event, erased, err := s.decoder.Decode(ctx, env)
		if err != nil {
			return nil, false, err
		}
		switch event.(type) {
		case domain.AccountCreated:
			gone = erased
		case domain.AccountDeleted: // holds nothing itself; what it took away is told unless that is erased
			erased, gone = gone, false
		}
		after := domain.Evolve(before, event, uint64(env.Position))
		entries = append(entries, Entry{Event: env, Erased: erased, Changes: changes(env, erased, before.Account, after.Account)})
		before = after
	}
	if len(entries) == 0 {
		if err := checkApp(ctx, s.log, app); err != nil {
			return nil, false, err
		}
		return nil, false, &domain.Rejection{Code: CodeNoEvent, Detail: fmt.Sprintf("no event is about an account %q in application %s", id, app)}
	}
	entries, more = p.cut(entries)
	return entries, more, nil
}

// trail returns all events about a user id in the order of the log: those of its accounts, and that they were erased.
func (s *Service) trail(ctx context.Context, app domain.AppID, id domain.UserID) ([]eventstore.Envelope, error) {
	all, err := s.load(ctx, eventstore.Account(string(app), string(id)))
	if err != nil {
		return nil, err
	}
	erasures, err := s.load(ctx, eventstore.Erased(string(app), string(id)))
	if err != nil || len(erasures) == 0 {
		return all, err
	}
	all = append(all, erasures...)
	slices.SortFunc(all, func(a, b eventstore.Envelope) int { return cmp.Compare(a.Position, b.Position) })
	return all, nil
}

// changes returns what an event did. Of one that is erased the names of the fields are known, and the type of the account.
func changes(env eventstore.Envelope, erased bool, before, after domain.Account) []Change {
	fields := domain.ProfileFields.With(domain.FieldType)
	if erased {
		fields = domain.FieldsOf(domain.FieldType)
	}
	var all []Change
	for f := range fields.All() {
		if b, a := before.Value(f), after.Value(f); b != a {
			all = append(all, Change{Field: f, Before: b, After: a})
		}
	}
	if !erased {
		return all
	}
	for _, name := range env.Fields {
		if f, ok := domain.FieldNamed(name); ok {
			all = append(all, Change{Field: f})
		}
	}
	return all
}

// cut returns the entries of a page and whether there are more.
func (p Page) cut(entries []Entry) ([]Entry, bool) {
	if p.Newest {
		slices.Reverse(entries)
	}
	if p.After > 0 {
		i := slices.IndexFunc(entries, func(e Entry) bool {
			if p.Newest {
				return e.Event.Position < p.After
			}
			return e.Event.Position > p.After
		})
		if i < 0 {
			return nil, false
		}
		entries = entries[i:]
	}
	if p.Limit > 0 && len(entries) > p.Limit {
		return entries[:p.Limit], true
	}
	return entries, false
}
