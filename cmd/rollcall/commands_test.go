package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
)

// producing returns a connection to NATS with a producer's token of an application.
func producing(t *testing.T, p *process, api *client.Client, app string) natsjs.JetStream {
	t.Helper()
	token, err := api.CreateToken(t.Context(), "orders", "producer", app)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(p.nats, nats.UserInfo("token", token.Secret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// send publishes a command.
func send(t *testing.T, js natsjs.JetStream, subject, id, body string) {
	t.Helper()
	if _, err := js.Publish(t.Context(), subject, []byte(body), natsjs.WithMsgID(id)); err != nil {
		t.Fatalf("publish %s: %v", id, err)
	}
}

// decided waits until there is an outcome of a command and returns it.
func decided(t *testing.T, api *client.Client, app, id string) client.Outcome {
	t.Helper()
	var o client.Outcome
	eventually(t, "command "+id+" has an outcome", func() (err error) {
		o, err = api.Outcome(t.Context(), app, id)
		return err
	})
	return o
}

// deadOf returns the dead commands that a command line lists.
func deadOf(t *testing.T, env map[string]string, args ...string) (all []client.DeadCommand) {
	t.Helper()
	out := must(t, env, append([]string{"commands", "dead", "list", "--output", "json"}, args...)...)
	for in := json.NewDecoder(strings.NewReader(out)); in.More(); {
		var d client.DeadCommand
		if err := in.Decode(&d); err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

func TestTheOutcomeOfAMessageIsShown(t *testing.T) {
	p, api := running(t)
	env := p.env()
	js := producing(t, p, api, "demo")
	send(t, js, "accounts.cmd.demo.create", "c1", `{"user_id": "sora"}`)
	send(t, js, "accounts.cmd.demo.create", "c2", `{"user_id": "sora", "gender": "none"}`)
	send(t, js, "accounts.cmd.demo.delete", "c3", `{"user_ids": ["sora", "nobody"]}`)
	decided(t, api, "demo", "c3") // and with it all before it on the account
	for id, wants := range map[string][]string{
		"c1": {"accepted", "sora", "position", "orders/"},
		"c2": {"rejected", "validation_failed", "gender: "},
		"c3": {"accepted", "sora: deleted; nobody: failed (account_not_found)"},
	} {
		out := must(t, env, "commands", "outcome", id)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("the outcome of %s lacks %q:\n%s", id, want, out)
			}
		}
	}
	rows, err := csv.NewReader(strings.NewReader(must(t, env, "commands", "outcome", "c3", "--output", "csv"))).ReadAll()
	if err != nil || len(rows) != 2 || !slices.Contains(rows[1], "sora: deleted; nobody: failed (account_not_found)") {
		t.Errorf("the outcome of a batch as CSV is %v: %v", rows, err)
	}
	var o client.Outcome
	if err := json.Unmarshal([]byte(must(t, env, "commands", "outcome", "c1", "--output", "json")), &o); err != nil || o.Position == 0 || o.Revision != o.Position {
		t.Errorf("the outcome of c1 as JSON is %+v: %v", o, err)
	}
	if code, _, errs := rollcall(t, env, "", "commands", "outcome", "never-sent"); code != exitRefused || !strings.Contains(errs, "outcome_not_found") {
		t.Errorf("a command that was never sent: status %d, %s", code, errs)
	}
}

func TestADeadCommandIsListedRetriedAndDropped(t *testing.T) {
	p, api := running(t)
	env := p.env()
	js := producing(t, p, api, "demo")
	if code, out, errs := rollcall(t, env, "", "commands", "dead", "list"); code != exitDone || strings.Count(out, "\n") != 1 {
		t.Errorf("the list without dead commands: status %d, %q, %s", code, out, errs)
	}
	const body = `{"user_id": "sora", "nick": "=1+1"}`
	send(t, js, "accounts.cmd.demo.create", "broken", body)
	if o := decided(t, api, "demo", "broken"); o.Status != "dead" {
		t.Fatalf("the command is %s", o.Status)
	}
	var dead []client.DeadCommand
	eventually(t, "it is listed", func() error {
		if dead = deadOf(t, env); len(dead) != 1 {
			return fmt.Errorf("%d dead commands", len(dead))
		}
		return nil
	})
	if d := dead[0]; d.CommandID != "broken" || d.App != "demo" || d.Verb != "create" || d.Body != body || d.Code != "validation_failed" || d.Sender == "" {
		t.Errorf("the dead command is %+v", d)
	}
	if out := must(t, env, "commands", "dead", "list"); !strings.HasPrefix(out, "ID ") || !strings.Contains(out, "broken") || strings.Contains(out, "=1+1") {
		t.Errorf("the table is to tell why, not to show the body:\n%s", out)
	}
	rows, err := csv.NewReader(strings.NewReader(must(t, env, "commands", "dead", "list", "--output", "csv"))).ReadAll()
	if err != nil || len(rows) != 2 || !slices.Contains(rows[1], body) {
		t.Errorf("CSV has %v: %v", rows, err)
	}

	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "other"}); err != nil {
		t.Fatal(err)
	}
	for app, sees := range map[string]int{"demo": 1, "other": 0} {
		admin, err := api.CreateToken(t.Context(), "admin", "admin", app)
		if err != nil {
			t.Fatal(err)
		}
		theirs := p.env()
		theirs["ROLLCALL_TOKEN"], theirs["ROLLCALL_APP"] = admin.Secret, app
		if n := len(deadOf(t, theirs)); n != sees {
			t.Errorf("an administrator of %s sees %d", app, n)
		}
		if code, _, errs := rollcall(t, theirs, "", "commands", "dead", "list", "--app", "demo"); (code == exitDone) != (sees == 1) {
			t.Errorf("an administrator of %s, asking for those of demo, gets status %d: %s", app, code, errs)
		}
	}

	if out := must(t, env, "commands", "dead", "retry", dead[0].ID); !strings.Contains(out, "retried") {
		t.Errorf("retry says %q", out)
	}
	var again []client.DeadCommand
	eventually(t, "it is dead again, as another", func() error {
		if again = deadOf(t, env); len(again) != 1 || again[0].ID == dead[0].ID {
			return fmt.Errorf("the list is %v", again)
		}
		return nil
	})
	if again[0].CommandID != "broken" || again[0].Body != body || again[0].Sender != dead[0].Sender {
		t.Errorf("retried, it is %+v", again[0])
	}

	code, out, errs := rollcall(t, env, "", "commands", "dead", "drop", dead[0].ID, again[0].ID, "nonsense")
	if code != exitRefused || !strings.Contains(errs, "2 of 3 dead commands were not dropped ("+dead[0].ID+", nonsense)") || strings.Count(errs, "\n") != 1 {
		t.Errorf("dropping one of three that are there: status %d, %s", code, errs)
	}
	if !strings.Contains(out, "dropped") || strings.Count(out, "dead_command_not_found") != 2 {
		t.Errorf("drop prints\n%s", out)
	}
	if code, _, errs := rollcall(t, env, "", "commands", "dead", "retry", again[0].ID); code != exitRefused || !strings.Contains(errs, "dead_command_not_found") {
		t.Errorf("retrying what was dropped: status %d, %s", code, errs)
	}
	if o, err := api.Outcome(t.Context(), "demo", "broken"); err != nil || o.Status != "rejected" || o.Code != "dropped" || o.Actor != "operator" {
		t.Errorf("the outcome of what was dropped is %+v: %v", o, err)
	}
}

func TestAllDeadCommandsOfAnApplicationAreListedPageByPageAndDropped(t *testing.T) {
	const n = 120 // more than two pages
	p, api := running(t)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "other"}); err != nil {
		t.Fatal(err)
	}
	send(t, producing(t, p, api, "other"), "accounts.cmd.other.edit", "of-other", `no JSON`)
	js := producing(t, p, api, "demo")
	var want []string
	for i := range n {
		id := fmt.Sprintf("broken-%03d", i)
		want = append(want, id)
		send(t, js, "accounts.cmd.demo.delete", id, `{}`)
	}
	all := map[string]string{"ROLLCALL_SERVER": p.url, "ROLLCALL_DATA": p.data}
	eventually(t, "all are dead", func() error {
		if dead := deadOf(t, all); len(dead) != n+1 {
			return fmt.Errorf("%d are", len(dead))
		}
		return nil
	})
	var got []string
	for _, d := range deadOf(t, all, "--app", "demo") {
		got = append(got, d.CommandID)
	}
	if slices.Sort(got); !slices.Equal(got, want) { // broken commands wait for nothing, so that they die in any order
		t.Errorf("the list has %v", got)
	}
	for _, limit := range []int{1, 60, n, n + 1} {
		if dead := deadOf(t, all, "--app", "demo", "--limit", fmt.Sprint(limit)); len(dead) != min(limit, n) {
			t.Errorf("at most %d are %d", limit, len(dead))
		}
	}
	if out := must(t, all, "commands", "dead", "drop", "--all", "--app", "demo", "--output", "json"); strings.Count(out, `"status":"dropped"`) != n {
		t.Errorf("dropping all prints\n%s", out)
	}
	if dead := deadOf(t, all); len(dead) != 1 || dead[0].CommandID != "of-other" {
		t.Errorf("what is left is %+v", dead)
	}
}

func TestDeadCommandsAreNotForThoseWhoSendThem(t *testing.T) {
	p, api := running(t)
	token, err := api.CreateToken(t.Context(), "orders", "producer", "demo")
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"ROLLCALL_SERVER": p.url, "ROLLCALL_TOKEN": token.Secret, "ROLLCALL_APP": "demo"}
	for _, args := range [][]string{{"list"}, {"retry", "1"}, {"drop", "1"}, {"drop", "--all"}} {
		if code, _, errs := rollcall(t, env, "", append([]string{"commands", "dead"}, args...)...); code != exitRefused || !strings.Contains(errs, "forbidden") {
			t.Errorf("%v of a producer: status %d, %s", args, code, errs)
		}
	}
}
