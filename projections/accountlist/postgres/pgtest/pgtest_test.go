package pgtest_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"rollcall/projections/accountlist/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// count connects to a database and returns how many tables of the test it has.
func count(ctx context.Context, url string) (n int, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	err = conn.QueryRow(ctx, "SELECT count(*) FROM pg_class WHERE relname = 'mark'").Scan(&n)
	return n, err
}

func mark(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE mark (x int)"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	first, second := pgtest.Database(t), pgtest.Database(t)
	mark(t, first)
	for url, want := range map[string]int{first: 1, second: 0} {
		if n, err := count(t.Context(), url); err != nil || n != want {
			t.Errorf("the database has %d tables of the test (%v), want %d", n, err, want)
		}
	}
}

func TestAServerComesBackAtItsAddressAndLeavesNothing(t *testing.T) {
	s, err := pgtest.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	url := s.URL("postgres")
	mark(t, url)
	for what, stop := range map[string]func() error{"paused": s.Pause, "crashed": s.Crash} {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := count(t.Context(), url); err == nil {
			t.Errorf("a %s server answers", what)
		}
		if err := s.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := count(t.Context(), url); err != nil || n != 1 {
			t.Errorf("after it was %s the server has %d tables (%v), want 1", what, n, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Folder()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of a closed server: %v", err)
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	if _, err := pgtest.Start(t.Context(), "", "shared_buffers=nonsense"); err == nil {
		t.Error("a server starts with a setting that makes no sense")
	}
}
