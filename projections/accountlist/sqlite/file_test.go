package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	zsqlite "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

// script runs SQL on a file that no list has open.
func script(t *testing.T, path, sql string) {
	t.Helper()
	conn, err := zsqlite.OpenConn(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := sqlitex.ExecuteScript(conn, sql, nil); err != nil {
		t.Fatal(err)
	}
}

// fileWorld returns a world with one account in a file, whose list is closed.
func fileWorld(t *testing.T) (w *listtest.World, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "the list ?#%.db") // nothing in a path has a meaning
	w = listtest.NewWorld(t, func(t testing.TB, c *codec.Codec) accountlist.List { return open(t, path, c) })
	w.Apply(t, listtest.NewApp("app")...)
	w.Apply(t, listtest.NewAccount("app", "ann", "Ann", 0))
	if err := w.List.(*sqlite.List).Close(); err != nil {
		t.Fatal(err)
	}
	return w, path
}

func checkpoint(t *testing.T, l *sqlite.List) eventstore.Position {
	t.Helper()
	position, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return position
}

func TestAFileIsOpenedAgainWhereItWasLeft(t *testing.T) {
	w, path := fileWorld(t)
	l := open(t, path, w.Codec)
	if got := checkpoint(t, l); got != w.Position {
		t.Errorf("checkpoint is %d, want %d", got, w.Position)
	}
	w.List = l
	for _, listing := range listtest.Listings("app", "an", 10) {
		w.CheckPages(t, listing)
	}
}

func TestAFileOfAnotherVersionIsBuiltAgainFromPositionZero(t *testing.T) {
	w, path := fileWorld(t)
	script(t, path, "PRAGMA user_version=99; DROP TABLE accounts;")
	l := open(t, path, w.Codec)
	if got := checkpoint(t, l); got != 0 {
		t.Errorf("checkpoint is %d, want 0", got)
	}
}

func TestAFileThatIsNotAnAccountListIsRefusedAndKept(t *testing.T) {
	w, path := fileWorld(t)
	other := filepath.Join(t.TempDir(), "other.db")
	script(t, other, "CREATE TABLE precious (x); INSERT INTO precious VALUES (1);")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{other, path, t.TempDir()} {
		before, _ := os.ReadFile(path) //nolint:errcheck // a folder cannot be read
		l, err := sqlite.Open(t.Context(), path, w.Codec)
		if err == nil {
			t.Errorf("%s is opened", path)
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if after, _ := os.ReadFile(path); string(after) != string(before) { //nolint:errcheck // as above
			t.Errorf("%s has been changed", path)
		}
	}
}

func TestAListThatIsClosedRefusesEverything(t *testing.T) {
	w, _ := fileWorld(t)
	l := w.List.(*sqlite.List)
	if _, err := l.Page(t.Context(), domain.Listing{App: "app"}); err == nil {
		t.Error("a page is answered")
	}
	if err := l.Apply(t.Context(), w.Position, w.Encode(t, w.Position, listtest.NewAccount("app", "bob", "", 0))); err == nil {
		t.Error("events are applied")
	}
	if err := l.Idle(t.Context()); err == nil {
		t.Error("idle does something")
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// The child of TestAKilledWriterLosesNoBatchInPart applies batches to the file
// that the variable names, until it is killed.
const childVariable = "ROLLCALL_TEST_LIST"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		fmt.Fprintln(os.Stderr, applyForever(path))
		os.Exit(1)
	}
	if err := listtest.Draw(40); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const childBatch = 10

func applyForever(path string) error {
	w := &listtest.World{Codec: codec.New(&listtest.Sealer{})}
	l, err := sqlite.Open(context.Background(), path, w.Codec)
	if err != nil {
		return err
	}
	t := childT{}
	if err := l.Apply(t.Context(), 0, w.Encode(t, 0, listtest.NewApp("app")...)); err != nil {
		return err
	}
	for position := eventstore.Position(2); ; position += childBatch {
		var events []domain.Event
		for i := range childBatch {
			n := int(position) + i
			events = append(events, listtest.NewAccount("app", domain.UserID(fmt.Sprintf("u%08d", n)), "이름", time.Duration(n)))
		}
		if err := l.Apply(t.Context(), position, w.Encode(t, position, events...)); err != nil {
			return err
		}
		fmt.Println(position + childBatch)
	}
}

// childT stands in for a test in the child, where there is none.
type childT struct{}

func (childT) Helper()                   {}
func (childT) Fatalf(f string, a ...any) { fmt.Fprintf(os.Stderr, f, a...); os.Exit(1) }
func (childT) Context() context.Context  { return context.Background() }

func TestAKilledWriterLosesNoBatchInPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.db")
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged eventstore.Position
	for acknowledged < 2000 {
		if _, err := fmt.Fscanln(out, &acknowledged); err != nil {
			t.Fatal(err)
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed

	l := open(t, path, codec.New(&listtest.Sealer{}))
	got := checkpoint(t, l)
	if got < acknowledged || (got-2)%childBatch != 0 {
		t.Errorf("checkpoint is %d, %d was told to be applied", got, acknowledged)
	}
	all, err := l.Page(t.Context(), domain.Listing{App: "app", Limit: 1})
	if err != nil || all.Total != int(got)-2 {
		t.Errorf("%d accounts at checkpoint %d (%v)", all.Total, got, err)
	}
	page, err := l.Page(t.Context(), domain.Listing{App: "app", Order: domain.Descending, Filter: domain.Filter{Text: "이름"}, Limit: 1})
	if err != nil || page.Total != all.Total || len(page.Accounts) != 1 || page.Accounts[0].Revision != uint64(got) {
		t.Errorf("page is %+v (%v), want the account of position %d", page, err, got)
	}
}

func TestAScrubbedFileIsSound(t *testing.T) {
	w, dir := erasureWorld(t, 1500)
	for i := 0; i+20 <= 1500; i += 20 {
		w.Apply(t, deleted(i), deleted(i+3), deleted(i+4), deleted(i+11))
	}
	idle(t, w)
	if err := w.List.(*sqlite.List).Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := zsqlite.OpenConn(filepath.Join(dir, "list.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	stmt, _, err := conn.PrepareTransient("PRAGMA integrity_check")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := sqlitex.ResultText(stmt)
	if err != nil || answer != "ok" {
		t.Errorf("integrity check says %q (%v)", answer, err)
	}
	if err := stmt.Finalize(); err != nil {
		t.Error(err)
	}
}
