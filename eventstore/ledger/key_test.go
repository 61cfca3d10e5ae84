package ledger_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"rollcall/eventstore/ledger"
)

func TestOfThoseWhoStartTogetherOneMakesTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.key")
	var wg sync.WaitGroup
	var public [16]string
	for i := range public {
		wg.Go(func() {
			key, err := ledger.LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
			}
			public[i] = key.Public()
		})
	}
	wg.Wait()
	kept, err := ledger.LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range public {
		if p != kept.Public() {
			t.Errorf("one has the key %s, the file holds %s", p, kept.Public())
		}
	}
}

func TestLoadKeyRefusesAFileThatIsNotItsOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.key")
	if _, err := ledger.LoadKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want fs.ErrNotExist", err)
	}
	if _, err := ledger.LoadKey(dir); !errors.Is(err, ledger.ErrKey) {
		t.Errorf("a folder: %v, want ErrKey", err)
	}
	if _, err := ledger.LoadOrCreateKey(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(string) (ledger.Key, error){ledger.LoadKey, ledger.LoadOrCreateKey} {
		if _, err := read(path); !errors.Is(err, ledger.ErrKey) {
			t.Errorf("mode 0640: %v, want ErrKey", err)
		}
	}
}
