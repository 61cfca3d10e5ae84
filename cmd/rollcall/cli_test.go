package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/client"
)

func TestWrongUsageIsStatus2AndOneLine(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(config, []byte(`{"lisen": "127.0.0.1:1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, args := range map[string][]string{
		"an unknown command":                {"frobnicate"},
		"an unknown flag":                   {"apps", "list", "--frobnicate"},
		"a missing argument":                {"apps", "create"},
		"a number that is none":             {"accounts", "edit", "x", "--level", "high", "--app", "demo"},
		"an output that is not known":       {"apps", "list", "--output", "xml"},
		"no application":                    {"accounts", "list"},
		"an edit of nothing":                {"accounts", "edit", "x", "--app", "demo"},
		"a field both set and unset":        {"accounts", "edit", "x", "--app", "demo", "--level", "1", "--unset", "level"},
		"a page of no accounts":             {"accounts", "list", "--app", "demo", "--limit", "0"},
		"a list of no dead commands":        {"commands", "dead", "list", "--limit", "0"},
		"a retry of nothing":                {"commands", "dead", "retry"},
		"a drop of some and of all":         {"commands", "dead", "drop", "7", "--all"},
		"an outcome of no application":      {"commands", "outcome", "c1"},
		"an import of an unknown kind":      {"accounts", "import", "rows.txt", "--app", "demo"},
		"a server that is no address":       {"apps", "list", "--server", "localhost"},
		"a setting that no flag has":        {"apps", "list", "--config", config},
		"a configuration that is not there": {"apps", "list", "--config", config + ".none"},
	} {
		code, out, errs := rollcall(t, nil, "", args...)
		if code != exitUsage || out != "" {
			t.Errorf("%s: status %d, want %d; printed %q", what, code, exitUsage, out)
		}
		if strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "rollcall: ") {
			t.Errorf("%s: says %q, want one line", what, errs)
		}
	}
}

func TestHelpIsStatus0AndNamesTheEnvironment(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"serve", "--help"}, {"accounts", "create", "--help"}} {
		code, out, errs := rollcall(t, nil, "", args...)
		if code != exitDone || errs != "" {
			t.Errorf("%v: status %d and %q", args, code, errs)
		}
		if !strings.Contains(out, "$ROLLCALL_CONFIG") {
			t.Errorf("%v: the help does not name the environment:\n%s", args, out)
		}
	}
	_, out, _ := rollcall(t, nil, "", "accounts", "create", "--help")
	for _, want := range []string{"$ROLLCALL_SERVER", "$ROLLCALL_ACCOUNTS_CREATE_ROLE"} {
		if !strings.Contains(out, want) {
			t.Errorf("the help lacks %s:\n%s", want, out)
		}
	}
}

func TestAServiceThatIsNotThereIsStatus1(t *testing.T) {
	code, _, errs := rollcall(t, nil, "", "apps", "list", "--server", "http://127.0.0.1:1")
	if code != exitFailed || !strings.Contains(errs, "does not answer") || strings.Count(errs, "\n") != 1 {
		t.Errorf("status %d and %q; want %d and what to do, in one line", code, errs, exitFailed)
	}
}

func TestAnInterruptedCommandSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := Run(ctx, []string{"apps", "list"}, variables(nil), strings.NewReader(""), &out, &errs)
	if code != exitFailed || errs.String() != "rollcall: interrupted\n" {
		t.Errorf("status %d and %q", code, errs.String())
	}
}

func TestAFlagGoesBeforeTheEnvironmentAndThatBeforeTheFile(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.json")
	p, _ := running(t)
	for _, app := range []string{"of-flag", "of-env", "of-file"} {
		must(t, p.env(), "apps", "create", app, "--name", app)
	}
	b, err := json.Marshal(map[string]any{
		"server": p.url, "data": p.data, "app": "of-file", "output": "csv", "accounts": map[string]any{"create": map[string]any{"type": "admin", "level": 7, "birthday": 20010203}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	shown := func(env map[string]string, args ...string) string {
		t.Helper()
		rows, err := csv.NewReader(strings.NewReader(must(t, env, append([]string{"apps", "show", "--config", config}, args...)...))).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%v %v", rows, err)
		}
		return rows[1][0]
	}
	if got := shown(nil); got != "of-file" {
		t.Errorf("the file alone: %s", got)
	}
	if got := shown(map[string]string{"ROLLCALL_APP": "of-env"}); got != "of-env" {
		t.Errorf("the environment and the file: %s", got)
	}
	if got := shown(map[string]string{"ROLLCALL_APP": "of-env"}, "--app", "of-flag"); got != "of-flag" {
		t.Errorf("all three: %s", got)
	}
	var a client.Account
	out := must(t, map[string]string{"ROLLCALL_CONFIG": config, "ROLLCALL_ACCOUNTS_CREATE_LEVEL": "8"}, "accounts", "create", "x", "--output", "json")
	if err := json.Unmarshal([]byte(out), &a); err != nil || a.Type != "admin" || value(a.Level) != 8 || a.Birthday != 20010203 || a.App != "of-file" {
		t.Errorf("an account of settings of a command in the file and the environment: %s %v", out, err)
	}
}

func TestTheSampleConfigurationIsUnderstood(t *testing.T) {
	sample := filepath.Join(moduleRoot(t), "deployments", "rollcall.json")
	if code, out, errs := rollcall(t, nil, "", "version", "--config", sample); code != exitDone || !strings.HasPrefix(out, "rollcall ") {
		t.Errorf("status %d: %s", code, errs)
	}
}

func TestTheTokenOfTheDataFolderIsForThisMachineAlone(t *testing.T) {
	for server, want := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://localhost:8080": true, "http://[::1]:8080": true,
		"http://rollcall.example": false, "https://10.0.0.1": false, "http://127.0.0.1.example": false, "::": false,
	} {
		if got := onThisMachine(server); got != want {
			t.Errorf("%s is on this machine: %t, want %t", server, got, want)
		}
	}
}

func TestResultsAreATableOrJSONOrCSV(t *testing.T) {
	p, api := running(t)
	env := p.env()
	for id, nickname := range map[string]string{"a": "김민준", "b": "evil \x1b[31m\u202e", "c": `quoted "and, comma"`} {
		if _, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": id, "type": "normal", "nickname": nickname}); err != nil {
			t.Fatal(err)
		}
	}
	table := must(t, env, "accounts", "list", "--sort", "user_id")
	if lines := strings.Split(strings.TrimSpace(table), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "USER_ID") {
		t.Errorf("the table is:\n%s", table)
	}
	if strings.ContainsAny(table, "\x1b\u202e") {
		t.Errorf("the table gives orders to the terminal: %q", table)
	}
	var ids []string
	for in := json.NewDecoder(strings.NewReader(must(t, env, "accounts", "list", "--sort", "user_id", "--limit", "1", "--all", "--output", "json"))); in.More(); {
		var a client.Account
		if err := in.Decode(&a); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.UserID)
	}
	if !slices.Equal(ids, []string{"a", "b", "c"}) {
		t.Errorf("all pages as JSON have %v", ids)
	}
	rows, err := csv.NewReader(strings.NewReader(must(t, env, "accounts", "list", "--sort", "user_id", "--output", "csv"))).ReadAll()
	if err != nil || len(rows) != 4 || rows[3][3] != `quoted "and, comma"` {
		t.Errorf("CSV has %v: %v", rows, err)
	}
	code, _, errs := rollcall(t, env, "", "accounts", "list", "--limit", "2")
	if code != exitDone || !strings.Contains(errs, "2 of 3 accounts") || !strings.Contains(errs, "--cursor ") {
		t.Errorf("a first page says %q", errs)
	}
}

func TestAnImportTellsOfEachRefusedRow(t *testing.T) {
	p, _ := running(t)
	env := p.env()
	report := filepath.Join(t.TempDir(), "refused.ndjson")
	rows := row(1) + "{broken\n" + row(1) + `{"user_id":"@RBT#1"}` + "\n" + row(2)
	code, out, errs := rollcall(t, env, rows, "accounts", "import", "-", "--format", "ndjson", "--report", report)
	if code != exitRefused || !strings.Contains(errs, "3 of 5 rows were refused") {
		t.Errorf("status %d, %q", code, errs)
	}
	if !strings.Contains(out, "5 rows: 2 created, 0 edited, 0 unchanged, 3 refused") {
		t.Errorf("the summary is %q", out)
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var lines []int
	for in := json.NewDecoder(bytes.NewReader(b)); in.More(); {
		var r client.RowResult
		if err := in.Decode(&r); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, r.Line)
	}
	slices.Sort(lines)
	if !slices.Equal(lines, []int{2, 3, 4}) {
		t.Errorf("the report is about lines %v", lines)
	}
	code, out, errs = rollcall(t, env, row(1)+row(2), "accounts", "import", "-", "--format", "ndjson", "--mode", "upsert", "--output", "json")
	var sum importSummary
	if err := json.Unmarshal([]byte(out), &sum); code != exitDone || err != nil || sum.Unchanged != 2 {
		t.Errorf("the same rows again: status %d, %s, %s", code, out, errs)
	}
}

func TestDeletingTellsOfEachAccount(t *testing.T) {
	p, api := running(t)
	imported(t, api, 2)
	code, out, errs := rollcall(t, p.env(), "", "accounts", "delete", "u00000", "nobody", "u00001")
	if code != exitRefused || !strings.Contains(errs, "1 of 3 accounts were not deleted (nobody)") {
		t.Errorf("status %d, %q", code, errs)
	}
	if strings.Count(out, "deleted") != 2 || !strings.Contains(out, "account_not_found") {
		t.Errorf("the table is:\n%s", out)
	}
}

func TestATokenDoesWhatItsRoleMayUntilItIsRevoked(t *testing.T) {
	p, api := running(t)
	imported(t, api, 1)
	env := p.env()
	var made client.Token
	if err := json.Unmarshal([]byte(must(t, env, "tokens", "create", "--role", "viewer", "--name", "wall", "--output", "json")), &made); err != nil {
		t.Fatal(err)
	}
	viewer := map[string]string{"ROLLCALL_SERVER": p.url, "ROLLCALL_TOKEN": made.Secret, "ROLLCALL_APP": "demo"}
	must(t, viewer, "accounts", "get", "u00000")
	if code, _, errs := rollcall(t, viewer, "", "accounts", "create", "x"); code != exitRefused || !strings.Contains(errs, "forbidden") {
		t.Errorf("a viewer creates: status %d, %s", code, errs)
	}
	must(t, env, "tokens", "revoke", made.ID)
	if code, _, errs := rollcall(t, viewer, "", "accounts", "get", "u00000"); code != exitRefused || !strings.Contains(errs, "unauthenticated") {
		t.Errorf("a revoked token: status %d, %s", code, errs)
	}
	if list := must(t, env, "tokens", "list"); !strings.Contains(list, "wall") || strings.Contains(list, made.Secret) {
		t.Errorf("the list of tokens is:\n%s", list)
	}
}

func TestProjectionsAreShown(t *testing.T) {
	p, api := running(t)
	imported(t, api, 3)
	eventually(t, "all projections are at the end of the log", func() error {
		var behind error
		for in := json.NewDecoder(strings.NewReader(must(t, p.env(), "projections", "status", "--output", "json"))); in.More(); {
			var s client.Projection
			if err := in.Decode(&s); err != nil {
				return err
			}
			if s.Position != 5 { // two events of the application, three of accounts
				behind = errors.New(s.Name + " is behind")
			}
		}
		return behind
	})
}

func TestAServiceWithOneListSaysHowThatIsBuiltAnew(t *testing.T) {
	p, _ := running(t)
	for _, args := range [][]string{{"rebuild"}, {"lists"}, {"promote", "1"}, {"drop", "1"}} {
		code, _, errs := rollcall(t, p.env(), "", append([]string{"projections"}, args...)...)
		if code != exitRefused || !strings.Contains(errs, "lists_unsupported") || !strings.Contains(errs, filepath.Join(p.data, "list", "accounts.db")) {
			t.Errorf("%v: status %d: %s", args, code, errs)
		}
	}
}

func TestDemoRunsTheWholePathAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	code, out, errs := rollcall(t, nil, "", "demo", "--accounts", "400")
	if code != exitDone {
		t.Fatalf("status %d: %s%s", code, out, errs)
	}
	for _, want := range []string{"import accounts", "edit profiles", "delete accounts", "search for 김", "export all to csv", "http://127.0.0.1:"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not tell of %q:\n%s", want, out)
		}
	}
	_, shown, _ := strings.Cut(out, "Download URL, until ")
	shown, _, _ = strings.Cut(shown, ":\n")
	if until, err := time.Parse(time.RFC3339, shown); err != nil || time.Until(until) > time.Hour {
		t.Errorf("the demo tells that the URL ends at %q, which is not the end of a URL: %v", shown, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v: %v", left, err)
	}
}

func TestProgressIsPlainLinesWhereThereIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "rows", 2000)
	now := p.started
	p.now = func() time.Time { return now }
	p.at(1)
	now = now.Add(lineEvery)
	p.at(1500)
	p.end()
	if got, want := out.String(), "1,500 of 2,000 rows, 300/s, 2s left\n"; got != want {
		t.Errorf("progress is %q, want %q", got, want)
	}
	out.Reset()
	p.terminal = true
	p.tell(1000)
	if got := out.String(); !strings.HasPrefix(got, "\r") || !strings.Contains(got, "[###############...............]") {
		t.Errorf("the bar is %q", got)
	}
}

func TestApplicationsAreEditedAndShown(t *testing.T) {
	p, _ := running(t)
	env := p.env()
	must(t, env, "apps", "edit", "demo", "--name", "Demo 데모", "--max-admins", "1")
	if out := must(t, env, "apps", "show"); !strings.Contains(out, "Demo 데모") {
		t.Errorf("the application of ROLLCALL_APP is:\n%s", out)
	}
	must(t, env, "accounts", "create", "first", "--type", "admin")
	if code, _, errs := rollcall(t, env, "", "accounts", "create", "second", "--type", "admin"); code != exitRefused || !strings.Contains(errs, "admin_limit_reached") {
		t.Errorf("a second administrator: status %d, %s", code, errs)
	}
}

func TestAnExportIsDownloadedUnderTheExtensionOfItsFormat(t *testing.T) {
	p, api := running(t)
	imported(t, api, 5)
	env := p.env()
	for extension, flags := range map[string][]string{
		".xlsx": {"--format", "xlsx"}, ".parquet": {"--format", "parquet", "--compression", "zstd"},
		".csv.gz": {"--compression", "gzip"}, ".ndjson.zst": {"--format", "ndjson", "--compression", "zstd"},
	} {
		e := objectOf(t, must(t, env, append([]string{"exports", "create", "--wait", "--output", "json"}, flags...)...))
		dir := t.TempDir()
		must(t, env, "exports", "download", strings.Trim(string(e["id"]), `"`), "-o", dir)
		if files, err := filepath.Glob(filepath.Join(dir, "demo-*"+extension)); err != nil || len(files) != 1 {
			t.Errorf("%v: no file ends with %s: %v, %v", flags, extension, files, err)
		}
	}
	if code, _, errs := rollcall(t, env, "", "exports", "create", "--format", "xlsx", "--compression", "gzip"); code != exitRefused || !strings.Contains(errs, "compressed already") {
		t.Errorf("a compressed workbook: status %d, %s", code, errs)
	}
}

func TestExportsAreShownWatchedAndCancelled(t *testing.T) {
	p, api := running(t)
	imported(t, api, 5)
	env := p.env()
	var e client.Export
	if err := json.Unmarshal([]byte(must(t, env, "exports", "create", "--user-id", "u00001,u00003", "--output", "json")), &e); err != nil {
		t.Fatal(err)
	}
	must(t, env, "exports", "watch", e.ID)
	for _, args := range [][]string{{"exports", "get", e.ID}, {"exports", "list"}} {
		if out := must(t, env, args...); !strings.Contains(out, e.ID) || !strings.Contains(out, "completed") {
			t.Errorf("%v: %s", args, out)
		}
	}
	dir := t.TempDir()
	if out := must(t, env, "exports", "download", e.ID, "-o", dir); !strings.Contains(out, "2 rows") {
		t.Errorf("download says %q", out)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "demo-*.csv")); err != nil || len(files) != 1 {
		t.Errorf("the folder holds %v: %v", files, err)
	}
	if code, _, errs := rollcall(t, env, "", "exports", "cancel", e.ID); code != exitRefused || !strings.Contains(errs, "export_finished") {
		t.Errorf("cancelling a finished export: status %d, %s", code, errs)
	}
}
