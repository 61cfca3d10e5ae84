package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/projections"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

// endlessRows are rows that never end, until stop.
type endlessRows struct {
	mu      sync.Mutex
	next    int
	stopped bool
	buf     bytes.Buffer
}

func (r *endlessRows) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return 0, io.EOF
	}
	for r.buf.Len() < len(p) {
		r.buf.WriteString(row(r.next))
		r.next++
	}
	return r.buf.Read(p)
}

func (r *endlessRows) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

// interrupted begins an import without end, and after some rows calls interrupt. It returns the rows
// that were reported as created, and how the import ended.
func interrupted(t *testing.T, api *client.Client, after int, interrupt func()) (accepted []string, err error) {
	t.Helper()
	rows := &endlessRows{}
	defer rows.stop()
	var once sync.Once
	err = api.ImportAccounts(t.Context(), "demo", client.Import{Mode: "create", ContentType: "application/x-ndjson"}, rows, func(r client.RowResult) error {
		if p := r.Problem(); p != nil {
			if p.Refused() {
				return p
			}
			return nil
		}
		accepted = append(accepted, r.UserID)
		if len(accepted) == after {
			once.Do(interrupt)
		}
		return nil
	})
	return accepted, err
}

// present fails the test unless every account is in the list, once.
func present(t *testing.T, api *client.Client, ids []string) {
	t.Helper()
	times := make(map[string]int)
	for page, err := range api.Pages(t.Context(), "demo", client.Listing{Sort: "user_id", Limit: 1000}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Accounts {
			times[a.UserID]++
		}
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("account %s is %d times in the list", id, n)
		}
	}
	for _, id := range ids {
		if times[id] == 0 {
			t.Errorf("account %s was acknowledged and is not in the list", id)
		}
	}
}

// caughtUp waits until a service that was started on a log has read all of it.
func caughtUp(t *testing.T, p *process) {
	t.Helper()
	eventually(t, "the service is ready", func() error {
		if code, body := get(t, p.url+"/readyz"); code != 200 {
			return fmt.Errorf("/readyz says %d: %s", code, body)
		}
		return nil
	})
}

func TestSIGTERMDuringAnImportLosesNothingThatWasAccepted(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := serve(t, data)
	api := p.client(t)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	const after = 300
	accepted, err := interrupted(t, api, after, func() {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	if !errors.Is(err, client.ErrBrokenOff) {
		t.Errorf("the import ended with %v, want %v", err, client.ErrBrokenOff)
	}
	var problem *client.Problem
	if !errors.As(err, &problem) || problem.Code != "stopping" {
		t.Errorf("the import ended with %v, want the code stopping", err)
	}
	if code := p.wait(t); code != 0 {
		t.Errorf("serve ended with status %d, want 0: %s", code, p.errors.String())
	}
	if len(accepted) < after {
		t.Fatalf("only %d rows were accepted", len(accepted))
	}
	again := serve(t, data)
	caughtUp(t, again)
	present(t, again.client(t), accepted)
	again.stop(t)
	compareWithReplay(t, data)
}

func TestKillDuringAnImportLosesNothingAndTheSameImportAgainCompletesIt(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := serve(t, data)
	api := p.client(t)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	const after, all = 300, 2000
	accepted, err := interrupted(t, api, after, func() {
		if err := p.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		t.Fatal("the import ended as if nothing had happened")
	}
	p.wait(t)

	p = serve(t, data)
	caughtUp(t, p)
	api = p.client(t)
	present(t, api, accepted)

	// The rows that the killed import had sent, and more.
	n := max(all, len(accepted)+after)
	var rows strings.Builder
	want := make([]string, n)
	for i := range n {
		rows.WriteString(row(i))
		want[i] = fmt.Sprintf("u%05d", i)
	}
	results := 0
	err = api.ImportAccounts(t.Context(), "demo", client.Import{Mode: "upsert", ContentType: "application/x-ndjson"}, strings.NewReader(rows.String()), func(r client.RowResult) error {
		results++
		if p := r.Problem(); p != nil {
			return p
		}
		return nil
	})
	if err != nil || results != n {
		t.Fatalf("the same import again told of %d of %d rows: %v", results, n, err)
	}
	present(t, api, want)
	p.stop(t)
	compareWithReplay(t, data)
}

// offline opens the log of a stopped service.
func offline(t *testing.T, data string) (*jetstream.Store, *keyring.Keyring, natsjs.JetStream) {
	t.Helper()
	server, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: filepath.Join(data, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	store, err := server.Open(t.Context(), nc, jetstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	master, err := keyring.LoadMasterKey(filepath.Join(data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Open(t.Context(), js, master, keyring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	return store, keys, js
}

// compareWithReplay builds a new list from the log of a stopped service and compares it, account by
// account, with the list that the service built.
func compareWithReplay(t *testing.T, data string) {
	t.Helper()
	store, keys, _ := offline(t, data)
	last, err := store.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	built := snapshot(t, store, codec.New(keys), filepath.Join(data, "list", "accounts.db"), last)
	fresh := snapshot(t, store, codec.New(keys), filepath.Join(t.TempDir(), "fresh.db"), last)
	if len(built) == 0 || len(built) != len(fresh) {
		t.Fatalf("the list has %d accounts, a replay of the log %d", len(built), len(fresh))
	}
	for i := range built {
		if built[i] != fresh[i] {
			t.Fatalf("account %d is\n%+v\nin the list and\n%+v\nin a replay of the log", i, built[i], fresh[i])
		}
	}
}

// snapshot brings a list up to a position and returns its accounts.
func snapshot(t *testing.T, store *jetstream.Store, c *codec.Codec, path string, until eventstore.Position) []domain.Account {
	t.Helper()
	list, err := sqlite.Open(t.Context(), path, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := list.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	runner := projections.NewRunner(store, list)
	var running sync.WaitGroup
	running.Go(func() {
		if err := runner.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()
	waiting, done := context.WithTimeout(ctx, patience)
	defer done()
	if err := runner.WaitFor(waiting, until); err != nil {
		t.Fatal(err)
	}
	accounts, position, err := listtest.All(t.Context(), list, "demo")
	if err != nil || position != uint64(until) {
		t.Fatalf("the list is at position %d, want %d: %v", position, until, err)
	}
	return accounts
}
