package asof_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist/asof"
	"rollcall/projections/accountlist/listtest"
)

// keys seals by not sealing, until a key is destroyed.
type keys struct {
	mu        sync.Mutex
	destroyed map[string]bool
}

func (k *keys) Seal(_ context.Context, _ string, plaintext, _ []byte) ([]byte, error) {
	return slices.Clone(plaintext), nil
}

func (k *keys) Unseal(_ context.Context, keyID string, sealed, _ []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.destroyed[keyID] {
		return nil, eventstore.ErrKeyDestroyed
	}
	return slices.Clone(sealed), nil
}

func (k *keys) destroy(keyID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.destroyed[keyID] = true
}

// world is lists over a log in memory.
type world struct {
	*asof.Lists
	folder string
	keys   *keys
	codec  *codec.Codec
	keyOf  map[eventstore.AggregateID]string

	mu      sync.Mutex
	log     []eventstore.Envelope
	events  []domain.Event // the same
	changed chan struct{}  // closed at each change
	reading func(at eventstore.Position) error
}

func newWorld(t testing.TB, opts asof.Options) *world {
	t.Helper()
	w := &world{
		folder: filepath.Join(t.TempDir(), "asof"), keys: &keys{destroyed: make(map[string]bool)},
		keyOf: make(map[eventstore.AggregateID]string), changed: make(chan struct{}), reading: func(eventstore.Position) error { return nil },
	}
	w.codec = codec.New(w.keys)
	w.open(t, opts)
	return w
}

// open makes the lists anew, as a process that begins does.
func (w *world) open(t testing.TB, opts asof.Options) {
	t.Helper()
	var err error
	if w.Lists, err = asof.New(w.folder, w, w.codec, opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// add appends an event and returns its position.
func (w *world) add(t listtest.T, event domain.Event) eventstore.Position {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	position := eventstore.Position(len(w.log) + 1)
	var id eventstore.AggregateID
	switch e := event.(type) {
	case domain.AccountCreated:
		id = eventstore.Account(string(e.App), string(e.UserID))
		w.keyOf[id] = fmt.Sprint("key", position)
	case domain.AccountEdited:
		id = eventstore.Account(string(e.App), string(e.UserID))
	case domain.AccountDeleted:
		id = eventstore.Account(string(e.App), string(e.UserID))
	}
	env, err := w.codec.Encode(t.Context(), codec.Meta{EventID: fmt.Sprintf("%026d", position), Actor: "tester", CommandID: fmt.Sprint("c", position)}, w.keyOf[id], event)
	if err != nil {
		t.Fatalf("encode %T: %v", event, err)
	}
	env.Position, env.Recorded = position, time.Now()
	w.log, w.events = append(w.log, env), append(w.events, event)
	close(w.changed)
	w.changed = make(chan struct{})
	return position
}

// erase does what erasure does about a deletion, and tells the lists if it is of this instance.
func (w *world) erase(t listtest.T, app domain.AppID, id domain.UserID, deletion eventstore.Position, here bool) {
	t.Helper()
	w.keys.destroy(w.keyOf[eventstore.Account(string(app), string(id))])
	if here {
		if err := w.Forget(t.Context(), app, asof.Deletion{User: id, Position: deletion}); err != nil {
			t.Fatalf("forget %s: %v", id, err)
		}
	}
	w.add(t, domain.AccountErased{App: app, UserID: id, Deletion: uint64(deletion), DeletedAt: listtest.Epoch, At: listtest.Epoch})
}

func (w *world) all() []eventstore.Envelope {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log
}

func (w *world) Revision(_ context.Context, id eventstore.AggregateID) (r eventstore.Revision, _ error) {
	for _, e := range w.all() {
		if e.Aggregate == id {
			r = e.Position
		}
	}
	return r, nil
}

func (w *world) Load(_ context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		for _, e := range w.all() {
			if e.Aggregate == id && !yield(e, nil) {
				return
			}
		}
	}
}

func (w *world) ReadApp(_ context.Context, app string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		for _, e := range w.all()[from-1 : until] {
			if err := w.reading(e.Position); err != nil {
				yield(eventstore.Envelope{}, err)
				return
			}
			if e.Aggregate.App == app && !yield(e, nil) {
				return
			}
		}
	}
}

func (w *world) PositionAt(_ context.Context, at time.Time) (p eventstore.Position, _ error) {
	for _, e := range w.all() {
		if !e.Recorded.After(at) {
			p = e.Position
		}
	}
	return p, nil
}

func (w *world) SubscribeApp(_ context.Context, app string, from eventstore.Position) (eventstore.Subscription, error) {
	return &subscription{w, app, from}, nil
}

type subscription struct {
	world *world
	app   string
	next  eventstore.Position
}

func (s *subscription) Next(ctx context.Context, limit int) (events []eventstore.Envelope, _ error) {
	for {
		s.world.mu.Lock()
		all, changed := s.world.log, s.world.changed
		s.world.mu.Unlock()
		for s.next <= eventstore.Position(len(all)) && len(events) < limit {
			if e := all[s.next-1]; e.Aggregate.App == s.app {
				events = append(events, e)
			}
			s.next++
		}
		if len(events) > 0 {
			return events, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *subscription) Close() {}

// fold returns the accounts that an application had at a position, in the order of a listing, as they can be known now: what was deleted
// since is without what it held. False when there was no such application.
func (w *world) fold(l domain.Listing) (accounts []domain.Account, exists bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	states, deleted := make(map[domain.UserID]domain.State), make(map[domain.UserID]bool)
	for i, event := range w.events {
		position := uint64(i + 1)
		var app domain.AppID
		var id domain.UserID
		switch e := event.(type) {
		case domain.AppCreated:
			exists = exists || e.App == l.App && position <= l.AsOf
		case domain.AccountCreated:
			app, id = e.App, e.UserID
		case domain.AccountEdited:
			app, id = e.App, e.UserID
		case domain.AccountDeleted:
			if app, id = e.App, e.UserID; app == l.App && position > l.AsOf {
				deleted[id] = true
			}
		}
		if app == l.App && position <= l.AsOf {
			states[id] = domain.Evolve(states[id], event, position)
		}
	}
	for id, s := range states {
		if deleted[id] {
			s.Account.Profile = domain.Profile{}
		}
		if s.Account.Exists() && l.Filter.Matches(s.Account) {
			accounts = append(accounts, s.Account)
		}
	}
	slices.SortFunc(accounts, func(a, b domain.Account) int {
		return compare(l, a, b)
	})
	return accounts, exists
}

// check compares all pages of a list with the fold.
func (w *world) check(t listtest.T, l domain.Listing) {
	t.Helper()
	want, exists := w.fold(l)
	var got []domain.Account
	for {
		page, err := w.Page(t.Context(), l)
		if !exists {
			if !errors.Is(err, domain.CodeAppNotFound) {
				t.Fatalf("%+v: %v, want %s", l, err, domain.CodeAppNotFound)
			}
			return
		}
		if err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
		if page.Position != l.AsOf || page.Total != len(want) || page.TotalIsEstimate {
			t.Fatalf("%+v: position %d, total %d (estimated: %t); want %d accounts", l, page.Position, page.Total, page.TotalIsEstimate, len(want))
		}
		got = append(got, page.Accounts...)
		if l.Cursor = page.Next; l.Cursor == "" {
			break
		}
	}
	l.Cursor = ""
	listtest.CheckSame(t, fmt.Sprintf("%+v", l), got, want)
}

// files returns the names of the files that there are.
func (w *world) files(t testing.TB) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(w.folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// leaks returns the files that hold a text, in any case of letters.
func (w *world) leaks(t testing.TB, text string) (found []string) {
	t.Helper()
	for _, name := range w.files(t) {
		content, err := os.ReadFile(filepath.Join(w.folder, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(text)) || bytes.Contains(content, []byte(strings.ToLower(text))) {
			found = append(found, name)
		}
	}
	return found
}
