package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
)

// get fetches a page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// running starts a service with the application demo.
func running(t *testing.T) (*process, *client.Client) {
	t.Helper()
	p := serve(t, filepath.Join(t.TempDir(), "data"))
	api := p.client(t)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	return p, api
}

func TestRefusedCommandsLeaveNothingBehind(t *testing.T) {
	p, api := running(t)
	create := func(id string) client.Account {
		t.Helper()
		a, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": id, "type": "normal"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	before := create("before")
	env := p.env()
	for what, args := range map[string][]string{
		"an account that exists":        {"accounts", "create", "before"},
		"a user id that is reserved":    {"accounts", "create", "@RBT#1"},
		"an unknown application":        {"accounts", "create", "x", "--app", "nowhere"},
		"a nickname that is too long":   {"accounts", "edit", "before", "--nickname", strings.Repeat("x", 501)},
		"a date that is none":           {"accounts", "edit", "before", "--birthday", "20230230"},
		"a revision that has passed":    {"accounts", "edit", "before", "--level", "1", "--if-revision", "1"},
		"an account that is not there":  {"accounts", "delete", "nobody"},
		"an application that exists":    {"apps", "create", "demo"},
		"an export of an unknown field": {"exports", "create", "--fields", "shoe_size"},
		"a token of an unknown role":    {"tokens", "create", "--role", "king", "--name", "x"},
		"a token that is not good":      {"accounts", "create", "y", "--token", "wrong"},
	} {
		code, out, errs := rollcall(t, env, "", args...)
		if code != exitRefused {
			t.Errorf("%s: status %d, want %d: %s%s", what, code, exitRefused, out, errs)
		}
		if strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: the error is not one line: %q", what, errs)
		}
	}
	if after := create("after"); after.Revision != before.Revision+1 {
		t.Errorf("the log went from position %d to %d; a refused command left something", before.Revision, after.Revision)
	}
}

// filesWith returns the files below a folder that hold some bytes.
func filesWith(t *testing.T, dir string, needle []byte) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var b []byte
		if err == nil && !d.IsDir() {
			b, err = os.ReadFile(path)
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // a service that runs has removed it, or renamed it, which is told again
				return nil
			}
			return err
		}
		if bytes.Contains(b, needle) {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wrappedKeys returns the blocks of keys as they are kept.
func wrappedKeys(t *testing.T, js natsjs.JetStream) (blocks [][]byte) {
	t.Helper()
	stream, err := js.Stream(t.Context(), "KEYS")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			continue // a block that was replaced is gone
		}
		blocks = append(blocks, m.Data)
	}
	return blocks
}

func TestADeletedAccountIsInNoFileOfTheDataFolder(t *testing.T) {
	t.Parallel()
	const nickname = "쉿, 비밀입니다 🤫"
	p, api := running(t)
	if _, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "secret", "type": "normal", "nickname": nickname}); err != nil {
		t.Fatal(err)
	}
	e, err := api.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	if e, err = api.WatchExport(t.Context(), "demo", e.ID, func(client.Export) error { return nil }); err != nil || e.Status != "completed" {
		t.Fatalf("the export is %s: %v", e.Status, err)
	}
	p.stop(t)

	// What is searched for is there before.
	if found := filesWith(t, p.data, []byte(nickname)); len(found) < 2 {
		t.Fatalf("the nickname is in %v, want the list and the export: the search would prove nothing", found)
	}
	var blocks [][]byte
	t.Run("with the log opened", func(t *testing.T) {
		_, _, js := offline(t, p.data)
		blocks = wrappedKeys(t, js)
	})
	inUse := 0
	for _, b := range blocks {
		inUse += len(filesWith(t, p.data, b))
	}
	if inUse == 0 {
		t.Fatal("no block of keys was found in the files: the search would prove nothing")
	}

	p = serve(t, p.data)
	caughtUp(t, p)
	api = p.client(t)
	results, err := api.DeleteAccounts(t.Context(), "demo", []string{"secret"})
	if err != nil || results[0].Problem() != nil {
		t.Fatalf("delete: %v %v", results, err)
	}
	eventually(t, "the nickname is nowhere in the data folder", func() error {
		if found := filesWith(t, p.data, []byte(nickname)); len(found) > 0 {
			return fmt.Errorf("it is in %v", found)
		}
		return nil
	})
	eventually(t, "the block of keys that held the account's is nowhere in the data folder", func() error {
		for _, b := range blocks {
			// Blocks of which no key was given out to this account stay.
			if len(filesWith(t, p.data, b)) == 0 {
				return nil
			}
		}
		return fmt.Errorf("all %d blocks are as they were", len(blocks))
	})
	eventually(t, "the export with the deleted account has expired", func() error {
		after, err := api.Export(t.Context(), "demo", e.ID)
		if err == nil && after.Status != "expired" {
			err = fmt.Errorf("it is %s", after.Status)
		}
		return err
	})
	env := p.env()
	eventually(t, "the erasure is recorded", func() error {
		if history := must(t, env, "accounts", "history", "secret", "--app", "demo", "--output", "json"); strings.Count(history, "\n") != 3 {
			return fmt.Errorf("its history is %s", history)
		}
		return nil
	})
	must(t, env, "audit", "verify")
	p.stop(t)
	if found := filesWith(t, p.data, []byte(nickname)); len(found) > 0 {
		t.Errorf("after the stop the nickname is in %v", found)
	}
}

func TestAnImportOfAnExportGivesTheSameAccountsAgain(t *testing.T) {
	p, api := running(t)
	env := p.env()
	dir := t.TempDir()
	var rows strings.Builder
	const n = 300
	for i := range n {
		b, err := json.Marshal(sampleAccount(i))
		if err != nil {
			t.Fatal(err)
		}
		rows.Write(append(b, '\n'))
	}
	original := filepath.Join(dir, "accounts.ndjson")
	if err := os.WriteFile(original, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, env, "accounts", "import", original)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "copy"}); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"ndjson", "csv"} {
		t.Run(format, func(t *testing.T) {
			const fields = "user_id,type,nickname,face_url,gender,birthday,location,self_signature,allow_type,level"
			first, second := filepath.Join(dir, "first."+format), filepath.Join(dir, "second."+format)
			exported := func(app, name string) string {
				t.Helper()
				var e client.Export
				out := must(t, env, "exports", "create", "--app", app, "--format", format, "--fields", fields, "--output", "json")
				if err := json.Unmarshal([]byte(out), &e); err != nil {
					t.Fatal(err)
				}
				must(t, env, "exports", "download", e.ID, "--app", app, "-o", name)
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			a := exported("demo", first)
			must(t, env, "accounts", "import", first, "--app", "copy", "--mode", "upsert")
			if b := exported("copy", second); a != b || strings.Count(a, "\n") < n {
				t.Errorf("the file of the copy differs from the one it was imported from, or has too few rows:\n%.300s\n%.300s", a, b)
			}
			if format == "ndjson" && a != rows.String() {
				t.Errorf("the export differs from what was imported:\n%.300s\n%.300s", a, rows.String())
			}
		})
	}
}

func TestADownloadGoesOnWhereItBrokeOff(t *testing.T) {
	_, api := running(t)
	imported(t, api, 200)
	e, err := api.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "ndjson"})
	if err != nil {
		t.Fatal(err)
	}
	if e, err = api.WatchExport(t.Context(), "demo", e.ID, func(client.Export) error { return nil }); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "accounts.ndjson")
	whole := func() []byte {
		t.Helper()
		if err := api.Download(t.Context(), e, name, func(int64) {}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(name + ".part"); err == nil {
			t.Error("the file of an unfinished download is left behind")
		}
		return b
	}
	first := whole()
	for what, part := range map[string][]byte{
		"half of the file":    first[:len(first)/2],
		"all of it":           first,
		"more than there is":  append(bytes.Clone(first), 'x'),
		"nothing, but a file": {},
	} {
		if err := os.WriteFile(name+".part", part, 0o600); err != nil {
			t.Fatal(err)
		}
		if again := whole(); !bytes.Equal(first, again) {
			t.Errorf("%s was there: the file differs", what)
		}
	}
	if err := os.WriteFile(name+".part", bytes.Repeat([]byte{'?'}, len(first)/2), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := api.Download(t.Context(), e, name, func(int64) {}); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("a file with a wrong half was taken: %v", err)
	}
	if again := whole(); !bytes.Equal(first, again) {
		t.Error("the file differs after a wrong half was thrown away")
	}
}

func TestMetricsTellOfRequestsCommandsAndProjections(t *testing.T) {
	p, api := running(t)
	imported(t, api, 10)
	if code, _ := get(t, p.url+"/metrics"); code != http.StatusUnauthorized {
		t.Errorf("metrics without a token: %d, want %d", code, http.StatusUnauthorized)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	token, err := os.ReadFile(filepath.Join(p.data, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`rollcall_http_request_duration_seconds_count{route="POST /v1/apps",status="201"} 1`,
		`rollcall_command_duration_seconds_count{outcome="accepted",verb=`,
		`rollcall_projection_position{projection="account_list"}`,
		`rollcall_projection_halted{projection="erasure"} 0`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}
