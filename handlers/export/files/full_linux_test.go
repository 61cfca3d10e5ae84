package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oklog/ulid/v2"

	"rollcall/handlers/export"
)

// fill makes the file of an upload one that has no space left: what is written to it from now on gets the real error of
// the system.
func fill(t *testing.T, up export.Upload) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	raw, err := up.(*upload).file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := errors.Join(raw.Control(func(fd uintptr) { failed = syscall.Dup3(int(full.Fd()), int(fd), syscall.O_CLOEXEC) }), failed); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderWithoutSpaceSaysSoAndKeepsNothingHalfWritten(t *testing.T) {
	for name, end := range map[string]func(*testing.T, export.Upload){
		"when it is aborted": func(_ *testing.T, up export.Upload) { up.Abort() },
		"when it is committed all the same": func(t *testing.T, up export.Upload) {
			if err := up.Commit(); !errors.Is(err, export.ErrStoreFull) {
				t.Errorf("a commit gives %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "exports")
			s, err := Open(t.Context(), Config{URL: "file://" + folder, Secret: make([]byte, MinSecretBytes), BaseURL: "http://127.0.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			up, err := s.Create(t.Context(), export.FileName{App: "shop", Job: strings.Repeat("0", ulid.EncodedSize), Name: "a.csv"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := up.Write([]byte("the first half")); err != nil {
				t.Fatal(err)
			}
			fill(t, up)
			if _, err := up.Write([]byte("the second half")); !errors.Is(err, export.ErrStoreFull) {
				t.Errorf("a write gives %v", err)
			}
			end(t, up)
			if err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					t.Errorf("left is %s", path)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
