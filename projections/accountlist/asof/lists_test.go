package asof_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/storetest"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/asof"
	"rollcall/projections/accountlist/listtest"
)

// patience is how long a machine that has much to do may take.
const patience = time.Minute

// secret is the nickname of the account number i.
func secret(i int) string { return fmt.Sprintf("SECRET-비밀-%06d-Ж", i) }

func user(i int) domain.UserID { return domain.UserID(fmt.Sprintf("u%06d", i)) }

// fill creates the application app and accounts in it. Every tenth is renamed, so that files have been written over.
func (w *world) fill(t testing.TB, accounts int) {
	t.Helper()
	w.add(t, listtest.NewApp("app")[0])
	for i := range accounts {
		w.add(t, listtest.NewAccount("app", user(i), secret(i), time.Duration(i)))
	}
	for i := 0; i < accounts; i += 10 {
		w.add(t, domain.AccountEdited{App: "app", UserID: user(i), At: listtest.Epoch, Patch: domain.Patch{
			Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: secret(i) + " anew"},
		}})
	}
}

// remove deletes and erases an account.
func (w *world) remove(t testing.TB, i int, here bool) {
	t.Helper()
	deletion := w.add(t, domain.AccountDeleted{App: "app", UserID: user(i), At: listtest.Epoch})
	w.erase(t, "app", user(i), deletion, here)
}

func (w *world) last() uint64 { return uint64(len(w.all())) }

// nickname returns that of an account in a list.
func (w *world) nickname(t testing.TB, at uint64, i int) string {
	t.Helper()
	page, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: at, Filter: domain.Filter{Text: string(user(i))}})
	if err != nil || len(page.Accounts) != 1 {
		t.Fatalf("account %d as of position %d: %+v, %v", i, at, page, err)
	}
	return page.Accounts[0].Profile.Nickname
}

// unready checks that a list is not there yet and returns what is said of it.
func (w *world) unready(t testing.TB, at uint64) string {
	t.Helper()
	page, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: at})
	if _, ok := errors.AsType[*asof.UnreadyError](err); !ok {
		t.Fatalf("the list as of position %d has %d accounts: %v", at, page.Total, err)
	}
	return err.Error()
}

func TestACursorBelongsToOnePosition(t *testing.T) {
	w := newWorld(t, asof.Options{Wait: patience})
	w.fill(t, 10)
	first, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: 8, Limit: 2})
	if err != nil || first.Next == "" {
		t.Fatalf("the page is %+v, %v", first, err)
	}
	if _, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: 7, Limit: 2, Cursor: first.Next}); !errors.Is(err, accountlist.CodeInvalidCursor) {
		t.Errorf("a cursor of another position: %v", err)
	}
	l, err := domain.Listing{App: "app", Cursor: first.Next}.Normalize()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := accountlist.After(l); !errors.Is(err, accountlist.CodeInvalidCursor) {
		t.Errorf("a cursor of a position in the list of now: %v", err)
	}
	if names := w.files(t); len(names) != 3 { // the file and the two beside it
		t.Errorf("for a cursor that is refused a list was built: %q", names)
	}
}

func TestManyWhoAskForAListShareOne(t *testing.T) {
	w := newWorld(t, asof.Options{Wait: patience})
	w.fill(t, 100)
	var reads sync.Map // positions
	twice := false
	w.reading = func(at eventstore.Position) error {
		if _, before := reads.LoadOrStore(at, true); before {
			twice = true
		}
		return nil
	}
	var askers sync.WaitGroup
	for range 20 {
		askers.Go(func() { w.check(t, domain.Listing{App: "app", AsOf: 50, Sort: domain.SortUserID, Limit: 30}) })
	}
	askers.Wait()
	if twice {
		t.Error("the log was read more than once")
	}
}

func TestWhatADeletedAccountHeldLeavesAListThatIsThere(t *testing.T) {
	for name, here := range map[string]bool{"that this instance erases": true, "that another one erases": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, asof.Options{Wait: patience})
			w.fill(t, 2000)
			at := w.last()
			if got := w.nickname(t, at, 1230); got != secret(1230)+" anew" {
				t.Fatalf("the nickname is %q", got)
			}
			page, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: at, Limit: 1000, Sort: domain.SortNickname})
			if err != nil {
				t.Fatal(err)
			}
			if len(w.leaks(t, secret(1230))) == 0 {
				t.Fatal("the nickname is in no file; this test could not fail")
			}
			w.remove(t, 1230, here)
			if here && len(w.leaks(t, secret(1230))) > 0 {
				t.Errorf("once it is forgotten the nickname is in %q", w.leaks(t, secret(1230)))
			}
			storetest.Eventually(t, "the nickname is in no file", func() bool { return len(w.leaks(t, secret(1230))) == 0 })
			if got := w.nickname(t, at, 1230); got != "" {
				t.Errorf("the nickname is %q", got)
			}
			next, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: at, Limit: 1000, Sort: domain.SortNickname, Cursor: page.Next})
			if err != nil || next.Total != 2000 || next.Accounts[0].UserID != "u001000" {
				t.Errorf("the page behind one of before begins with %+v: %v", next.Accounts[:1], err)
			}
			w.check(t, domain.Listing{App: "app", AsOf: at, Limit: 1000, Sort: domain.SortUserID})
			w.check(t, domain.Listing{App: "app", AsOf: at - 100, Limit: 1000})
		})
	}
}

func TestWhatADeletedAccountHeldIsNotInAListThatIsBeingBuilt(t *testing.T) {
	for name, here := range map[string]bool{"this instance erases it": true, "another one erases it": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, asof.Options{Wait: 10 * time.Millisecond})
			w.fill(t, 4300)
			at := w.last()
			deletion := w.add(t, domain.AccountDeleted{App: "app", UserID: user(9), At: listtest.Epoch}) // erased later than the list begins
			w.add(t, listtest.NewAccount("app", user(9), "of another person", 0))
			until := w.last()
			arrived, on := make(chan struct{}), make(chan struct{})
			arrive, goOn := sync.OnceFunc(func() { close(arrived) }), sync.OnceFunc(func() { close(on) })
			t.Cleanup(goOn)
			w.reading = func(p eventstore.Position) error {
				if p == 4200 {
					arrive()
					<-on
				}
				return nil
			}
			if said := w.unready(t, until); !strings.Contains(said, fmt.Sprintf("as of position %d is being built", until)) {
				t.Errorf("it is said that %s", said)
			}
			<-arrived
			storetest.Eventually(t, "the first part is loaded", func() bool { return strings.Contains(w.unready(t, until), "86 percent") })
			if len(w.leaks(t, secret(1230))) == 0 {
				t.Fatal("the nickname is in no file; this test could not fail")
			}
			w.remove(t, 1230, here)
			w.remove(t, 4250, here)
			w.keys.destroy("key11") // of the one before
			if here {
				if err := w.Forget(t.Context(), "app", asof.Deletion{User: user(9), Position: deletion}); err != nil {
					t.Fatal(err)
				}
			}
			w.add(t, domain.AccountErased{App: "app", UserID: user(9), Deletion: uint64(deletion), DeletedAt: listtest.Epoch, At: listtest.Epoch})
			for _, i := range []int{1230, 9} {
				if found := w.leaks(t, secret(i)); here && len(found) > 0 {
					t.Errorf("while the list is being built the nickname %d is in %q", i, found)
				}
			}
			goOn()
			storetest.Eventually(t, "the list is there", func() bool {
				_, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: until})
				return err == nil
			})
			storetest.Eventually(t, "the nicknames are in no file", func() bool {
				return len(w.leaks(t, secret(1230)))+len(w.leaks(t, secret(4250)))+len(w.leaks(t, secret(9))) == 0
			})
			if got := w.nickname(t, until, 9); got != "of another person" {
				t.Errorf("the account that has the user id of one that was deleted is named %q", got)
			}
			storetest.Eventually(t, "the list before is there", func() bool {
				_, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: at})
				return err == nil
			})
			w.check(t, domain.Listing{App: "app", AsOf: until, Limit: 1000, Sort: domain.SortUserID})
			w.check(t, domain.Listing{App: "app", AsOf: at, Limit: 1000, Sort: domain.SortUserID})
		})
	}
}

func TestAListThatNobodyReadsIsThrownAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, asof.Options{Idle: 15 * time.Minute})
		w.fill(t, 5)
		for range 3 {
			w.check(t, domain.Listing{App: "app", AsOf: 4, Limit: 2})
			time.Sleep(14 * time.Minute)
		}
		if len(w.files(t)) != 3 {
			t.Errorf("after 14 minutes there are %q", w.files(t))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if names := w.files(t); len(names) > 0 {
			t.Errorf("after 16 minutes there are %q", names)
		}
		w.check(t, domain.Listing{App: "app", AsOf: 4, Limit: 2})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheLeastRecentlyReadGivesWayButNoneThatIsBuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, asof.Options{Most: 2})
		w.fill(t, 20)
		read := func(at uint64) {
			t.Helper()
			w.check(t, domain.Listing{App: "app", AsOf: at, Limit: 5})
			time.Sleep(time.Second)
		}
		read(5)
		read(6)
		read(5)
		reads := 0
		w.reading = func(eventstore.Position) error { reads++; return nil }
		read(7)
		if reads != 7 {
			t.Errorf("%d events were read, want 7", reads)
		}
		if read(5); reads != 7 {
			t.Error("the list that was read last had to be built again")
		}
		if read(6); reads != 13 {
			t.Errorf("%d events were read, want 13: the one that was not read for the longest time gives way", reads)
		}
		on := make(chan struct{})
		w.reading = func(eventstore.Position) error { <-on; return nil }
		if said := w.unready(t, 8); !strings.Contains(said, "is being built: 0 percent") {
			t.Errorf("it is said that %s", said)
		}
		if said := w.unready(t, 9); !strings.Contains(said, "waits for another one") {
			t.Errorf("it is said that %s", said)
		}
		if said := w.unready(t, 10); !strings.Contains(said, "2 lists as of other positions") {
			t.Errorf("it is said that %s", said)
		}
		close(on)
		synctest.Wait()
		read(8)
		read(9)
		read(10)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAListThatNobodyWaitsForIsBuiltNoFurther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, asof.Options{})
		w.fill(t, 20)
		on := make(chan struct{})
		w.reading = func(eventstore.Position) error { <-on; return nil }
		w.unready(t, 9)
		time.Sleep(50 * time.Second)
		w.unready(t, 9)
		time.Sleep(50 * time.Second)
		if said := w.unready(t, 10); !strings.Contains(said, "waits") {
			t.Errorf("it is said that %s", said)
		}
		time.Sleep(20 * time.Second) // 70 for the first one
		close(on)
		w.check(t, domain.Listing{App: "app", AsOf: 10, Limit: 5})
		synctest.Wait()
		if len(w.files(t)) != 3 {
			t.Errorf("there are %q", w.files(t))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestALogThatIsAwayForAWhileDelaysAListAndOneThatIsDamagedFailsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, asof.Options{})
		w.fill(t, 20)
		failures := 3
		w.reading = func(at eventstore.Position) error {
			if failures--; failures >= 0 {
				return fmt.Errorf("%w: no answer", eventstore.ErrUnavailable)
			}
			return nil
		}
		w.check(t, domain.Listing{App: "app", AsOf: 12, Limit: 5})
		w.reading = func(eventstore.Position) error { return eventstore.ErrDamaged }
		for range 2 {
			if _, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: 13}); !errors.Is(err, eventstore.ErrDamaged) {
				t.Errorf("of a damaged log: %v", err)
			}
		}
		w.reading = func(eventstore.Position) error { return nil }
		time.Sleep(6 * time.Second)
		w.check(t, domain.Listing{App: "app", AsOf: 13, Limit: 5})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAListThatIsTooLargeIsRefusedAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, asof.Options{Bytes: 1 << 20})
		w.fill(t, 8000)
		w.check(t, domain.Listing{App: "app", AsOf: 100, Limit: 50})
		if _, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: w.last()}); !errors.Is(err, asof.CodeTooLarge) {
			t.Errorf("a list that is too large: %v", err)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if names := w.files(t); len(names) > 0 {
			t.Errorf("there are %q", names)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestADiskWithoutRoomIsLeftAlone(t *testing.T) {
	w := newWorld(t, asof.Options{Spare: 1 << 60, Wait: patience})
	w.fill(t, 20)
	if _, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: w.last()}); !errors.Is(err, asof.CodeTooLarge) {
		t.Errorf("on a full disk: %v", err)
	}
}

func TestNoFileOutlivesTheProcess(t *testing.T) {
	w := newWorld(t, asof.Options{Wait: patience})
	w.fill(t, 20)
	w.check(t, domain.Listing{App: "app", AsOf: 9, Limit: 5})
	for _, name := range w.files(t) {
		info, err := os.Stat(filepath.Join(w.folder, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if names := w.files(t); len(names) > 0 {
		t.Errorf("when it is closed there are %q", names)
	}
	if _, err := w.Page(t.Context(), domain.Listing{App: "app", AsOf: 9}); !errors.Is(err, asof.ErrClosed) {
		t.Errorf("when it is closed a read is answered by %v", err)
	}
	if err := os.MkdirAll(w.folder, 0o700); err != nil { // as a process leaves it that is killed
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.folder, "7.db-wal"), []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.open(t, asof.Options{Wait: patience})
	if names := w.files(t); len(names) > 0 {
		t.Errorf("after a start there are %q", names)
	}
}

func TestAReadEndsWithItsContextAndTheListIsBuiltOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, asof.Options{})
		w.fill(t, 20)
		on := make(chan struct{})
		w.reading = func(eventstore.Position) error { <-on; return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Page(ctx, domain.Listing{App: "app", AsOf: 9}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the read ended with %v", err)
		}
		close(on)
		synctest.Wait()
		w.reading = func(eventstore.Position) error { t.Error("it is built again"); return nil }
		w.check(t, domain.Listing{App: "app", AsOf: 9, Limit: 5})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
