package keyfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"rollcall/eventstore/keyfile"
)

// holds fails the test unless a file holds a text.
func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := keyfile.Read(path, errors.New("unusable")); got != want || err != nil {
		t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), got, err, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyThatIsReplacedIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write(t, path, "first")
	write(t, path+".new", "half of an attempt bef")
	if err := keyfile.Replace(path, "second"); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "second")
	holds(t, keyfile.Old(path), "first")
	if err := keyfile.Replace(path, "third"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("while another replacement goes on: %v, want fs.ErrExist", err)
	}
	holds(t, path, "second")
	holds(t, keyfile.Old(path), "first")
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that is of no use is left: %v", err)
	}
}

func TestAReplacementThatACrashInterruptedIsRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write(t, path, "first")
	if err := os.Link(path, keyfile.Old(path)); err != nil { // and no more
		t.Fatal(err)
	}
	if err := keyfile.Replace(path, "second"); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "second")
	holds(t, keyfile.Old(path), "first")
}
