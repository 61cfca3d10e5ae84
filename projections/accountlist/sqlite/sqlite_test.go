package sqlite_test

import (
	"path/filepath"
	"testing"

	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

func TestListKeepsThePromisesOfAccountlist(t *testing.T) {
	listtest.Run(t, func(t testing.TB, c *codec.Codec) accountlist.List {
		return open(t, filepath.Join(t.TempDir(), "list.db"), c)
	})
}

// open opens a list that the end of the test closes.
func open(t testing.TB, path string, c *codec.Codec) *sqlite.List {
	t.Helper()
	l, err := sqlite.Open(t.Context(), path, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the list: %v", err)
		}
	})
	return l
}
