package sqlite_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
	"rollcall/projections"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

// run runs a runner; stop ends it and checks that it ended in order.
func run(t *testing.T, log projections.Log, l *sqlite.List) (r *projections.Runner, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	r = projections.NewRunner(log, l, projections.WithBatch(64))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// publish appends events to a log and records them in the model.
func publish(t *testing.T, s *jetstream.Store, w *listtest.World, events ...domain.Event) {
	t.Helper()
	for _, env := range w.Encode(t, w.Position, events...) {
		expected, err := s.Revision(t.Context(), env.Aggregate)
		if err != nil {
			t.Fatal(err)
		}
		positions, err := s.Append(t.Context(), eventstore.Proposal{Event: env, Expected: expected})
		if err != nil || positions[0] != env.Position {
			t.Fatalf("append at %v (%v), want %d", positions, err, env.Position)
		}
	}
	w.Record(events...)
}

func TestTheListFollowsARealLogOverARestart(t *testing.T) {
	log, err := jetstream.Open(t.Context(), storetest.Connect(t, storetest.RunServer(t)), jetstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Close)
	path := filepath.Join(t.TempDir(), "list.db")
	w := listtest.NewWorld(t, func(t testing.TB, c *codec.Codec) accountlist.List { return open(t, path, c) })
	publish(t, log, w, listtest.NewApp("app")...)

	first := w.List.(*sqlite.List)
	r, stop := run(t, log, first)
	for i := range 100 {
		publish(t, log, w, listtest.NewAccount("app", domain.UserID(fmt.Sprint("u", i)), "이름", time.Duration(i)))
	}
	if err := r.WaitFor(t.Context(), w.Position); err != nil {
		t.Fatal(err)
	}
	w.CheckPages(t, domain.Listing{App: "app", Sort: domain.SortCreatedAt, Order: domain.Descending, Limit: 30})
	stop()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	for i := range 50 { // while no one looks
		publish(t, log, w, domain.AccountDeleted{App: "app", UserID: domain.UserID(fmt.Sprint("u", i)), At: listtest.Epoch})
	}
	second := open(t, path, w.Codec)
	w.List = second
	r, stop = run(t, log, second)
	defer stop()
	if err := r.WaitFor(t.Context(), w.Position); err != nil {
		t.Fatal(err)
	}
	for _, l := range listtest.Listings("app", "이름", 30) {
		w.CheckPages(t, l)
	}
}
