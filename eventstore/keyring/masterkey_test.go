package keyring_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rollcall/eventstore/keyring"
)

func TestCreatedMasterKeyIsLoadedAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	made, err := keyring.CreateMasterKey(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := keyring.LoadMasterKey(path)
	if err != nil || loaded != made || loaded.ID() != made.ID() || made.IsZero() {
		t.Fatalf("loaded %v, %v, want %v", loaded, err, made)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v, want 0600", info.Mode(), err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, ".*key*")); err != nil || len(names) > 0 {
		t.Errorf("left behind %v, %v", names, err)
	}
}

func TestCreateMasterKeyNeverReplacesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		made []keyring.MasterKey
	)
	for range 16 {
		wg.Go(func() {
			m, err := keyring.CreateMasterKey(path)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, m)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Errorf("create: %v, want fs.ErrExist", err)
			}
		})
	}
	wg.Wait()
	if len(made) != 1 {
		t.Fatalf("%d of 16 callers created the key, want 1", len(made))
	}
	if loaded, err := keyring.LoadMasterKey(path); err != nil || loaded != made[0] {
		t.Errorf("the file holds %v, %v, want %v", loaded, err, made[0])
	}
}

func TestLoadMasterKeyRefusesAFileThatOthersMayAccess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	if _, err := keyring.CreateMasterKey(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keyring.LoadMasterKey(path); !errors.Is(err, keyring.ErrMasterKey) {
			t.Errorf("mode %v: %v, want ErrMasterKey", mode, err)
		}
	}
}

func TestLoadMasterKeyRefusesWhatIsNoKey(t *testing.T) {
	dir := t.TempDir()
	if _, err := keyring.LoadMasterKey(dir); !errors.Is(err, keyring.ErrMasterKey) {
		t.Errorf("a folder: %v, want ErrMasterKey", err)
	}
	if _, err := keyring.LoadMasterKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want fs.ErrNotExist", err)
	}
	path := filepath.Join(dir, "short")
	if err := os.WriteFile(path, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.LoadMasterKey(path); !errors.Is(err, keyring.ErrMasterKey) {
		t.Errorf("half a key: %v, want ErrMasterKey", err)
	}
}

func TestParseMasterKey(t *testing.T) {
	good := strings.Repeat("a1", 32)
	if m, err := keyring.ParseMasterKey(" " + good + "\n"); err != nil || m.IsZero() {
		t.Errorf("parse: %v, %v", m, err)
	}
	for name, text := range map[string]string{
		"empty": "", "short": good[:62], "long": good + "a1", "not hexadecimal": strings.Repeat("zz", 32), "all zero": strings.Repeat("0", 64),
	} {
		m, err := keyring.ParseMasterKey(text)
		if !errors.Is(err, keyring.ErrMasterKey) || !m.IsZero() {
			t.Errorf("%s: %v, %v, want ErrMasterKey", name, m, err)
		}
		if len(text) > 8 && strings.Contains(err.Error(), text[:8]) {
			t.Errorf("%s: the error repeats the text: %v", name, err)
		}
	}
}

func TestMasterKeyIsNeverPrinted(t *testing.T) {
	secret := bytes.Repeat([]byte{0xa7}, 32)
	m, err := keyring.ParseMasterKey(hex.EncodeToString(secret))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	held := struct {
		M keyring.MasterKey
		P *keyring.MasterKey
	}{m, &m}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U"} {
		fmt.Fprintf(&out, verb+"\n", m)
		fmt.Fprintf(&out, verb+"\n", &m)
		fmt.Fprintf(&out, verb+"\n", held)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("key", "m", m, "held", held)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("key", "m", m, "held", held)
	if err := json.NewEncoder(&out).Encode(held); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"a7a7", "A7A7", "167 167", "167,167", "0xa7", string(secret[:4]), "247 247", "10100111 10100111", "p6en"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("printed %q in\n%s", form, out.String())
		}
	}
	if !strings.Contains(out.String(), m.ID()) {
		t.Errorf("the id %s does not show", m.ID())
	}
}
