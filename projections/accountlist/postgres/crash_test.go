package postgres_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres/pgtest"
)

func TestACrashOfTheServerTakesBackWholeBatchesAtMost(t *testing.T) {
	server, err := pgtest.Start(t.Context(), "", "wal_writer_delay=10000ms") // so that there is something to take back
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	db := open(t, server.URL("postgres"))
	w := listtest.NewWorld(t, func(_ testing.TB, c *codec.Codec) accountlist.List { return db.Live(c) })
	h := &history{w: w}
	h.apply(t, listtest.NewApp("app")...)
	const batch = 10
	for n := 0; n < 50*batch; n += batch {
		var events []domain.Event
		for i := n; i < n+batch; i++ {
			events = append(events, listtest.NewAccount("app", domain.UserID(fmt.Sprintf("u%05d", i)), "이름", time.Duration(i)))
		}
		h.apply(t, events...)
	}
	if err := server.Crash(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.List.Checkpoint(t.Context()); err == nil {
		t.Error("a server that is gone answers")
	}
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := db.Live(w.Codec)
	var position eventstore.Position
	persist(t, func() (err error) {
		position, err = l.Checkpoint(t.Context())
		return err
	})
	if position > w.Position || (position != 0 && (position-2)%batch != 0) {
		t.Fatalf("checkpoint is %d, %d was applied in batches of %d", position, w.Position, batch)
	}
	t.Logf("the crash took back %d of %d events", w.Position-position, w.Position)
	if position > 0 {
		page, err := l.Page(t.Context(), domain.Listing{App: "app", Order: domain.Descending, Filter: domain.Filter{Text: "이름"}, Limit: 1})
		if err != nil || page.Total != int(position)-2 || (page.Total > 0 && page.Accounts[0].Revision != uint64(position)) {
			t.Errorf("page is %+v (%v), want the account of position %d", page, err, position)
		}
	}
	persist(t, func() error { return h.tryFeed(t.Context(), l) })
	for _, listing := range listtest.Listings("app", "이름", 300) {
		w.CheckPages(t, listing)
	}
}

// persist calls f until it succeeds, as a runner does: each connection of a server that was gone
// is found dead once.
func persist(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for range 100 { // more than there are connections
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func TestAnEventWithTextThatNoDatabaseHoldsCanNeverBeApplied(t *testing.T) {
	w, _, _ := world(t)
	w.Apply(t, listtest.NewApp("app")...)
	bad := listtest.NewAccount("app", "ann", "a\x00b", 0)
	err := w.List.Apply(t.Context(), w.Position, w.Encode(t, w.Position, listtest.NewAccount("app", "bob", "", 0), bad))
	var event *projections.EventError
	if !errors.As(err, &event) || event.Position != w.Position+2 {
		t.Errorf("apply: %v, want an EventError at position %d", err, w.Position+2)
	}
}
