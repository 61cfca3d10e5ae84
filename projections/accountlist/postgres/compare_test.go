package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/projections"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/postgres/pgtest"
)

func TestAListIsComparedWithTheLiveOneAtOnePositionAndTheApplicationsThatDifferAreNamed(t *testing.T) {
	w, db, address := world(t)
	h := &history{w: w}
	h.apply(t, append(listtest.NewApp("a"), listtest.NewApp("b")...)...)
	h.apply(t, listtest.NewAccount("a", "ann", "앤", 0), listtest.NewAccount("b", "bob", "밥", 0))
	number := create(t, db)
	built := db.List(number, w.Codec)
	compare := func() []string {
		t.Helper()
		different, err := db.Compare(t.Context(), number, func(ctx context.Context, from, until eventstore.Position) error {
			h.feed(t, built)
			if at := checkpoint(t, built); at != until {
				t.Errorf("it was brought to %d, want %d", at, until)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return different
	}
	if different := compare(); len(different) > 0 {
		t.Errorf("a list that was built from the same events differs in %v", different)
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "UPDATE rollcall_list_1.accounts SET nickname = 'x' WHERE user_id = 'bob'"); err != nil {
		t.Fatal(err)
	}
	h.apply(t, listtest.NewAccount("a", "eve", "이브", 0))
	if different := compare(); !slices.Equal(different, []string{"b"}) {
		t.Errorf("the lists differ in %v, want b", different)
	}
	h.apply(t, domain.AppEdited{App: "a", Name: "another", MaxAdmins: 3, At: listtest.Epoch})
	h.feed(t, built)
	if _, err := conn.Exec(t.Context(), "UPDATE rollcall_list_1.progress SET checkpoint = checkpoint - 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Compare(t.Context(), number, nil); !errors.Is(err, postgres.ErrAhead) {
		t.Errorf("a list that is ahead: %v, want %v", err, postgres.ErrAhead)
	}
}

func TestAListThatIsRefusedKeepsWhyUntilItIsBroughtUpToDate(t *testing.T) {
	_, db, _ := world(t)
	number := create(t, db)
	last := func() postgres.Generation {
		t.Helper()
		all, err := db.Generations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all[len(all)-1]
	}
	if err := db.Refuse(t.Context(), number, "it differs"); err != nil {
		t.Fatal(err)
	}
	if g := last(); g.State != postgres.Refused || g.Note != "it differs" {
		t.Errorf("it is %+v", g)
	}
	if err := db.Rebuild(t.Context(), number); err != nil {
		t.Fatal(err)
	}
	if g := last(); g.State != postgres.Building || g.Note != "" {
		t.Errorf("it is %+v", g)
	}
	if err := db.Rebuild(t.Context(), 1); !errors.Is(err, postgres.ErrInUse) {
		t.Errorf("the live one: %v, want %v", err, postgres.ErrInUse)
	}
	if err := db.Rebuild(t.Context(), 99); !errors.Is(err, postgres.ErrNoGeneration) {
		t.Errorf("none: %v, want %v", err, postgres.ErrNoGeneration)
	}
}

func TestAServerThatIsGoneIsToldFromOneThatRefuses(t *testing.T) {
	server, err := pgtest.Start(t.Context(), "", pgtest.Fast()...)
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, server.URL("postgres"))
	list := db.Live(nil)
	if _, _, err := list.Account(t.Context(), "none", "x"); !errors.Is(err, domain.CodeAppNotFound) {
		t.Errorf("an account of no application: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := list.Account(t.Context(), "none", "x"); !errors.Is(err, projections.ErrUnavailable) {
		t.Errorf("without a server: %v, want %v", err, projections.ErrUnavailable)
	}
}

func TestAListWhoseApplicationsHaveOtherNumbersIsEqual(t *testing.T) {
	w, db, address := world(t)
	h := &history{w: w}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "SELECT nextval(pg_get_serial_sequence('rollcall_list_1.apps', 'id'))"); err != nil { // as after a crash
		t.Fatal(err)
	}
	h.apply(t, append(listtest.NewApp("a"), listtest.NewAccount("a", "ann", "앤", 0), listtest.NewAccount("a", "bob", "밥", 0),
		domain.AccountDeleted{App: "a", UserID: "bob", At: listtest.Epoch})...)
	number := create(t, db)
	h.feed(t, db.List(number, w.Codec))
	different, err := db.Compare(t.Context(), number, nil)
	if err != nil || len(different) > 0 {
		t.Errorf("they differ in %v (%v)", different, err)
	}
}

func TestAWriterGoesOnWithAnotherListWhenTheOneBeforeIsGone(t *testing.T) {
	w, db, address := world(t)
	h := &history{w: w}
	h.apply(t, listtest.NewApp("a")...)
	other := open(t, address) // another instance, which does not see that the list changes
	live := other.Live(w.Codec)
	number := create(t, db)
	h.feed(t, db.List(number, w.Codec))
	if err := db.Promote(t.Context(), number); err != nil {
		t.Fatal(err)
	}
	if err := db.Drop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	events := w.Encode(t, w.Position, listtest.NewAccount("a", "ann", "앤", 0))
	if err := live.Apply(t.Context(), w.Position, events); !errors.Is(err, projections.ErrFenced) {
		t.Errorf("the first write after the change: %v, want %v", err, projections.ErrFenced)
	}
	if err := live.Apply(t.Context(), w.Position, events); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestAListIsReplacedByForceWhateverItShows(t *testing.T) {
	w, db, _ := world(t)
	h := &history{w: w}
	h.apply(t, listtest.NewApp("a")...)
	number := create(t, db)
	if err := db.Promote(t.Context(), number); !errors.Is(err, postgres.ErrBehind) {
		t.Errorf("an empty list: %v, want %v", err, postgres.ErrBehind)
	}
	if err := db.Replace(t.Context(), number); err != nil {
		t.Fatal(err)
	}
	if at := checkpoint(t, db.Live(w.Codec)); at != 0 {
		t.Errorf("the list shows position %d, want 0", at)
	}
}
