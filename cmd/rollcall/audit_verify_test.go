package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore/ledger"
)

// auditing is the command line of an auditor and of an operator of a running service.
type auditing struct {
	t   *testing.T
	api *client.Client
	env map[string]string
	dir string
}

func newAuditing(t *testing.T) *auditing {
	p, api := running(t)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "other"}); err != nil {
		t.Fatal(err)
	}
	a := &auditing{t: t, api: api, env: p.env(), dir: t.TempDir()}
	a.create("a", "b", "c")
	return a
}

// create makes accounts in two applications by turns.
func (a *auditing) create(ids ...string) {
	a.t.Helper()
	for _, id := range ids {
		for _, app := range []string{"demo", "other"} {
			if _, err := a.api.CreateAccount(a.t.Context(), app, map[string]any{"user_id": id, "nickname": "secret"}); err != nil {
				a.t.Fatal(err)
			}
		}
	}
}

// asAuditor has the commands that follow run with a token of an auditor of one application.
func (a *auditing) asAuditor() {
	a.t.Helper()
	token, err := a.api.CreateToken(a.t.Context(), "examiner", "auditor", "demo")
	if err != nil {
		a.t.Fatal(err)
	}
	a.env["ROLLCALL_TOKEN"] = token.Secret
}

// run runs an audit command and returns what it printed.
func (a *auditing) run(want int, args ...string) (out, errs string) {
	a.t.Helper()
	code, out, errs := rollcall(a.t, a.env, "", append([]string{"audit"}, args...)...)
	if code != want {
		a.t.Fatalf("%v: status %d, want %d: %s%s", args, code, want, out, errs)
	}
	return out, errs
}

// file writes a file and returns its path.
func (a *auditing) file(name, content string) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *auditing) read(path string) string {
	a.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(b)
}

func TestTheLogIsVerifiedByCheckpointsThatWereKept(t *testing.T) {
	a := newAuditing(t)
	out, _ := a.run(exitDone, "key")
	key := a.file("key", out)
	if secret, _ := a.run(exitDone, "key", "--new"); !strings.HasPrefix(secret, "PRIVATE+KEY+rollcall/ledger/") {
		t.Error("a new key is none")
	}
	saved := filepath.Join(a.dir, "saved")
	out, _ = a.run(exitDone, "verify", "--all-apps", "--key", key, "--save", saved)
	if !strings.Contains(out, "verified: the whole log up to position") {
		t.Errorf("verification of the whole log says %s", out)
	}
	a.create("d")
	a.asAuditor()
	if out, _ = a.run(exitDone, "verify", "--key", key, "--since", saved); !strings.Contains(out, "verified: the events of demo up to position") {
		t.Errorf("verification of an application says %s", out)
	}
	a.run(exitRefused, "verify", "--all-apps", "--key", key)
	if _, errs := a.run(exitDone, "verify"); !strings.Contains(errs, "the key is the service's own") {
		t.Errorf("without a key it says %s", errs)
	}
	out, _ = a.run(exitDone, "checkpoint")
	if lines := strings.Split(out, "\n"); len(lines) < 5 || !strings.HasPrefix(a.read(key), lines[0]+"+") || lines[3] != "" || !strings.HasPrefix(lines[4], "— "+lines[0]) {
		t.Errorf("the checkpoint is\n%s", out)
	}
	if out, _ = a.run(exitDone, "proof", "--position", "3", "--key", strings.TrimSpace(a.read(key))); !strings.Contains(out, `"leaf_hash"`) {
		t.Errorf("the proof is %s", out)
	}
	a.run(exitDone, "proof", "--from", "3", "--size", "5")
	if out, _ = a.run(exitDone, "proof", "--from", "3"); !strings.Contains(out, `"to": `) {
		t.Errorf("the proof up to the latest checkpoint is %s", out)
	}
	if out, _ = a.run(exitDone, "proof", "--position", "3", "--size", "4", "--key", key, "--checkpoint", saved); !strings.Contains(out, `"size": 4`) {
		t.Errorf("the proof in an earlier tree is %s", out)
	}
	a.run(exitRefused, "proof", "--position", "3", "--size", "999999")
	a.run(exitUsage, "proof")
	other := a.file("other", "rollcall/ledger/0000000000000000+00000000+AAAA")
	a.run(exitFailed, "verify", "--key", other)
	if _, errs := a.run(exitFailed, "verify", "--key", "rollcall/ledger/0000"); !strings.Contains(errs, "neither a public key") {
		t.Errorf("what is no key: %s", errs)
	}
	forged := a.file("forged", strings.Replace(a.read(saved), "\n", "\n1", 1))
	if _, errs := a.run(exitFailed, "verify", "--key", key, "--since", forged); !strings.Contains(errs, "checkpoint") {
		t.Errorf("a forged checkpoint: %s", errs)
	}
}

func TestAProofMustLeadToWhatWasSigned(t *testing.T) {
	key, _, err := ledger.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf := tlog.RecordHash([]byte("what was never in the log"))
	signed, err := key.Sign(1, tlog.RecordHash([]byte("what is in the log")))
	if err != nil {
		t.Fatal(err)
	}
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v1/ledger/checkpoint":
			_, _ = w.Write(signed)
		case "/v1/ledger/inclusion": // of a tree of its own
			_ = json.NewEncoder(w).Encode(client.InclusionProof{Position: 1, Size: 1, LeafHash: leaf[:], RootHash: leaf[:]})
		case "/v1/ledger/consistency":
			_ = json.NewEncoder(w).Encode(client.ConsistencyProof{From: 1, To: 1, FromRoot: leaf[:], ToRoot: leaf[:]})
		}
	}))
	defer liar.Close()
	env := map[string]string{"ROLLCALL_SERVER": liar.URL, "ROLLCALL_TOKEN": "rc_x"}
	for _, args := range [][]string{{"--position", "1"}, {"--from", "1"}, {"--position", "2"}} {
		code, out, errs := rollcall(t, env, "", append([]string{"audit", "proof", "--key", key.Public()}, args...)...)
		if code != exitFailed || out != "" {
			t.Errorf("%v: status %d: %s%s", args, code, out, errs)
		}
	}
}

func TestAPublicKeyIsKnownAsOneWhereAFileHasTheNameOfItsBeginning(t *testing.T) {
	key, _, err := ledger.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("rollcall", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := publicKey(key.Public()); got != key.Public() || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAReplayIsVerifiedWithoutAService(t *testing.T) {
	a := newAuditing(t)
	whole, part := filepath.Join(a.dir, "whole"), filepath.Join(a.dir, "part")
	a.run(exitDone, "replay", "--all-apps", "--to", "file:"+whole, "--proof")
	a.asAuditor()
	out, _ := a.run(exitDone, "key")
	key := a.file("key", out)
	a.run(exitDone, "replay", "--to", "file:"+part, "--proof")
	delete(a.env, "ROLLCALL_TOKEN")
	a.env["ROLLCALL_SERVER"] = "http://127.0.0.1:1" // there is none
	verify := func(want int, file string, more ...string) (out, errs string) {
		t.Helper()
		return a.run(want, append([]string{"verify", "--offline", "--replay", file, "--key", key}, more...)...)
	}
	for _, file := range []string{whole, part} {
		if out, _ := verify(exitDone, file); !strings.Contains(out, "verified: ") {
			t.Errorf("it says %s", out)
		}
	}
	if err := os.Rename(whole+".proof", whole+".put-by"); err != nil {
		t.Fatal(err)
	}
	verify(exitDone, whole)
	lines := strings.SplitAfter(a.read(part), "\n")
	_, position, _ := strings.Cut(lines[2], `"position":`)
	position, _, _ = strings.Cut(position, ",")
	for name, content := range map[string]string{
		"altered": strings.Replace(strings.Join(lines, ""), lines[2], strings.Replace(lines[2], "01", "02", 1), 1),
		"dropped": strings.Replace(strings.Join(lines, ""), lines[2], "", 1),
	} {
		file := a.file(name, content)
		_, errs := verify(exitFailed, file, "--checkpoint", part+".checkpoint", "--proof", part+".proof")
		if !strings.Contains(errs, "position "+position+" is "+name) {
			t.Errorf("a file that is %s at position %s: %s", name, position, errs)
		}
	}
	verify(exitDone, part, "--some")
	if out, _ := verify(exitDone, whole, "--proof", whole+".put-by", "--all-apps"); !strings.Contains(out, "none is missing") {
		t.Errorf("of the whole log it says %s", out)
	}
	if _, errs := verify(exitFailed, part, "--all-apps"); !strings.Contains(errs, "is dropped") {
		t.Errorf("a part that is taken for the whole log: %s", errs)
	}
	more := a.file("more", a.read(whole)+strings.Replace(lines[2], `{"position":`, `{"position":99`, 1))
	if _, errs := verify(exitFailed, more, "--checkpoint", whole+".checkpoint"); !strings.Contains(errs, "the checkpoint does not cover it") {
		t.Errorf("an event behind the checkpoint: %s", errs)
	}
	verify(exitFailed, part, "--checkpoint", a.file("c", "no checkpoint"))
	verify(exitFailed, part, "--proof", a.file("p", "no proof"))
	a.run(exitUsage, "verify", "--offline", "--replay", part)
}
