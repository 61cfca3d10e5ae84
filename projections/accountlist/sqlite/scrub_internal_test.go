package sqlite

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rollcall/projections/accountlist/listtest"
)

// emptyFile returns the path of a database with empty tables that no one has open, and its page size.
func emptyFile(t *testing.T) (path string, pageSize int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "list.db")
	conn, err := openWriter(t.Context(), path, lasting)
	if err != nil {
		t.Fatal(err)
	}
	pageSize, err = pragma(conn, "page_size")
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	return path, pageSize
}

func TestAScrubberCoversItsPartAndThePagesNamed(t *testing.T) {
	path, pageSize := emptyFile(t)
	s, err := openScrubber(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	s.turn = 2 * pageSize
	middle := pageSize / 2       // of an empty page, where nothing is allocated
	for page := range int64(6) { // not the first ones, which are not empty
		if _, err := s.file.WriteAt([]byte("left over"), (page+2)*pageSize+middle); err != nil {
			t.Fatal(err)
		}
	}
	next, err := s.scrub(t.Context(), 5*pageSize, []uint32{3, 8, 5})
	if err != nil || next != 7*pageSize {
		t.Fatalf("the next part begins at %d (%v)", next, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var dirty []int
	for page := 3; page <= 8; page++ { // as SQLite numbers them
		if bytes.Contains(content[int64(page-1)*pageSize:][:pageSize], []byte("left over")) {
			dirty = append(dirty, page)
		}
	}
	if want := []int{4, 8}; !slices.Equal(dirty, want) {
		t.Errorf("pages %v are dirty, want %v", dirty, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.scrub(ctx, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("scrub without a context ends with %v", err)
	}
}

func TestThePagesThatABatchWroteAreReadFromTheWriteAheadLog(t *testing.T) {
	w, l, path := newList(t)
	w.Apply(t, listtest.NewApp("app")...)
	for !l.idle(t) {
	}
	if pages, err := walPages(path + "-wal"); err != nil || len(pages) > 0 {
		t.Errorf("an empty log has pages %v (%v)", pages, err)
	}
	w.Apply(t, listtest.NewAccount("app", "ann", "Ann", 0))
	pages, err := walPages(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"progress", "apps", "accounts", "accounts_nickname"} {
		root, err := count(l.writer, "SELECT rootpage FROM sqlite_schema WHERE name = ?1", table)
		if err != nil || !slices.Contains(pages, uint32(root)) {
			t.Errorf("page %d of %s is missing in %v (%v)", root, table, pages, err)
		}
	}
}
