package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
)

func TestDeletedTextIsErasedThoughTheListIsNeverIdle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.db")
	w := listtest.NewWorld(t, func(t testing.TB, c *codec.Codec) accountlist.List {
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
	l := w.List.(*List)
	w.Apply(t, listtest.NewApp("app")...)
	w.Apply(t, listtest.NewAccount("app", "ann", "a-secret-name", 0))
	w.Apply(t, domain.AccountDeleted{App: "app", UserID: "ann", At: listtest.Epoch})
	if wait := time.Until(l.erasure.after); !l.erasure.due || wait > eraseWithin {
		t.Fatalf("erasure is %+v", l.erasure)
	}
	found := func() bool {
		wal, err := os.ReadFile(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(append(wal, file...), []byte("a-secret-name"))
	}
	if !found() {
		t.Fatal("the test finds no nickname that is there")
	}
	l.erasure.after, l.erasure.rest = time.Now(), time.Time{} // as if the time had passed
	w.Apply(t, listtest.NewAccount("app", "bob", "Bob", 0))
	if found() || l.erasure.due {
		t.Error("the nickname is still in a file")
	}
}
