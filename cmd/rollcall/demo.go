package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
)

// demoCmd runs the whole path on sample data, in a data folder of its own.
type demoCmd struct {
	Accounts int  `help:"How many accounts to import." default:"12000"`
	Keep     bool `help:"Go on serving until interrupted."`
}

// The application and the figures of the demo.
const (
	demoApp       = "1400000001"
	demoSecondApp = "support-desk"
	demoEdits     = 200
	demoDeletes   = client.MaxDelete
	demoSearch    = "김"
	demoSignature = "안녕하세요 👋"
)

// Run runs the demo and removes its data.
func (c *demoCmd) Run(ctx context.Context, s *streams) (err error) {
	if c.Accounts <= demoEdits+demoDeletes {
		return usage("--accounts: at least %d, which the demo edits and deletes", demoEdits+demoDeletes+1)
	}
	dir, err := os.MkdirTemp("", "rollcall-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	started := time.Now()
	svc, err := service.Start(ctx, service.Config{Data: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Version: version})
	if err != nil {
		return fmt.Errorf("the service did not start: %w", err)
	}
	defer func() { err = errors.Join(err, svc.Stop(context.WithoutCancel(ctx))) }()
	api, err := client.New(svc.URL(), svc.OperatorToken())
	if err != nil {
		return err
	}
	d := &demo{api: api, out: s.out, err: s.err, dir: dir, accounts: c.Accounts}
	d.tell("start the service", 1, "process", time.Since(started))
	if err := d.run(ctx); err != nil {
		return fmt.Errorf("the demo stopped: %w", err)
	}
	if !c.Keep {
		fmt.Fprintln(s.out, "The demo is over and its data is removed; with --keep it goes on serving, and the URL works.")
		return nil
	}
	fmt.Fprintf(s.out, "Serving at %s until interrupted.\n", svc.URL())
	<-ctx.Done()
	return nil
}

// demo is one run of the demo.
type demo struct {
	api      *client.Client
	out, err io.Writer
	dir      string
	accounts int
}

func (d *demo) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.createApps, d.importAccounts, d.importAgain, d.editAccounts, d.deleteAccounts, d.listAccounts, d.exportAccounts,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tell prints what a step did and how fast.
func (d *demo) tell(step string, count int, what string, took time.Duration) {
	fmt.Fprintf(d.out, "%-42s %9s %-9s %8.2f s %9s/s\n", step, grouped(count), what, took.Seconds(), grouped(int64(float64(count)/took.Seconds())))
}

func (d *demo) createApps(ctx context.Context) error {
	started := time.Now()
	for id, name := range map[string]string{demoApp: "Messenger 메신저 信使 🚀", demoSecondApp: "Support"} {
		if _, err := d.api.CreateApp(ctx, client.AppChange{App: id, Name: &name}); err != nil {
			return err
		}
	}
	d.tell("create applications", 2, "apps", time.Since(started))
	started = time.Now()
	const admins = 3
	for i := range admins {
		fields := map[string]any{"user_id": fmt.Sprintf("admin-%d", i+1), "type": "admin", "nickname": fmt.Sprintf("관리자 %d", i+1)}
		if _, err := d.api.CreateAccount(ctx, demoApp, fields); err != nil {
			return err
		}
	}
	d.tell("create administrators, one by one", admins, "accounts", time.Since(started))
	return nil
}

// rows returns the accounts of the import as NDJSON.
func (d *demo) rows() (*bytes.Buffer, error) {
	var b bytes.Buffer
	for i := range d.accounts {
		if err := writeJSON(&b, sampleAccount(i)); err != nil {
			return nil, fmt.Errorf("make sample accounts: %w", err)
		}
	}
	return &b, nil
}

func (d *demo) importAccounts(ctx context.Context) error {
	return d.importRows(ctx, "import accounts in nine scripts", "create", func(sum *importSummary) bool { return sum.Created == int64(d.accounts) })
}

func (d *demo) importAgain(ctx context.Context) error {
	return d.importRows(ctx, "import the same again, nothing changes", "upsert", func(sum *importSummary) bool { return sum.Unchanged == int64(d.accounts) })
}

func (d *demo) importRows(ctx context.Context, step, mode string, right func(*importSummary) bool) error {
	rows, err := d.rows()
	if err != nil {
		return err
	}
	in := importInput{Mode: mode, ContentType: "application/x-ndjson", Size: int64(rows.Len()), Rows: rows}
	sum, err := importRows(ctx, d.api, demoApp, in, d.err, d.err)
	if err == nil {
		err = sum.verdict("the sample accounts")
	}
	if err == nil && !right(sum) {
		err = fmt.Errorf("the import did something else than it should: %s", sum)
	}
	if err != nil {
		return err
	}
	d.tell(step, int(sum.Rows), "accounts", sum.Took)
	return nil
}

func (d *demo) editAccounts(ctx context.Context) error {
	started := time.Now()
	for i := range demoEdits {
		id := sampleUserID(i)
		a, err := d.api.EditAccount(ctx, demoApp, id, map[string]any{"self_signature": demoSignature, "level": i, "location": nil}, 0)
		if err != nil {
			return err
		}
		if !sampleAccount(i).edited(i).matches(a) {
			return fmt.Errorf("account %s was not edited as asked", id)
		}
	}
	d.tell("edit profiles, one by one", demoEdits, "accounts", time.Since(started))
	return nil
}

func (d *demo) deleteAccounts(ctx context.Context) error {
	started := time.Now()
	ids := make([]string, demoDeletes)
	for i := range ids {
		ids[i] = sampleUserID(demoEdits + i)
	}
	results, err := d.api.DeleteAccounts(ctx, demoApp, ids)
	if err != nil {
		return err
	}
	for _, r := range results {
		if p := r.Problem(); p != nil {
			return fmt.Errorf("delete %s: %w", r.UserID, p)
		}
	}
	d.tell("delete accounts in one batch", len(results), "accounts", time.Since(started))
	return nil
}

// left is how many accounts there are in the end.
func (d *demo) left() int { return d.accounts + 3 - demoDeletes }

func (d *demo) listAccounts(ctx context.Context) error {
	started := time.Now()
	n, total := 0, 0
	for page, err := range d.api.Pages(ctx, demoApp, client.Listing{Sort: "nickname", Limit: 1000}) {
		if err != nil {
			return err
		}
		n, total = n+len(page.Accounts), page.Total
	}
	if n != d.left() || total != d.left() {
		return fmt.Errorf("the list has %d accounts and a total of %d, want %d", n, total, d.left())
	}
	d.tell("list all of them by nickname", n, "accounts", time.Since(started))
	started = time.Now()
	page, err := d.api.Accounts(ctx, demoApp, client.Listing{Text: demoSearch, Limit: 5})
	if err != nil {
		return err
	}
	d.tell("search for "+demoSearch, len(page.Accounts), "accounts", time.Since(started))
	t := tableWriter{w: d.out}
	for _, a := range page.Accounts {
		t.add([]string{" ", a.UserID, a.Type, moment(a.CreatedAt), a.Nickname})
	}
	return t.flush()
}

func (d *demo) exportAccounts(ctx context.Context) error {
	var last client.Export
	for _, format := range []string{"csv", "ndjson"} {
		started := time.Now()
		e, err := d.api.CreateExport(ctx, demoApp, client.ExportOrder{Format: format})
		if err != nil {
			return err
		}
		if e, err = watchExport(ctx, d.api, demoApp, e.ID, d.err); err != nil {
			return err
		}
		if err := exportVerdict(e, true); err != nil {
			return err
		}
		d.tell("export all to "+format, int(e.Rows), "accounts", time.Since(started))
		name := filepath.Join(d.dir, "export."+format)
		started = time.Now()
		if err := download(ctx, d.api, e, name, d.err); err != nil {
			return err
		}
		d.tell("download it and check its SHA-256", int(e.Bytes), "bytes", time.Since(started))
		last = e
	}
	if err := d.checkFile(filepath.Join(d.dir, "export.ndjson")); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nDownload URL, until %s:\n%s\n\n", moment(last.URLExpiresAt), last.DownloadURL)
	return nil
}

// checkFile compares an exported file with what was imported, edited and deleted.
func (d *demo) checkFile(name string) error {
	started := time.Now()
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	found := make(map[string]client.Account)
	for in := json.NewDecoder(bufio.NewReader(f)); ; {
		var a client.Account
		err := in.Decode(&a)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		found[a.UserID] = a
	}
	if len(found) != d.left() {
		return fmt.Errorf("the file has %d accounts, want %d", len(found), d.left())
	}
	for i := range d.accounts {
		want := sampleAccount(i)
		if i < demoEdits {
			want = want.edited(i)
		}
		got, there := found[want.UserID]
		deleted := i >= demoEdits && i < demoEdits+demoDeletes
		switch {
		case there == deleted:
			return fmt.Errorf("account %s is in the file: %t, want %t", want.UserID, there, !deleted)
		case there && !want.matches(got):
			return fmt.Errorf("account %s is not in the file as it was imported", want.UserID)
		}
	}
	d.tell("compare the file with what was imported", len(found), "accounts", time.Since(started))
	return nil
}
