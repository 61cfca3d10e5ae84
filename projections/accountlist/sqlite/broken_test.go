package sqlite_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"rollcall/domain"
	"rollcall/projections"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

// wantBroken checks that an error tells of a damaged file and what to do about it.
func wantBroken(t *testing.T, what, path string, err error) {
	t.Helper()
	if !errors.Is(err, projections.ErrBroken) || !strings.Contains(err.Error(), path) || strings.Count(err.Error(), "-wal") != 1 {
		t.Errorf("%s: %v, want that %s is damaged and what to do", what, err, path)
	}
}

func TestADamagedFileIsToldFromTroubleThatPasses(t *testing.T) {
	w, path := fileWorld(t)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(content); i++ { // all but the first page
		content[i] = 0xff
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := sqlite.Open(t.Context(), path, w.Codec)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Checkpoint(t.Context())
	wantBroken(t, "checkpoint", path, err)
	err = l.Apply(t.Context(), w.Position, w.Encode(t, w.Position, listtest.NewAccount("app", "bob", "Bob", 0)))
	wantBroken(t, "apply", path, err)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestAFileWithADamagedHeaderIsRefused(t *testing.T) {
	w, path := fileWorld(t)
	if err := os.WriteFile(path, []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(t.Context(), path, w.Codec)
	wantBroken(t, "open", path, err)
}

func TestADamagedSearchIndexIsToldFromTroubleThatPasses(t *testing.T) {
	for what, damage := range map[string]string{
		"a posting of one byte":        "UPDATE postings SET ids = x'01'",
		"a posting of a row not there": "DELETE FROM accounts",
	} {
		t.Run(what, func(t *testing.T) {
			w, path := fileWorld(t)
			script(t, path, damage)
			l := open(t, path, w.Codec)
			_, err := l.Page(t.Context(), domain.Listing{App: "app", Filter: domain.Filter{Text: "ann"}})
			wantBroken(t, "page", path, err)
		})
	}
	w, path := fileWorld(t)
	script(t, path, "UPDATE postings SET ids = x'01'")
	l := open(t, path, w.Codec)
	err := l.Apply(t.Context(), w.Position, w.Encode(t, w.Position, listtest.NewAccount("app", "anna", "Ann", 0)))
	wantBroken(t, "apply", path, err)
}
