package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/eventstore/storetest"
)

func TestTheMasterKeyIsRotatedByARestart(t *testing.T) {
	t.Parallel()
	p, api := running(t)
	if _, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann", "nickname": "앤"}); err != nil {
		t.Fatal(err)
	}
	status := func(p *process) []string {
		t.Helper()
		code, out, errs := rollcall(t, p.env(), "", "keys", "status", "--output", "csv")
		if code != exitDone {
			t.Fatalf("keys status: %s", errs)
		}
		return lines(out)[1:]
	}
	if got := status(p); len(got) != 1 || !strings.Contains(got[0], ",current,") {
		t.Fatalf("before the rotation there are %q", got)
	}
	p.stop(t)
	kms := "base64key://bm90IGEgc2VjcmV0LCBidXQgb2YgMzIgYnl0ZXMuLi4="
	rotate := []string{"keys", "rotate", "--data", p.data, "--kms", kms}
	if code, _, errs := rollcall(t, nil, "", rotate...); code != exitDone {
		t.Fatalf("keys rotate: %s", errs)
	}
	if code, _, errs := rollcall(t, nil, "", rotate...); code != exitFailed || !strings.Contains(errs, "master.key.old") {
		t.Errorf("a rotation within another one: status %d: %s", code, errs)
	}
	old := filepath.Join(p.data, "master.key.old")
	hidden := filepath.Join(t.TempDir(), "hidden")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(old, hidden)
	if code, _, errs := rollcall(t, nil, "", "serve", "--data", p.data, "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"); code != exitFailed || !strings.Contains(errs, "wrapped with master key") {
		t.Errorf("without the old master key: status %d: %s", code, errs)
	}
	move(hidden, old)
	p = serve(t, p.data)
	storetest.Eventually(t, "no keys are under the old master key", func() bool {
		got := strings.Join(status(p), "\n")
		return strings.Contains(got, ",old,0") && !strings.Contains(got, ",current,0")
	})
	p.stop(t)
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	p = serve(t, p.data)
	if a, err := p.client(t).Account(t.Context(), "demo", "ann"); err != nil || a.Nickname != "앤" {
		t.Errorf("after the rotation the account is %+v, %v", a, err)
	}
	if code, out, errs := rollcall(t, p.env(), "", "accounts", "history", "ann"); code != exitDone || !strings.Contains(out, "앤") {
		t.Errorf("after the rotation the history is %s%s", out, errs)
	}
}
