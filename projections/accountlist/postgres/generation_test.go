package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/postgres/pgtest"
)

// world returns a world whose list is the live one of a database of its own.
func world(t *testing.T) (*listtest.World, *postgres.DB, string) {
	t.Helper()
	address := pgtest.Database(t)
	db := open(t, address)
	w := listtest.NewWorld(t, func(_ testing.TB, c *codec.Codec) accountlist.List { return db.Live(c) })
	return w, db, address
}

// history is what a world's list was fed with, to feed another one.
type history struct {
	w       *listtest.World
	batches [][]eventstore.Envelope
}

// apply applies events to the world's list and keeps them.
func (h *history) apply(t *testing.T, events ...domain.Event) {
	t.Helper()
	envelopes := h.w.Encode(t, h.w.Position, events...)
	if err := h.w.List.Apply(t.Context(), h.w.Position, envelopes); err != nil {
		t.Fatal(err)
	}
	h.w.Record(events...)
	h.batches = append(h.batches, envelopes)
}

// feed brings a list up to the position where the world is.
func (h *history) feed(t *testing.T, l *postgres.List) {
	t.Helper()
	if err := h.tryFeed(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

func (h *history) tryFeed(ctx context.Context, l *postgres.List) error {
	at, err := l.Checkpoint(ctx)
	for _, batch := range h.batches {
		if err != nil {
			return err
		}
		if batch[0].Position > at {
			err = l.Apply(ctx, batch[0].Position-1, batch)
		}
	}
	return err
}

func checkpoint(t *testing.T, l *postgres.List) eventstore.Position {
	t.Helper()
	position, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return position
}

func create(t *testing.T, db *postgres.DB) int64 {
	t.Helper()
	generation, err := db.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return generation
}

func states(t *testing.T, db *postgres.DB) (states []string) {
	t.Helper()
	for _, g := range generations(t, db) {
		states = append(states, fmt.Sprintf("%d %s %d %t", g.Number, g.State, g.Checkpoint, g.PromotedAt.IsZero()))
	}
	return states
}

func checkStates(t *testing.T, db *postgres.DB, want ...string) {
	t.Helper()
	if got := states(t, db); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("generations are %q, want %q", got, want)
	}
}

func TestAListIsBuiltBesideTheLiveOnePromotedAndGoneBackFrom(t *testing.T) {
	w, db, _ := world(t)
	h := &history{w: w}
	h.apply(t, listtest.NewApp("app")...)
	h.apply(t, listtest.NewAccount("app", "ann", "Ann", 0))
	next := create(t, db)
	second := db.List(next, w.Codec)
	checkStates(t, db, "1 live 3 false", "2 building 0 true")

	if err := db.Promote(t.Context(), next); !errors.Is(err, postgres.ErrBehind) {
		t.Errorf("promote an empty list: %v, want ErrBehind", err)
	}
	h.feed(t, second)
	if err := db.Promote(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	checkStates(t, db, "1 retired 3 false", "2 live 3 false")

	h.apply(t, listtest.NewAccount("app", "bob", "Bob", 0)) // to the new one, which is live
	checkStates(t, db, "1 retired 3 false", "2 live 4 false")
	if err := db.Promote(t.Context(), 1); !errors.Is(err, postgres.ErrBehind) {
		t.Errorf("go back to a list that is behind: %v, want ErrBehind", err)
	}
	h.feed(t, db.List(1, w.Codec))
	if err := db.Promote(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	checkStates(t, db, "1 live 4 false", "2 retired 4 false")
	for _, l := range listtest.Listings("app", "b", 10) {
		w.CheckPages(t, l)
	}
}

func TestOnlyAListThatIsNotLiveCanBeDropped(t *testing.T) {
	w, db, address := world(t)
	next := create(t, db)
	if err := db.Drop(t.Context(), 1); !errors.Is(err, postgres.ErrInUse) {
		t.Errorf("drop the live list: %v, want ErrInUse", err)
	}
	for what, call := range map[string]func(context.Context, int64) error{"drop": db.Drop, "promote": db.Promote} {
		if err := call(t.Context(), 99); !errors.Is(err, postgres.ErrNoGeneration) {
			t.Errorf("%s a list that does not exist: %v, want ErrNoGeneration", what, err)
		}
	}
	w.List = db.List(next, w.Codec)
	w.Apply(t, listtest.NewApp("app")...)
	reader := hold(t, address, fmt.Sprintf("rollcall_list_%d", next))
	if err := db.Drop(t.Context(), next); !errors.Is(err, postgres.ErrInUse) {
		t.Errorf("drop a list that is read: %v, want ErrInUse", err)
	}
	reader.end(t)
	if err := db.Drop(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	checkStates(t, db, "1 live 0 false")
	if _, err := w.List.Checkpoint(t.Context()); !errors.Is(err, projections.ErrBroken) {
		t.Errorf("read a list that was dropped: %v, want ErrBroken", err)
	}
	var schemas int
	if err := connect(t, address).QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'rollcall_list_%'").Scan(&schemas); err != nil || schemas != 1 {
		t.Errorf("there are %d lists in the database (%v), want 1", schemas, err)
	}
}

func TestNoReadFailsOrGoesBackWhileListsArePromotedAndDropped(t *testing.T) {
	w, db, address := world(t)
	h := &history{w: w}
	h.apply(t, listtest.NewApp("app")...)
	h.apply(t, listtest.NewAccount("app", "ann", "이름", 0))
	other := open(t, address) // another instance, which is told nothing
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		l := []*postgres.DB{db, other}[i%2].Live(w.Codec)
		readers.Go(func() { readForever(t, l, i < 2, done) })
	}
	live := int64(1)
	for i := range 10 {
		next := create(t, db)
		h.feed(t, db.List(next, w.Codec))
		h.apply(t, listtest.NewAccount("app", domain.UserID(fmt.Sprint("u", i)), "이름", time.Duration(i)))
		h.feed(t, db.List(next, w.Codec))
		if err := db.Promote(t.Context(), next); err != nil {
			t.Error(err)
		}
		if err := db.Drop(t.Context(), live); err != nil {
			t.Error(err)
		}
		live = next
	}
	close(done)
	readers.Wait()
}

// readForever reads pages or chunks until done is closed. What it reads may never be of an earlier
// position than what it has read before.
func readForever(t *testing.T, l *postgres.List, page bool, done <-chan struct{}) {
	for last := uint64(0); ; {
		var position uint64
		var err error
		if page {
			var p domain.Page
			p, err = l.Page(t.Context(), domain.Listing{App: "app", Filter: domain.Filter{Text: "이름"}})
			position = p.Position
		} else {
			var c domain.Chunk
			c, err = l.Chunk(t.Context(), domain.Stretch{App: "app", Limit: domain.MaxStretch})
			position = c.Position
		}
		if err != nil || position < last {
			t.Errorf("a read shows position %d after %d (%v)", position, last, err)
			return
		}
		last = position
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestAWriterOfTheLiveListGoesOnWithTheOneThatIsPromoted(t *testing.T) {
	w, db, address := world(t)
	h := &history{w: w}
	h.apply(t, listtest.NewApp("app")...)
	writer := open(t, address).Live(w.Codec)
	if got := checkpoint(t, writer); got != w.Position {
		t.Fatalf("checkpoint is %d, want %d", got, w.Position)
	}
	next := create(t, db)
	h.feed(t, db.List(next, w.Codec))
	if err := db.Promote(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	event := listtest.NewAccount("app", "ann", "", 0)
	events := w.Encode(t, w.Position, event)
	if err := writer.Apply(t.Context(), w.Position, events); !errors.Is(err, projections.ErrFenced) {
		t.Errorf("apply to the list that was live: %v, want ErrFenced", err)
	}
	if got := checkpoint(t, writer); got != w.Position {
		t.Errorf("checkpoint is %d, want %d", got, w.Position)
	}
	if err := writer.Apply(t.Context(), w.Position, events); err != nil {
		t.Errorf("apply to the list that is live: %v", err)
	}
	w.Record(event)
	checkStates(t, db, "1 retired 2 false", fmt.Sprintf("%d live %d false", next, w.Position))
}

func TestOfTwoWritersOneWinsEachBatch(t *testing.T) {
	w, db, address := world(t)
	w.Apply(t, listtest.NewApp("app")...)
	const batches = 100
	events := make([][]eventstore.Envelope, batches)
	for i := range events {
		event := listtest.NewAccount("app", domain.UserID(fmt.Sprint("u", i)), "이름", time.Duration(i))
		events[i] = w.Encode(t, w.Position, event)
		w.Record(event)
	}
	var writers sync.WaitGroup
	wins := make([][batches]bool, 2)
	for i, l := range []*postgres.List{db.Live(w.Codec), open(t, address).Live(w.Codec)} {
		writers.Go(func() {
			for n, batch := range events {
				err := l.Apply(t.Context(), batch[0].Position-1, batch)
				wins[i][n] = err == nil
				if err != nil && !errors.Is(err, projections.ErrFenced) {
					t.Errorf("apply: %v", err)
				}
			}
		})
	}
	writers.Wait()
	for n := range batches {
		if wins[0][n] == wins[1][n] {
			t.Errorf("batch %d: the first writer won: %t, the second: %t", n, wins[0][n], wins[1][n])
		}
	}
	for _, l := range listtest.Listings("app", "이름", 30) {
		w.CheckPages(t, l)
	}
}

func TestInstancesThatOpenAnEmptyDatabaseAtOnceShareOneList(t *testing.T) {
	address := pgtest.Database(t)
	var opening sync.WaitGroup
	for range 5 {
		opening.Go(func() {
			db, err := postgres.Open(t.Context(), address)
			if err != nil {
				t.Error(err)
				return
			}
			db.Close()
		})
	}
	opening.Wait()
	checkStates(t, open(t, address), "1 live 0 false")
}

func TestAListOfAnotherVersionIsLeftToProgramsOfThatVersion(t *testing.T) {
	w, _, address := world(t)
	w.Apply(t, listtest.NewApp("app")...)
	execSQL(t, connect(t, address), "UPDATE rollcall.lists SET version = 7")
	db := open(t, address)
	checkStates(t, db, "1 live 0 false", "2 live 0 false") // checkpoints are read of one's own version
	if err := db.Promote(t.Context(), 1); !errors.Is(err, postgres.ErrNoGeneration) {
		t.Errorf("promote a list of another version: %v, want ErrNoGeneration", err)
	}
	if got := checkpoint(t, db.Live(w.Codec)); got != 0 {
		t.Errorf("checkpoint is %d, want 0", got)
	}
}
