package service_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// fill makes the open files of a log ones that have no space left: what is written to them from now on gets the real error of the system.
func fill(t *testing.T, folder string) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	const open = "/proc/self/fd"
	all, err := os.ReadDir(open)
	if err != nil {
		t.Fatal(err)
	}
	filled := 0
	for _, f := range all {
		name, err := os.Readlink(filepath.Join(open, f.Name()))
		if err != nil || !strings.HasPrefix(name, folder) || filepath.Ext(name) != ".blk" {
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
		t.Fatal("no file of the log is open")
	}
}

func TestALogInTheProcessWhoseDiskIsFullIsSaidNotToTakeEventsUntilTheRestart(t *testing.T) {
	cfg := config(t.TempDir())
	s := start(t, cfg)
	write(t, s, "demo")
	if r := askReady(t, s); r.HTTP != http.StatusOK {
		t.Fatalf("readyz answers %d %s", r.HTTP, r.Detail)
	}
	fill(t, filepath.Join(cfg.Data, "log", "jetstream"))
	var commands sync.WaitGroup
	for _, user := range []string{"ann", "bob", "eve"} {
		commands.Go(func() {
			if _, err := api(t, s).CreateAccount(t.Context(), "demo", map[string]any{"user_id": user}); !unavailable(err) {
				t.Errorf("a command is answered by %v", err)
			}
		})
	}
	commands.Wait()
	if r := askReady(t, s); r.HTTP != http.StatusServiceUnavailable || !strings.Contains(r.Detail, "full") {
		t.Errorf("readyz answers %d %s", r.HTTP, r.Detail)
	}
	stop(t, s)
	s = start(t, cfg)
	defer stop(t, s)
	if r := askReady(t, s); r.HTTP != http.StatusOK {
		t.Errorf("readyz answers %d %s after the restart", r.HTTP, r.Detail)
	}
	if _, err := api(t, s).CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann"}); err != nil {
		t.Error(err)
	}
}
