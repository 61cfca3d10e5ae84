package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/eventstore/storetest"
)

// lines splits what was printed.
func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

func TestAnAuditorLearnsWhoChangedAnAccountAndHowItWas(t *testing.T) {
	p, api := running(t)
	if _, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann", "nickname": "앤"}); err != nil {
		t.Fatal(err)
	}
	a, err := api.EditAccount(t.Context(), "demo", "ann", map[string]any{"nickname": "안나", "level": 3}, 0)
	if err != nil {
		t.Fatal(err)
	}
	token, err := api.CreateToken(t.Context(), "examiner", "auditor", "demo")
	if err != nil {
		t.Fatal(err)
	}
	env := p.env()
	env["ROLLCALL_TOKEN"] = token.Secret
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := rollcall(t, env, "", args...)
		if code != want {
			t.Fatalf("%v: status %d, want %d: %s", args, code, want, errs)
		}
		return out
	}
	out := run(exitDone, "accounts", "history", "ann", "--output", "csv")
	if got := lines(out); len(got) != 3 || !strings.Contains(got[1], "nickname: 앤") || !strings.Contains(got[2], "nickname: 앤 → 안나, level: 3") {
		t.Errorf("the history is\n%s", out)
	}
	before := run(exitDone, "audit", "state", "ann", "--as-of", whole(a.Revision-1), "--output", "json")
	if !strings.Contains(before, "앤") || strings.Contains(before, "level") {
		t.Errorf("it was %s", before)
	}
	run(exitRefused, "accounts", "get", "ann") // an auditor sees what was, for a reason that it names
	run(exitRefused, "audit", "state", "nobody", "--as-of", whole(a.Revision))
	run(exitRefused, "audit", "state", "ann", "--as-of", "999999")
	run(exitRefused, "audit", "state", "ann", "--as-of", "yesterday")
	listed := run(exitDone, "accounts", "list", "--as-of", whole(a.Revision-1), "--output", "json")
	if listed != before {
		t.Errorf("the list had %s, and the account was %s", listed, before)
	}
	run(exitRefused, "accounts", "list")
	run(exitRefused, "accounts", "list", "--as-of", "999999")
	run(exitRefused, "accounts", "list", "--as-of", "2000-01-01T00:00:00Z")
	if err := api.DeleteAccount(t.Context(), "demo", "ann"); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the account is erased", func() bool {
		return !strings.Contains(run(exitDone, "accounts", "history", "ann"), "안나")
	})
	storetest.Eventually(t, "the erasure is recorded", func() bool {
		return strings.Contains(run(exitDone, "audit", "erasures"), "erased")
	})
	if got := lines(run(exitDone, "audit", "erasures", "--output", "csv")); len(got) != 2 || !strings.HasPrefix(got[1], "ann,erased,") {
		t.Errorf("the erasures are %q", got)
	}
	storetest.Eventually(t, "nothing of it remains in the list", func() bool {
		return len(lines(run(exitDone, "audit", "erasures", "--pending", "--output", "csv"))) == 1
	})
	// What led to a record of an erasure is the deletion.
	table := lines(run(exitDone, "accounts", "history", "ann", "--output", "csv"))
	if head, last := strings.Split(table[0], ","), strings.Split(table[len(table)-1], ","); len(last) < 6 || head[5] != "cause" || last[5] == "" || strings.Split(table[1], ",")[5] != "" {
		t.Errorf("the causes in the history are\n%s", strings.Join(table, "\n"))
	}
	if out := run(exitDone, "accounts", "history", "ann"); !strings.Contains(out, "nickname: erased") || !strings.Contains(out, "account.erased") || len(lines(out)) != 5 {
		t.Errorf("the history of an erased account is\n%s", out)
	}
	if _, _, errs := rollcall(t, env, "", "audit", "state", "ann", "--as-of", whole(a.Revision)); !strings.Contains(errs, "account_erased") {
		t.Errorf("an erased account: %s", errs)
	}
	if got := lines(run(exitDone, "accounts", "list", "--all", "--as-of", whole(a.Revision), "--output", "csv")); len(got) != 2 || !strings.HasPrefix(got[1], "ann,normal,") || strings.Contains(got[1], "앤") {
		t.Errorf("the list that an erased account was in has %q", got)
	}
}

func TestAReplayGoesOnWhereItsFileEnds(t *testing.T) {
	p, api := running(t)
	create := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			if _, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": id, "nickname": "secret"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	create("a", "b")
	env := p.env()
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := rollcall(t, env, "", append([]string{"audit", "replay"}, args...)...)
		if code != exitDone {
			t.Fatalf("%v: status %d: %s", args, code, errs)
		}
		return out
	}
	all := run()
	for _, line := range lines(all) {
		var e struct {
			SpecVersion string
			Position    uint64
			Type        string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.SpecVersion != "1.0" || e.Position == 0 || strings.Contains(line, "secret") {
			t.Errorf("an event is %s (%v)", line, err)
		}
	}
	if out := run("--user", "b", "--type", "account.created"); len(lines(out)) != 1 || !strings.Contains(out, "accounts.evt.demo.u.b") {
		t.Errorf("the events of one account are\n%s", out)
	}

	file := filepath.Join(t.TempDir(), "events.ndjson")
	run("--to", "file:"+file)
	// An interruption has left half a line.
	half, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.WriteString(`{"position":99`); err != nil {
		t.Fatal(err)
	}
	if err := half.Close(); err != nil {
		t.Fatal(err)
	}
	create("c")
	run("--to", "file:"+file)
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != run() {
		t.Errorf("the file that was gone on with differs from a replay at once:\n%s", kept)
	}

	for _, wrong := range []string{"file:", "nats:", "ftp:x", "nats:a.*"} {
		if code, _, _ := rollcall(t, env, "", "audit", "replay", "--to", wrong); code != exitUsage {
			t.Errorf("--to %s: status %d, want %d", wrong, code, exitUsage)
		}
	}
}

func TestAnAuditorReadsByTheConsumerThatWasMade(t *testing.T) {
	p, api := running(t)
	if _, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann", "nickname": "앤"}); err != nil {
		t.Fatal(err)
	}
	secrets := make(map[string]string)
	for _, role := range []string{"auditor", "viewer"} {
		token, err := api.CreateToken(t.Context(), role, role, "demo")
		if err != nil {
			t.Fatal(err)
		}
		secrets[role] = token.Secret
	}
	env := p.env()
	consume := func(want int, token string, args ...string) (out, errs string) {
		t.Helper()
		env["ROLLCALL_TOKEN"] = token
		code, out, errs := rollcall(t, env, "", append([]string{"audit", "consumer", "--nats", p.nats}, args...)...)
		if code != want {
			t.Errorf("%v: status %d, want %d: %s", args, code, want, errs)
		}
		return out, errs
	}
	out, _ := consume(exitDone, secrets["auditor"], "archive", "--output", "json")
	var made struct{ Stream, Consumer string }
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	read := exec.Command(natsCommand(t), "--server", p.nats, "--token", secrets["auditor"], "consumer", "next", made.Stream, made.Consumer, "--count", "3", "--raw")
	read.Env = append(os.Environ(), "HOME="+t.TempDir())
	events, err := read.CombinedOutput()
	if err != nil || strings.Count(string(events), `"specversion"`) != 3 || strings.Contains(string(events), "앤") {
		t.Errorf("%v:\n%s", err, events)
	}
	consume(exitDone, "", "archive", "--user", "ann", "--from", "2020-01-01T00:00:00Z", "--anew") // the operator, on this machine
	consume(exitRefused, secrets["auditor"], "archive", "--user", "ann")
	consume(exitRefused, secrets["auditor"], "archive", "--from", "yesterday")
	consume(exitUsage, secrets["auditor"])
	for token, why := range map[string]string{secrets["viewer"]: "forbidden", "rct_wrong": "unauthenticated"} {
		if _, errs := consume(exitRefused, token, "archive"); !strings.Contains(errs, why) {
			t.Errorf("it says %s, want %s", errs, why)
		}
	}
}
