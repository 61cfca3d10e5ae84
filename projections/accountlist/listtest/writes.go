package listtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/projections"
)

func testFence(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	for _, from := range []eventstore.Position{0, 1, 3, 10} {
		err := w.List.Apply(t.Context(), from, w.Encode(t, from, NewAccount("app", "ann", "", 0)))
		if !errors.Is(err, projections.ErrFenced) {
			t.Errorf("apply from position %d: %v, want ErrFenced", from, err)
		}
	}
	checkAccounts(t, w, "app")
	for _, events := range [][]eventstore.Envelope{
		w.Encode(t, w.Position+1, NewAccount("app", "ann", "", 0)),
		append(w.Encode(t, w.Position, NewAccount("app", "ann", "", 0)), w.Encode(t, w.Position+2, NewAccount("app", "bob", "", 0))...),
	} {
		if err := w.List.Apply(t.Context(), w.Position, events); !errors.Is(err, eventstore.ErrDamaged) {
			t.Errorf("apply events with a hole: %v, want ErrDamaged", err)
		}
	}
	w.Apply(t, NewAccount("app", "ann", "", 0))
	checkTotals(t, w, "app")
}

// testFailingBatch puts an event that cannot be applied behind good ones.
func testFailingBatch(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	w.Apply(t, NewAccount("app", "ann", "Ann", 0))
	good := []domain.Event{
		NewAccount("app", "bob", "Bob", 1),
		domain.AccountEdited{App: "app", UserID: "ann", At: Epoch, Patch: domain.Patch{
			Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: "Zoe"},
		}},
		domain.AccountDeleted{App: "app", UserID: "bob", At: Epoch},
		domain.AppEdited{App: "app", Name: "other", MaxAdmins: 1, At: Epoch},
	}
	unknown := w.Encode(t, w.Position+4, NewAccount("app", "eve", "", 0))[0]
	unknown.Type = "account.renamed.v9"
	broken := w.Encode(t, w.Position+4, NewAccount("app", "eve", "", 0))[0]
	broken.Data = []byte(`{"user_id":1}`)
	bad := map[string]eventstore.Envelope{"unknown type": unknown, "broken data": broken}
	for what, event := range map[string]domain.Event{
		"created twice":               NewAccount("app", "ann", "", 0),
		"edited without being there":  domain.AccountEdited{App: "app", UserID: "eve", At: Epoch},
		"deleted without being there": domain.AccountDeleted{App: "app", UserID: "bob", At: Epoch},
		"no such application":         NewAccount("none", "ann", "", 0),
		"application created twice":   NewApp("app")[0],
	} {
		bad[what] = w.Encode(t, w.Position+4, event)[0]
	}
	for what, env := range bad {
		events := append(w.Encode(t, w.Position, good...), env)
		for i := range 3 {
			events = append(events, w.Encode(t, env.Position+eventstore.Position(i), NewAccount("app", domain.UserID(fmt.Sprint("later", i)), "", 0))...)
		}
		err := w.List.Apply(t.Context(), w.Position, events)
		var bad *projections.EventError
		if !errors.As(err, &bad) || bad.Position != env.Position || bad.Type != env.Type {
			t.Errorf("%s: %v, want an EventError at position %d", what, err, env.Position)
		}
		for _, text := range []string{"", "bob", "zoe", "later"} {
			for _, l := range Listings("app", text, 2) {
				w.CheckPages(t, l)
			}
		}
		checkTotals(t, w, "app")
	}
	w.Apply(t, good...)
	checkAccounts(t, w, "app")
	checkDuplicateAmongMany(t, w)
}

// checkDuplicateAmongMany creates an account a second time amid many that are new.
func checkDuplicateAmongMany(t *testing.T, w *World) {
	t.Helper()
	var events []domain.Event
	for i := range 100 {
		events = append(events, NewAccount("app", domain.UserID(fmt.Sprint("many", i)), "", 0))
	}
	events[61] = NewAccount("app", "ann", "", 0)
	err := w.List.Apply(t.Context(), w.Position, w.Encode(t, w.Position, events...))
	var bad *projections.EventError
	if !errors.As(err, &bad) || bad.Position != w.Position+62 {
		t.Errorf("an account created twice: %v, want an EventError at position %d", err, w.Position+62)
	}
	checkTotals(t, w, "app")
	w.Apply(t, events[:61]...)
	for _, l := range Listings("app", "many", 40) {
		w.CheckPages(t, l)
	}
}

// testConcurrentReads reads while events are applied, each of which adds one account: what a
// read shows must agree with the position that it tells.
func testConcurrentReads(t *testing.T, open Open) {
	const events, perBatch = 600, 7
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	base := uint64(w.Position)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			for last := uint64(0); ; {
				position := checkConsistent(t, w, base, i%2 == 0)
				if position < last {
					t.Errorf("a later read shows position %d after %d", position, last)
				}
				last = position
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for n := 0; n < events; n += perBatch {
		var batch []domain.Event
		for i := n; i < n+perBatch; i++ {
			batch = append(batch, NewAccount("app", domain.UserID(fmt.Sprintf("u%04d", i)), "이름", time.Duration(i)))
		}
		w.Apply(t, batch...)
	}
	close(done)
	readers.Wait()
}

// checkConsistent reads a page or a chunk and returns its position. It runs on goroutines
// of its own and so must not end the test.
func checkConsistent(t *testing.T, w *World, base uint64, page bool) uint64 {
	if page {
		p, err := w.List.Page(t.Context(), domain.Listing{App: "app", Filter: domain.Filter{Text: "이름"}, Order: domain.Descending, Limit: 1})
		if err != nil || uint64(p.Total) != p.Position-base || (p.Total > 0 && p.Accounts[0].Revision != p.Position) {
			t.Errorf("page: total %d at position %d (%v)", p.Total, p.Position, err)
		}
		return p.Position
	}
	c, err := w.List.Chunk(t.Context(), domain.Stretch{App: "app", Limit: domain.MaxStretch})
	if n := len(c.Accounts); err != nil || n != c.Total || uint64(n) != c.Position-base {
		t.Errorf("chunk: %d accounts, total %d, position %d (%v)", n, c.Total, c.Position, err)
	}
	return c.Position
}

func testCancel(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	var events []domain.Event
	for i := range 500 {
		events = append(events, NewAccount("app", domain.UserID(fmt.Sprint("u", i)), "name", time.Duration(i)))
	}
	w.Apply(t, events...)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // more than there are connections
		if _, err := w.List.Page(ended, domain.Listing{App: "app"}); !errors.Is(err, context.Canceled) {
			t.Errorf("page with an ended context: %v", err)
		}
		if err := w.List.Apply(ended, w.Position, w.Encode(t, w.Position, NewAccount("app", "x", "", 0))); !errors.Is(err, context.Canceled) {
			t.Errorf("apply with an ended context: %v", err)
		}
		if _, err := w.List.Chunk(ended, domain.Stretch{App: "app", Limit: domain.MaxStretch}); !errors.Is(err, context.Canceled) {
			t.Errorf("chunk with an ended context: %v", err)
		}
	}
	w.Apply(t, NewAccount("app", "x", "", 0))
	for _, l := range Listings("app", "", 100) {
		w.CheckPages(t, l)
	}
	checkChunks(t, w, "app", domain.MaxStretch)
}
