package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
)

// newList returns a world whose list is in a folder of its own.
func newList(t *testing.T) (w *listtest.World, l *List, path string) {
	path = filepath.Join(t.TempDir(), "list.db")
	w = listtest.NewWorld(t, func(t testing.TB, c *codec.Codec) accountlist.List {
		l, err := Open(t.Context(), path, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		return l
	})
	return w, w.List.(*List), path
}

// content returns what the database and its write-ahead log hold. Reading the file drops
// SQLite's locks on it, which no other process wants here.
func content(t *testing.T, path string) []byte {
	t.Helper()
	wal, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return append(wal, file...)
}

func TestDeletedTextIsErasedThoughTheListIsNeverIdle(t *testing.T) {
	w, l, path := newList(t)
	w.Apply(t, listtest.NewApp("app")...)
	w.Apply(t, listtest.NewAccount("app", "ann", "a-secret-name", 0))
	w.Apply(t, domain.AccountDeleted{App: "app", UserID: "ann", At: listtest.Epoch})
	if wait := time.Until(l.erasure.after); !l.erasure.due || wait > eraseWithin {
		t.Fatalf("erasure is %+v", l.erasure)
	}
	found := func() bool { return bytes.Contains(content(t, path), []byte("a-secret-name")) }
	if !found() {
		t.Fatal("the test finds no nickname that is there")
	}
	l.waited()
	w.Apply(t, listtest.NewAccount("app", "bob", "Bob", 0))
	if found() || l.erasure.due {
		t.Error("the nickname is still in a file")
	}
}

func TestIdleTellsWhenAReaderIsInTheWay(t *testing.T) {
	w, l, path := newList(t)
	w.Apply(t, listtest.NewApp("app")...)
	w.Apply(t, listtest.NewAccount("app", id(1), name(1), 0))
	err := l.read(t.Context(), l.scanners, func(*view) error {
		w.Apply(t, domain.AccountDeleted{App: "app", UserID: id(1), At: listtest.Epoch})
		l.waited()
		if err := l.Idle(t.Context()); !errors.Is(err, errBusy) {
			t.Errorf("idle while a reader may still see what was deleted: %v, want %v", err, errBusy)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for !l.idle(t) {
	}
	if bytes.Contains(content(t, path), []byte(name(1))) {
		t.Error("the nickname is still in a file")
	}
}

// name returns a nickname that only one account has.
func name(i int) string { return fmt.Sprintf("secret-%06d-name", i) }

func id(i int) domain.UserID { return domain.UserID(fmt.Sprintf("u%06d", i)) }

func TestAPassErasesWhatBatchesMoveBetweenItsTurns(t *testing.T) {
	const accounts = 2000
	w, l, path := newList(t)
	w.Apply(t, listtest.NewApp("app")...)
	order := rand.New(rand.NewPCG(3, 4)).Perm(accounts)
	for batch := range slices.Chunk(order, 50) {
		var events []domain.Event
		for _, i := range batch {
			events = append(events, listtest.NewAccount("app", id(i), name(i), time.Duration(i)))
		}
		w.Apply(t, events...)
	}
	for !l.idle(t) { // what lies about from before
	}
	var gone []domain.Event
	for _, i := range order[:accounts/2] {
		gone = append(gone, domain.AccountDeleted{App: "app", UserID: id(i), At: listtest.Epoch})
	}
	w.Apply(t, gone...)

	l.scrubber.turn = 16 << 10
	l.waited()
	turns, next := 0, accounts
	for began := false; !began || l.erasure.at > 0; turns++ {
		var events []domain.Event
		for range 20 { // at random places, so that pages are split
			i := next * 7919 % 1_000_000
			events = append(events, listtest.NewAccount("app", id(accounts+i), "new "+string(id(i)), time.Duration(i%accounts)))
			next++
		}
		w.Apply(t, events...)
		began = true
	}
	if turns < 20 || l.erasure.due {
		t.Fatalf("after %d turns, erasure is %+v", turns, l.erasure)
	}
	all := content(t, path)
	for _, i := range order[:accounts/2] {
		if bytes.Contains(all, []byte(name(i))) {
			t.Errorf("%s is still in a file", name(i))
		}
	}
}

// waited lets the next batch begin a pass, as if the time had passed.
func (l *List) waited() { l.erasure.after, l.erasure.rest = time.Now(), time.Time{} }

// idle makes Idle work at once and tells whether it is done.
func (l *List) idle(t *testing.T) bool {
	l.erasure.rest = time.Time{}
	err := l.Idle(t.Context())
	if err != nil && !errors.Is(err, errMore) {
		t.Fatal(err)
	}
	return err == nil
}

func TestWhatIsDeletedDuringAPassIsErasedByTheNext(t *testing.T) {
	w, l, path := newList(t)
	w.Apply(t, listtest.NewApp("app")...)
	w.Apply(t, listtest.NewAccount("app", "ann", name(1), 0), listtest.NewAccount("app", "bob", name(2), 0))
	l.scrubber.turn = 16 << 10
	w.Apply(t, domain.AccountDeleted{App: "app", UserID: "ann", At: listtest.Epoch})
	l.waited()
	w.Apply(t, listtest.NewAccount("app", "cid", "", 0))
	if l.erasure.at == 0 {
		t.Fatal("the pass is over after one turn")
	}
	if got := l.Erased(); got >= w.Position {
		t.Errorf("during the pass the list claims to be rid of what was deleted up to %d", got)
	}
	before := w.Position
	w.Apply(t, domain.AccountDeleted{App: "app", UserID: "bob", At: listtest.Epoch})
	for i := 0; l.erasure.at > 0; i++ {
		w.Apply(t, listtest.NewAccount("app", id(i), "", 0))
	}
	if !l.erasure.due {
		t.Error("the second deletion is forgotten")
	}
	if got := l.Erased(); got != before {
		t.Errorf("after the pass the list is rid of what was deleted up to %d, want %d", got, before)
	}
	for !l.idle(t) {
	}
	if all := content(t, path); bytes.Contains(all, []byte(name(1))) || bytes.Contains(all, []byte(name(2))) {
		t.Error("a nickname is still in a file")
	}
	if got := l.Erased(); got != w.Position {
		t.Errorf("in the end the list is rid of what was deleted up to %d, want %d", got, w.Position)
	}
}

func TestABatchStandsThoughErasingFails(t *testing.T) {
	w, l, path := newList(t)
	var logged bytes.Buffer
	WithLogger(slog.New(slog.NewTextHandler(&logged, nil)))(l)
	w.Apply(t, listtest.NewApp("app")...)
	w.Apply(t, listtest.NewAccount("app", "ann", name(1), 0))

	works := l.scrubber
	l.scrubber = &scrubber{turn: scrubTurn} // has no file
	w.Apply(t, domain.AccountDeleted{App: "app", UserID: "ann", At: listtest.Epoch})
	l.waited()
	w.Apply(t, listtest.NewAccount("app", "bob", "", 0)) // fails the test if Apply does
	if !l.erasure.due || !strings.Contains(logged.String(), "could not be erased") {
		t.Errorf("erasure is %+v, logged is %q", l.erasure, &logged)
	}
	if err := l.Idle(t.Context()); err == nil {
		t.Error("idle claims to have erased")
	}
	l.scrubber = works
	for !l.idle(t) {
	}
	if bytes.Contains(content(t, path), []byte(name(1))) {
		t.Error("the nickname is still in a file")
	}
}
