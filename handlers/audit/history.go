package audit

import (
	"context"
	"fmt"
	"iter"
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
// CodeNoEvent when no event is about it. What it keeps and unseals is bounded by the page, however long the history is.
func (s *Service) History(ctx context.Context, app domain.AppID, id domain.UserID, p Page) (entries []Entry, more bool, err error) {
	w := window{page: p}
	none := true
	for env, err := range s.trail(ctx, app, id) {
		if err != nil {
			return nil, false, err
		}
		none = false
		if !w.add(env) {
			break
		}
	}
	if none {
		if err := checkApp(ctx, s.log, app); err != nil {
			return nil, false, err
		}
		return nil, false, &domain.Rejection{Code: CodeNoEvent, Detail: fmt.Sprintf("no event is about an account %q in application %s", id, app)}
	}
	account, err := w.before.fold(ctx, s.decoder)
	if err != nil {
		return nil, false, err
	}
	entries = make([]Entry, len(w.events))
	for i, env := range w.events {
		if entries[i], err = account.step(ctx, s.decoder, env); err != nil {
			return nil, false, err
		}
	}
	if p.Newest {
		slices.Reverse(entries)
	}
	return entries, w.more, nil
}

// window finds the events of a page among those of a history, which it is given from the oldest on.
type window struct {
	page   Page
	before essence               // of the events before the page
	events []eventstore.Envelope // of the page
	more   bool                  // whether there are events behind the page, in its order
}

// add takes the next event and tells whether further ones matter.
func (w *window) add(e eventstore.Envelope) bool {
	full := w.page.Limit > 0 && len(w.events) == w.page.Limit
	switch {
	case w.page.Newest && w.page.After > 0 && e.Position >= w.page.After:
		return false
	case !w.page.Newest && e.Position <= w.page.After:
		w.before.add(e)
		return true
	case full && w.page.Newest:
		w.before.add(w.events[0])
		w.events, w.more = w.events[1:], true
	case full:
		w.more = true
		return false
	}
	w.events = append(w.events, e)
	return true
}

// trail yields all events about a user id in the order of the log: those of its accounts, and that they were erased.
func (s *Service) trail(ctx context.Context, app domain.AppID, id domain.UserID) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		var erasures []eventstore.Envelope // one a deletion
		for e, err := range s.load(ctx, eventstore.Erased(string(app), string(id))) {
			if err != nil {
				yield(e, err)
				return
			}
			erasures = append(erasures, e)
		}
		for e, err := range s.load(ctx, eventstore.Account(string(app), string(id))) {
			for err == nil && len(erasures) > 0 && erasures[0].Position < e.Position {
				if !yield(erasures[0], nil) {
					return
				}
				erasures = erasures[1:]
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
		for _, e := range erasures {
			if !yield(e, nil) {
				return
			}
		}
	}
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
