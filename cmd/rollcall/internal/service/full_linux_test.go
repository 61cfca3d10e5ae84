package service_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rollcall/eventstore/storetest"
)

func TestALogInTheProcessWhoseDiskIsFullIsSaidNotToTakeEventsUntilTheRestart(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	s := start(t, cfg)
	write(t, s, "demo")
	if r := askReady(t, s); r.HTTP != http.StatusOK {
		t.Fatalf("readyz answers %d %s", r.HTTP, r.Detail)
	}
	storetest.FillDisk(t, filepath.Join(cfg.Data, "log", "jetstream"), ".blk")
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
