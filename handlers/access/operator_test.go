package access_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rollcall/handlers/access"
)

func TestTheOperatorsTokenIsMadeOnceAndThenLoaded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "operator.token")
	token, created, err := access.LoadOrCreateOperatorToken(path)
	if err != nil || !created {
		t.Fatalf("first start: %v, created %v", err, created)
	}
	if err := access.CheckOperatorToken(token); err != nil {
		t.Errorf("the token that was made: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, created, err := access.LoadOrCreateOperatorToken(path)
	if err != nil || created || again != token {
		t.Errorf("second start: %q, %v, %v, want %q", again, created, err, token)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func TestProcessesThatStartTogetherGetTheSameToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "operator.token")
	var wg sync.WaitGroup
	var tokens [16]string
	var made [16]bool
	for i := range tokens {
		wg.Go(func() {
			var err error
			if tokens[i], made[i], err = access.LoadOrCreateOperatorToken(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	creators := 0
	for i := range tokens {
		if tokens[i] == "" || tokens[i] != tokens[0] {
			t.Errorf("token %d is %q, the first %q", i, tokens[i], tokens[0])
		}
		if made[i] {
			creators++
		}
	}
	if creators != 1 {
		t.Errorf("%d created it", creators)
	}
}

func TestAFileThatOthersCanReadIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666} {
		path := filepath.Join(t.TempDir(), "operator.token")
		if err := os.WriteFile(path, []byte(access.CreateOperatorToken()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if token, _, err := access.LoadOrCreateOperatorToken(path); !errors.Is(err, access.ErrExposed) || token != "" {
			t.Errorf("%v: %q, %v", mode, token, err)
		}
	}
}

func TestAFileWithoutATokenIsRefusedAndKept(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "short": "secret\n", "two lines": strings.Repeat("a", 20) + "\n" + strings.Repeat("b", 20) + "\n",
		"spaces": strings.Repeat("a b ", 10), "long": strings.Repeat("a", 1<<20), "not ASCII": strings.Repeat("é", 20),
	} {
		path := filepath.Join(t.TempDir(), "operator.token")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := access.LoadOrCreateOperatorToken(path); !errors.Is(err, access.ErrWeakToken) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if kept, err := os.ReadFile(path); err != nil || string(kept) != content {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "operator.token")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := access.LoadOrCreateOperatorToken(dir); !errors.Is(err, access.ErrWeakToken) {
		t.Errorf("a folder: %v", err)
	}
}

func TestAFolderThatIsNotThereIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "operator.token")
	if token, created, err := access.LoadOrCreateOperatorToken(path); !errors.Is(err, os.ErrNotExist) || token != "" || created {
		t.Errorf("got %q, %v, %v", token, created, err)
	}
}
