package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"rollcall/cmd/rollcall/internal/client"
)

func TestServeKeepsWhatItMakesForItsOwnerAlone(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := serve(t, data)
	for name, want := range map[string]os.FileMode{".": 0o700, "operator.token": 0o600, "master.key": 0o600, "exports.key": 0o600} {
		info, err := os.Stat(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	token, err := os.ReadFile(filepath.Join(data, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	if strings.Contains(p.errors.String(), strings.TrimSpace(string(token))) {
		t.Error("the operator's token is in the log")
	}
}

func TestASecondServeOnTheSameFolderIsRefused(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	first := serve(t, data)
	second := serveOn(t, data)
	if code := second.wait(t); code != exitFailed {
		t.Errorf("the second serve ended with status %d, want %d", code, exitFailed)
	}
	text := second.errors.String()
	if !strings.Contains(text, "in use by another process") || !strings.Contains(text, data) || strings.Count(text, "\n") != 1 {
		t.Errorf("the second serve says %q; want one line that names the folder and that it is in use", text)
	}
	if _, err := first.client(t).CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Errorf("the first serve is disturbed: %v", err)
	}
	first.stop(t)
}

func TestServeWithoutItsMasterKeyIsRefused(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := serve(t, data)
	if _, err := p.client(t).CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	key := filepath.Join(data, "master.key")
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	again := serveOn(t, data)
	if code := again.wait(t); code != exitFailed {
		t.Errorf("serve ended with status %d, want %d", code, exitFailed)
	}
	if text := again.errors.String(); !strings.Contains(text, "master key") || !strings.Contains(text, "put it back") {
		t.Errorf("serve says %q; want what is missing and what to do", text)
	}
	if _, err := os.Stat(key); !errors.Is(err, os.ErrNotExist) {
		t.Error("serve made a new master key beside a log")
	}
}

func TestAFirstStartThatWasKilledCanBeRepeated(t *testing.T) {
	t.Parallel()
	for _, sign := range []string{"master.key", "log/jetstream", "log/jetstream/$G", "operator.token", "list/accounts.db"} {
		t.Run("once "+sign+" was there", func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			first := serveOn(t, data)
			eventually(t, sign+" is there", func() error {
				_, err := os.Stat(filepath.Join(data, sign))
				return err
			})
			first.signal(t, syscall.SIGKILL)
			p := serve(t, data)
			if _, err := p.client(t).CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
				t.Error(err)
			}
			p.stop(t)
		})
	}
}

func TestServeRefusesALogThatLostItsEnd(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, block string, size int64){
		"a block that was cut off": func(t *testing.T, block string, size int64) {
			if err := os.Truncate(block, size/2); err != nil {
				t.Fatal(err)
			}
		},
		"a block that is gone": func(t *testing.T, block string, _ int64) {
			if err := os.Remove(block); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			p := serve(t, data)
			api := p.client(t)
			if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
				t.Fatal(err)
			}
			imported(t, api, 200)
			eventually(t, "the list reads all of the log", func() error { return total(t, api, 200) })
			p.stop(t)
			blocks, err := filepath.Glob(filepath.Join(data, "log", "jetstream", "*", "streams", "ACCOUNTS", "msgs", "*.blk"))
			if err != nil || len(blocks) == 0 {
				t.Fatalf("no blocks of the log were found: %v", err)
			}
			last := blocks[len(blocks)-1]
			info, err := os.Stat(last)
			if err != nil {
				t.Fatal(err)
			}
			damage(t, last, info.Size())
			again := serveOn(t, data)
			if code := again.wait(t); code != exitFailed {
				t.Errorf("serve ended with status %d, want %d", code, exitFailed)
			}
			if text := again.errors.String(); !strings.Contains(text, "damaged") || !strings.Contains(text, "backup") {
				t.Errorf("serve says %q; want that the log is damaged and what to do", text)
			}
		})
	}
}

func TestOperatorsHearTheLogOverNATSAndNobodyWritesThere(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := serve(t, data)
	api := p.client(t)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	for who, secret := range map[string]string{"nobody": "", "a stranger": "rct_0_wrong"} {
		if nc, err := nats.Connect(p.nats, nats.UserInfo("token", secret)); err == nil {
			nc.Close()
			t.Errorf("%s may connect", who)
		}
	}
	operator, err := os.ReadFile(filepath.Join(data, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 16)
	nc, err := nats.Connect(p.nats, nats.UserInfo("token", strings.TrimSpace(string(operator))),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	heard, err := nc.SubscribeSync("accounts.evt.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"accounts.evt.demo.u.x", "accounts.key.x", "$JS.API.STREAM.DELETE.ACCOUNTS", "$JS.API.INFO"} {
		if err := nc.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publishing on %s: %v, want a violation of permissions", subject, err)
		}
	}
	if _, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "a", "type": "normal", "nickname": "김"}); err != nil {
		t.Fatal(err)
	}
	m, err := heard.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "accounts.evt.demo.u.a" || strings.Contains(string(m.Data), "김") {
		t.Errorf("heard %s: %s; want the creation with its personal data sealed", m.Subject, m.Data)
	}
}

func TestAnExportThatAStopInterruptsIsCompletedAfterTheNextStart(t *testing.T) {
	t.Parallel()
	p, api := running(t)
	const n = 500
	imported(t, api, n)
	e, err := api.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	if code := p.signal(t, syscall.SIGINT); code != 0 {
		t.Errorf("serve ended with status %d on SIGINT, want 0: %s", code, p.errors.String())
	}
	again := serve(t, p.data)
	e, err = again.client(t).WatchExport(t.Context(), "demo", e.ID, func(client.Export) error { return nil })
	if err != nil || e.Status != "completed" || e.Rows != n {
		t.Errorf("the export is %s with %d rows: %v; want it completed with %d", e.Status, e.Rows, err, n)
	}
	again.stop(t)
}

func TestAnExportWhoseWorkerIsKilledAgainAndAgainHasTheBytesOfAnUndisturbedOne(t *testing.T) {
	t.Parallel()
	const n, kills = 15000, 3
	program, data := built(t), filepath.Join(t.TempDir(), "data")
	p := serveBuilt(t, program, data)
	api := p.client(t)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	importedAs(t, api, n, func(i int) string { // nothing that a part could be made small of
		return fmt.Sprintf(`{"user_id":"u%05d","self_signature":"%s%s%s%s"}`+"\n", i, rand.Text(), rand.Text(), rand.Text(), strings.Repeat(rand.Text(), 10))
	})
	finished := func(id string) client.Export {
		e, err := p.client(t).WatchExport(t.Context(), "demo", id, func(client.Export) error { return nil })
		if err != nil || e.Status != "completed" || e.Rows != n {
			t.Fatalf("the export is %s with %d rows: %v", e.Status, e.Rows, err)
		}
		return e
	}
	order := func() client.Export {
		e, err := p.client(t).CreateExport(t.Context(), "demo", client.ExportOrder{Format: "ndjson"})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	want := finished(order().ID)
	disturbed := order()
	for kept := 1; kept <= kills; kept++ { // each time a part further
		eventually(t, "a part more is kept", func() error {
			if parts := partsOf(t, data, disturbed.ID); len(parts) < kept {
				return fmt.Errorf("kept are %v", parts)
			}
			return nil
		})
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wait(t)
		if len(partsOf(t, data, disturbed.ID)) == 0 {
			t.Fatal("the export was over before the kill: the test has tested nothing")
		}
		p = serveBuilt(t, program, data)
	}
	got := finished(disturbed.ID)
	if got.SHA256 != want.SHA256 || got.Bytes != want.Bytes || got.Position != want.Position {
		t.Errorf("the disturbed export has %d bytes at %d with %s, the undisturbed one %d at %d with %s", got.Bytes, got.Position, got.SHA256, want.Bytes, want.Position, want.SHA256)
	}
	eventually(t, "no part is left", func() error {
		if left := partsOf(t, data, disturbed.ID); len(left) > 0 {
			return fmt.Errorf("left are %v", left)
		}
		return nil
	})
	p.stop(t)
}

// partsOf returns the parts that a job has kept in the folder of exports.
func partsOf(t *testing.T, data, job string) (parts []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(data, "exports"), func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, job+"-part-") {
			parts = append(parts, path)
		}
		if errors.Is(err, fs.ErrNotExist) { // it went while it was looked at
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// imported imports n rows that must all be created.
func imported(t *testing.T, api *client.Client, n int) {
	t.Helper()
	importedAs(t, api, n, row)
}

func importedAs(t *testing.T, api *client.Client, n int, row func(i int) string) {
	t.Helper()
	var rows strings.Builder
	for i := range n {
		rows.WriteString(row(i))
	}
	created := 0
	err := api.ImportAccounts(t.Context(), "demo", client.Import{Mode: "create", ContentType: "application/x-ndjson"}, strings.NewReader(rows.String()),
		func(r client.RowResult) error {
			if p := r.Problem(); p != nil {
				return p
			}
			created++
			return nil
		})
	if err != nil || created != n {
		t.Fatalf("imported %d of %d rows: %v", created, n, err)
	}
}

// total returns nil when the list has n accounts.
func total(t *testing.T, api *client.Client, n int) error {
	page, err := api.Accounts(t.Context(), "demo", client.Listing{})
	if err == nil && page.Total != n {
		err = fmt.Errorf("the list has %d accounts, want %d", page.Total, n)
	}
	return err
}
