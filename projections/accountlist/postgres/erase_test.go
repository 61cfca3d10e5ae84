package postgres_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/postgres/pgtest"
)

// secret returns a nickname that only one account has, in capitals so that a
// folded copy of it would differ.
func secret(i int) string { return fmt.Sprintf("SECRET-비밀-%06d-Ж", i) }

func secretID(i int) domain.UserID { return domain.UserID(fmt.Sprintf("u%06d", i)) }

// leaks returns which of the accounts' nicknames occur in the files of tables and indexes of a
// database, folded or not, once the server has written out what it holds in memory.
func leaks(t *testing.T, address string, numbers ...int) (found []int) {
	t.Helper()
	conn := connect(t, address)
	execSQL(t, conn, "CHECKPOINT")
	var oid int
	if err := conn.QueryRow(t.Context(), "SELECT oid::int FROM pg_database WHERE datname = current_database()").Scan(&oid); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(pgtest.DataFolder(t), "base", fmt.Sprint(oid))
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, part := range bytes.Split(content, []byte("비밀-"))[1:] {
			there[string(part[:min(6, len(part))])] = true
		}
	}
	for _, n := range numbers {
		if there[fmt.Sprintf("%06d", n)] {
			found = append(found, n)
		}
	}
	return found
}

// erasureWorld returns a world whose list has many accounts with secrets, written in random order
// and in many batches.
func erasureWorld(t *testing.T, accounts int) (*history, *postgres.DB, string) {
	t.Helper()
	w, db, address := world(t)
	h := &history{w: w}
	h.apply(t, listtest.NewApp("app")...)
	order := rand.New(rand.NewPCG(1, 2)).Perm(accounts)
	for len(order) > 0 {
		n := min(len(order), 97)
		var events []domain.Event
		for _, i := range order[:n] {
			events = append(events, listtest.NewAccount("app", secretID(i), secret(i), time.Duration(i)))
		}
		order = order[n:]
		h.apply(t, events...)
	}
	return h, db, address
}

func deleteAccounts(t *testing.T, h *history, numbers ...int) {
	t.Helper()
	var events []domain.Event
	for _, n := range numbers {
		events = append(events, domain.AccountDeleted{App: "app", UserID: secretID(n), At: listtest.Epoch})
	}
	h.apply(t, events...)
}

// idle calls Idle as the runner does, until it succeeds.
func idle(t *testing.T, l accountlist.List) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := l.(*postgres.List).Idle(t.Context())
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("idle: %v", err)
		}
	}
}

// most returns the numbers below n that do not end in 9.
func most(n int) (numbers []int) {
	for i := range n {
		if i%10 != 9 {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

func TestDeletedNicknamesAreInNoFileOnceAnotherListHasTakenThePlaceOfTheList(t *testing.T) {
	const accounts = 3000
	h, db, address := erasureWorld(t, accounts)
	gone := most(accounts)
	checkHoldsDeleted(t, db, false)
	deleteAccounts(t, h, gone...)
	if len(leaks(t, address, gone...)) == 0 {
		t.Fatal("there is nothing left to erase")
	}
	checkHoldsDeleted(t, db, true)
	for _, i := range gone {
		h.w.Keys.Destroy(listtest.KeyID("app", secretID(i)))
	}
	next := create(t, db)
	h.feed(t, db.List(next, h.w.Codec))
	if err := db.Promote(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := db.Drop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if found := leaks(t, address, gone...); len(found) > 0 {
		t.Errorf("%d of %d nicknames are found: %v", len(found), len(gone), found[:min(len(found), 10)])
	}
	if len(leaks(t, address, 9)) == 0 {
		t.Error("an account that was not deleted is gone")
	}
	h.apply(t, listtest.NewApp("another")...) // whose number must not be taken
	for _, l := range listtest.Listings("app", "비밀", 300) {
		h.w.CheckPages(t, l)
	}
}

// checkHoldsDeleted waits until the server's statistics, which are late, say whether accounts were deleted from the live list.
func checkHoldsDeleted(t *testing.T, db *postgres.DB, want bool) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-again.C {
		got, err := db.HoldsDeleted(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the live list holds what was deleted: %t, want %t", got, want)
		}
	}
}

func TestDeletedRowsAreVacuumedOnceIdle(t *testing.T) {
	const accounts = 2000
	h, db, address := erasureWorld(t, accounts)
	idle(t, h.w.List)
	gone := most(accounts)
	deleteAccounts(t, h, gone...)
	idle(t, h.w.List)
	execSQL(t, connect(t, address), "CREATE EXTENSION pgstattuple")
	schema := liveSchema(t, db)
	var dead int
	if err := connect(t, address).QueryRow(t.Context(), "SELECT dead_tuple_count FROM pgstattuple('"+schema+".accounts')").Scan(&dead); err != nil || dead != 0 {
		t.Errorf("the table has %d dead rows (%v)", dead, err)
	}
	var entries int
	if err := connect(t, address).QueryRow(t.Context(), "SELECT pending_tuples FROM pgstatginindex('"+schema+".accounts_grams')").Scan(&entries); err != nil || entries != 0 {
		t.Errorf("the index of grams has %d pending entries (%v)", entries, err)
	}
}

// standing returns the generation that is live.
func standing(t *testing.T, db *postgres.DB) postgres.Generation {
	t.Helper()
	all, err := db.Generations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		if g.State == postgres.Live {
			return g
		}
	}
	t.Fatal("no list is live")
	return postgres.Generation{}
}

func TestTheDatabaseTellsHowFarTheListIsRidOfDeletedAccounts(t *testing.T) {
	h, db, _ := erasureWorld(t, 20)
	idle(t, h.w.List)
	if g := standing(t, db); g.Vacuumed != h.w.Position || g.Stained {
		t.Errorf("before any deletion at %d: %+v", h.w.Position, g)
	}
	before := h.w.Position
	deleteAccounts(t, h, 1, 2)
	if g := standing(t, db); g.Vacuumed != before {
		t.Errorf("before the vacuum: %+v, want a vacuum at %d", g, before)
	}
	idle(t, h.w.List)
	if g := standing(t, db); g.Vacuumed != h.w.Position || !g.Stained {
		t.Errorf("after the vacuum at %d: %+v", h.w.Position, g)
	}
	next, err := db.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.feed(t, db.List(next, h.w.Codec))
	if err := db.Promote(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	idle(t, h.w.List) // what was deleted from the list while it was built
	if g := standing(t, db); g.Number != next || g.Vacuumed != h.w.Position {
		t.Errorf("the list that has become live, at %d: %+v", h.w.Position, g)
	}
	deleteAccounts(t, h, 3)
	idle(t, h.w.List)
	if g := standing(t, db); g.Vacuumed != h.w.Position || !g.Stained {
		t.Errorf("after a deletion from that at %d: %+v", h.w.Position, g)
	}
}

func TestIdleTellsWhileATransactionMayReadWhatWasDeleted(t *testing.T) {
	h, db, address := erasureWorld(t, 10)
	idle(t, h.w.List)
	l := h.w.List.(*postgres.List)
	reader := hold(t, address, liveSchema(t, db))
	deleteAccounts(t, h, 1)
	for range 3 {
		if err := l.Idle(t.Context()); err == nil {
			t.Error("idle claims to have removed what a transaction still reads")
		}
	}
	reader.end(t)
	idle(t, l)
}

// held is a transaction that reads a list, however long it takes.
type held struct{ pgx.Tx }

// hold begins to read the accounts of a schema.
func hold(t *testing.T, address, schema string) held {
	t.Helper()
	tx, err := connect(t, address).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM "+schema+".accounts").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return held{tx}
}

func (h held) end(t *testing.T) {
	t.Helper()
	if err := h.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}
