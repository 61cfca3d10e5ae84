package service_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore"
	"rollcall/eventstore/ledger"
)

// signedNow returns a checkpoint that covers the log of a service, and its key.
func signedNow(t *testing.T, s *service.Service) (ledger.Checkpoint, string) {
	t.Helper()
	c, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	key, err := c.LedgerKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := c.Checkpoint(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := ledger.OpenCheckpoint(signed, key)
	if err != nil {
		t.Fatal(err)
	}
	return checkpoint, key
}

func TestALogFromBeforeTheLedgerGetsOneAndALostOneIsBuiltAgainAsItWas(t *testing.T) {
	data := t.TempDir()
	s := start(t, config(data))
	write(t, s, "demo")
	write(t, s, "other")
	before, key := signedNow(t, s)
	stop(t, s)
	if err := os.RemoveAll(filepath.Join(data, "ledger")); err != nil {
		t.Fatal(err)
	}
	s = start(t, config(data))
	after, again := signedNow(t, s)
	if after != before || again != key || before.Size == 0 {
		t.Errorf("the ledger is %+v by %s, was %+v by %s", after, again, before, key)
	}
	stop(t, s)
}

func TestAStopSignsAllThatWasWritten(t *testing.T) {
	data := t.TempDir()
	s := start(t, config(data))
	write(t, s, "demo")
	stop(t, s)
	b, err := os.ReadFile(filepath.Join(data, "ledger", "size"))
	if err != nil || string(b) != "2\n" { // the application and its roster
		t.Errorf("the ledger has size %q (%v), the log 2 events", b, err)
	}
}

func TestALedgerThatIsDamagedIsRefusedByItsName(t *testing.T) {
	data := t.TempDir()
	s := start(t, config(data))
	write(t, s, "demo")
	stop(t, s)
	path := filepath.Join(data, "ledger", "level-0")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = service.Start(t.Context(), config(data))
	if !errors.Is(err, ledger.ErrBroken) || errors.Is(err, eventstore.ErrDamaged) || !strings.Contains(err.Error(), filepath.Join(data, "ledger")) {
		t.Fatalf("start: %v; want that the ledger is damaged", err)
	}
	if err := os.RemoveAll(filepath.Join(data, "ledger")); err != nil { // as the error says
		t.Fatal(err)
	}
	s = start(t, config(data))
	if c, _ := signedNow(t, s); c.Size != 2 {
		t.Errorf("the ledger that was built again is %+v", c)
	}
	stop(t, s)
}

func TestAKeyOfTheLedgerThatIsMissingIsNotReplacedAndOneThatWasIsWarnedOf(t *testing.T) {
	data := t.TempDir()
	s := start(t, config(data))
	write(t, s, "demo")
	before, _ := signedNow(t, s)
	stop(t, s)
	path := filepath.Join(data, "ledger.key")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := service.Start(t.Context(), config(data)); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), before.Origin) {
			t.Fatalf("start without the key: %v", err)
		}
	}
	_, text, err := ledger.NewKey()
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s = start(t, config(data))
	defer stop(t, s)
	after, key := signedNow(t, s)
	if after.Root != before.Root || after.Origin == before.Origin {
		t.Errorf("under a new key the checkpoint is %+v, was %+v", after, before)
	}
	resp, err := http.Get(s.URL() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), key) {
		t.Errorf("readyz does not warn of the key: %s", body)
	}
}
