package main

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// object is a JSON object as it was written.
type object map[string]json.RawMessage

func objectOf(t *testing.T, text string) object {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return o
}

// answer returns what the service itself answers to a GET.
func (p *process) answer(t *testing.T, path string) object {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(p.data, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/v1"+path, nil)
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
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: status %d, %v: %s", path, resp.StatusCode, err, b)
	}
	return objectOf(t, string(b))
}

func TestJSONIsWhatTheServiceTold(t *testing.T) {
	p, _ := running(t)
	env := p.env()
	must(t, env, "apps", "create", "bare")
	must(t, env, "accounts", "create", "x", "--nickname", "<& >", "--level", "0")
	token := objectOf(t, must(t, env, "tokens", "create", "--role", "viewer", "--name", "wall", "--output", "json"))
	must(t, env, "tokens", "revoke", strings.Trim(string(token["id"]), `"`))
	// Nothing matches, so that there is a count of rows and it is 0.
	e := objectOf(t, must(t, env, "exports", "create", "--type", "admin", "--fields", "user_id", "--wait", "--output", "json"))
	id := strings.Trim(string(e["id"]), `"`)
	for _, field := range []string{"compression", "fields", "filter", "rows", "started_at", "finished_at", "download_url_expires_at"} {
		if e[field] == nil {
			t.Errorf("the export as JSON lacks %s: %v", field, slices.Sorted(maps.Keys(e)))
		}
	}
	for path, args := range map[string][]string{
		"/apps/bare":               {"apps", "show", "bare"},
		"/apps/demo/accounts/x":    {"accounts", "get", "x"},
		"/apps/demo/exports/" + id: {"exports", "get", id},
	} {
		same(t, objectOf(t, must(t, env, append(args, "--output", "json")...)), p.answer(t, path))
	}
	var listed []object
	if err := json.Unmarshal(p.answer(t, "/tokens?app=demo")["tokens"], &listed); err != nil || len(listed) != 1 {
		t.Fatalf("the service lists %v: %v", listed, err)
	}
	shown := objectOf(t, must(t, env, "tokens", "list", "--output", "json"))
	same(t, shown, listed[0])
	if shown["revoked_by"] == nil {
		t.Errorf("a revoked token lacks who revoked it: %v", shown)
	}
}

// same compares objects but for the URLs, which are made anew for each answer.
func same(t *testing.T, got, want object) {
	t.Helper()
	for name := range want {
		if !strings.HasPrefix(name, "download_url") && name != "manifest_url" && string(got[name]) != string(want[name]) {
			t.Errorf("%s is %s, the service says %s", name, got[name], want[name])
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("the fields are %v, the service has %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func TestCSVHoldsNoFormula(t *testing.T) {
	p, _ := running(t)
	env := p.env()
	must(t, env, "accounts", "create", "@SUM(1)", "--nickname", `=HYPERLINK("http://evil.example")`, "--location", "+1")
	rows, err := csv.NewReader(strings.NewReader(must(t, env, "accounts", "list", "--output", "csv"))).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("CSV has %v: %v", rows, err)
	}
	for name, want := range map[string]string{"user_id": "'@SUM(1)", "nickname": `'=HYPERLINK("http://evil.example")`, "location": "'+1", "type": "normal"} {
		if got := rows[1][slices.Index(rows[0], name)]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestTheEndOfADownloadURLIsNotTheEndOfTheFile(t *testing.T) {
	p, api := running(t)
	imported(t, api, 1)
	var urlEnds, fileEnds time.Time
	for line := range strings.Lines(must(t, p.env(), "exports", "create", "--wait")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch value = strings.TrimSpace(value); name {
		case "download_url_expires_at":
			urlEnds, err = time.Parse(time.RFC3339, value)
		case "expires_at":
			fileEnds, err = time.Parse(time.RFC3339, value)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if urlEnds.IsZero() || !urlEnds.Before(fileEnds.Add(-time.Hour)) || urlEnds.Before(time.Now()) {
		t.Errorf("the URL ends at %s, the file at %s", urlEnds, fileEnds)
	}
}
