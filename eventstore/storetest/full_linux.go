package storetest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// FillDisk makes the open files of a folder whose names end in ext ones that have no space left: what this process writes to them from now on gets the real
// error of the system.
func FillDisk(t testing.TB, folder, ext string) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close() //nolint:errcheck // nothing was written
	const open = "/proc/self/fd"
	all, err := os.ReadDir(open)
	if err != nil {
		t.Fatal(err)
	}
	filled := 0
	for _, f := range all {
		name, err := os.Readlink(filepath.Join(open, f.Name()))
		if err != nil || !strings.HasPrefix(name, folder) || filepath.Ext(name) != ext {
			continue // or it was closed meanwhile
		}
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Dup3(int(full.Fd()), fd, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		filled++
	}
	if filled == 0 {
		t.Fatalf("no file that ends in %s is open in %s", ext, folder)
	}
}
