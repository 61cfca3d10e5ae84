package sqlite_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

// secret returns a nickname that only one account has, in capitals so that a
// folded copy of it would differ.
func secret(i int) string { return fmt.Sprintf("SECRET-비밀-%06d-Ж", i) }

// leaks returns the files of a folder in which the texts occur, folded or not.
func leaks(t *testing.T, dir string, texts ...string) (found []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) || bytes.Contains(content, []byte(strings.ToLower(text))) {
				found = append(found, file.Name()+": "+text)
			}
		}
	}
	return found
}

// erasureWorld returns a world whose list has many accounts with secrets, written in random order
// and in many batches, so that pages have been split and merged.
func erasureWorld(t *testing.T, accounts int) (*listtest.World, string) {
	dir := t.TempDir()
	w := listtest.NewWorld(t, func(t testing.TB, c *codec.Codec) accountlist.List {
		return open(t, filepath.Join(dir, "list.db"), c)
	})
	w.Apply(t, listtest.NewApp("app")...)
	order := rand.New(rand.NewPCG(1, 2)).Perm(accounts)
	for len(order) > 0 {
		n := min(len(order), 97)
		var events []domain.Event
		for _, i := range order[:n] {
			e := listtest.NewAccount("app", domain.UserID(fmt.Sprintf("u%06d", i)), secret(i), time.Duration(i))
			e.Profile.SelfSignature = "signature of " + secret(i) + strings.Repeat("x", i%400)
			events = append(events, e)
		}
		order = order[n:]
		w.Apply(t, events...)
	}
	return w, dir
}

func deleted(i int) domain.Event {
	return domain.AccountDeleted{App: "app", UserID: domain.UserID(fmt.Sprintf("u%06d", i)), At: listtest.Epoch}
}

func TestDeletedNicknamesAreInNoFileOnceIdle(t *testing.T) {
	const accounts = 3000
	w, dir := erasureWorld(t, accounts)
	if len(leaks(t, dir, secret(3))) == 0 {
		t.Fatal("the test finds no nickname that is there")
	}
	for _, every := range []int{7, 3, 1} { // a few first, then nearly all
		var events []domain.Event
		var gone []string
		for i := range accounts {
			if i%every == 0 && i%10 != 9 {
				if _, _, err := w.List.Account(t.Context(), "app", domain.UserID(fmt.Sprintf("u%06d", i))); err == nil {
					events = append(events, deleted(i))
				}
				gone = append(gone, secret(i))
			}
		}
		w.Apply(t, events...)
		idle(t, w)
		if found := leaks(t, dir, gone...); len(found) > 0 {
			t.Fatalf("after deletion of %d accounts, %d nicknames are found, such as %s", len(gone), len(found), found[0])
		}
	}
	if len(leaks(t, dir, secret(9))) == 0 {
		t.Error("an account that was not deleted is gone")
	}
	checkSearchable(t, w)
}

func TestDeletedNicknamesAreInNoFileOnceClosed(t *testing.T) {
	const accounts = 1500
	w, dir := erasureWorld(t, accounts)
	idle(t, w)
	var events []domain.Event
	var gone []string
	for i := range accounts {
		if i%10 != 9 {
			events, gone = append(events, deleted(i)), append(gone, secret(i))
		}
	}
	w.Apply(t, events...)
	if len(leaks(t, dir, gone...)) == 0 {
		t.Fatal("there is nothing left to erase")
	}
	if err := w.List.(*sqlite.List).Close(); err != nil {
		t.Fatal(err)
	}
	if found := leaks(t, dir, gone...); len(found) > 0 {
		t.Errorf("%d of %d nicknames are found, such as %s", len(found), len(gone), found[0])
	}
	if len(leaks(t, dir, secret(9))) == 0 {
		t.Error("an account that was not deleted is gone")
	}
}

// idle calls Idle as the runner does, until it succeeds.
func idle(t *testing.T, w *listtest.World) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := w.List.(*sqlite.List).Idle(t.Context())
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

func checkSearchable(t *testing.T, w *listtest.World) {
	t.Helper()
	for _, l := range listtest.Listings("app", "비밀", 300) {
		w.CheckPages(t, l)
	}
}
