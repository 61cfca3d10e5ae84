package service_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
	"rollcall/handlers/export"
	"rollcall/handlers/export/files/s3test"
)

// record keeps what is logged.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func TestExportsWaitForABucketThatGoesAwayAndTheServiceDoesNot(t *testing.T) {
	bucket := s3test.Run(t)
	logged := &record{}
	cfg := config(t.TempDir())
	cfg.Exports, cfg.Logger = bucket.Bucket(t, "exports"), slog.New(slog.NewTextHandler(logged, nil))
	bucket.Stop()
	s := start(t, cfg)
	defer stop(t, s)
	storetest.Eventually(t, "the operator is told", func() bool {
		return strings.Contains(logged.String(), "the file store cannot be reached")
	})
	write(t, s, "demo")
	c, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := range 3 {
		if _, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": fmt.Sprint("u", n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("without the bucket it is not ready: %v", err)
	}
	order, err := c.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "an attempt has failed", func() bool { return strings.Contains(logged.String(), "an export will be tried again") })
	if e, err := c.Export(t.Context(), "demo", order.ID); err != nil || e.Finished() || e.DownloadURL != "" {
		t.Errorf("without the bucket the export is %s, with the URL %q (%v)", e.Status, e.DownloadURL, err)
	}

	bucket.Start(t)
	e, err := c.WatchExport(t.Context(), "demo", order.ID, func(client.Export) error { return nil })
	if err != nil || e.Status != "completed" || e.Rows != 3 {
		t.Fatalf("the export is %s with %d rows (%v): %s", e.Status, e.Rows, err, e.Error)
	}
	checkDownload(t, c, e)
	if kept := bucket.Files(t); len(kept) != 3 { // the file, its manifest, and the mark of the owner
		t.Errorf("the bucket keeps %v", kept)
	}
	if strings.Contains(logged.String(), s3test.SecretKey) {
		t.Errorf("the secret is in the log: %s", logged)
	}
}

// checkDownload downloads a file as a client of the service and as anyone with its URL.
func checkDownload(t *testing.T, c *client.Client, e client.Export) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "accounts.csv")
	if err := c.Download(t.Context(), e, name, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	saved, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(e.DownloadURL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	served, err := io.ReadAll(res.Body)
	if err != nil || string(served) != string(saved) || !strings.Contains(string(saved), "u2") {
		t.Errorf("served are %q, saved %q (%v)", served, saved, err)
	}
	if got := res.Header.Get("Content-Disposition"); !strings.Contains(got, "accounts-demo-") {
		t.Errorf("its name is %q", got)
	}
}

func TestInstancesOnAClusterShareABucket(t *testing.T) {
	d := storetest.RunDeployment(t)
	bucket := s3test.Run(t)
	cfg := clusterConfig(t, d)
	cfg.Exports = bucket.Bucket(t, "exports")
	first := start(t, cfg)
	cfg.Data = t.TempDir()
	second := start(t, cfg)
	defer stop(t, second)
	write(t, first, "demo")
	c, err := client.New(first.URL(), first.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "u2"}); err != nil {
		t.Fatal(err)
	}
	order, err := c.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := c.WatchExport(t.Context(), "demo", order.ID, func(client.Export) error { return nil }); err != nil || e.Status != "completed" {
		t.Fatalf("the export is %s (%v)", e.Status, err)
	}
	stop(t, first) // whichever wrote the file, the other links to it
	other, err := client.New(second.URL(), second.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	e, err := other.Export(t.Context(), "demo", order.ID)
	if err != nil {
		t.Fatal(err)
	}
	checkDownload(t, other, e)
}

func TestTwoRollcallsDoNotShareAStoreOfExports(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.Exports = "file://" + t.TempDir()
	first := start(t, cfg)
	defer stop(t, first)
	another := config(t.TempDir())
	another.Exports = cfg.Exports
	s, err := service.Start(t.Context(), another)
	if err == nil {
		stop(t, s)
	}
	if !errors.Is(err, export.ErrStoreTaken) || !strings.Contains(err.Error(), "--exports") {
		t.Errorf("another one starts with %v", err)
	}
}

func TestExportsWaitForCredentialsThatAreTakenAndTheServiceDoesNot(t *testing.T) {
	bucket := s3test.Run(t)
	logged := &record{}
	cfg := config(t.TempDir())
	cfg.Exports, cfg.Logger = bucket.Bucket(t, "exports"), slog.New(slog.NewTextHandler(logged, nil))
	s3test.UseCredentials(t, s3test.AccessKey, "another-secret")
	s := start(t, cfg)
	write(t, s, "demo")
	c := api(t, s)
	order, err := c.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "an attempt has failed", func() bool { return strings.Contains(logged.String(), "an export will be tried again") })
	if e, err := c.Export(t.Context(), "demo", order.ID); err != nil || e.Finished() || e.DownloadURL != "" {
		t.Errorf("while it is refused the export is %s, with the URL %q (%v)", e.Status, e.DownloadURL, err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("while the store refuses it, the service is not ready: %v", err)
	}
	if kept := bucket.Files(t); len(kept) != 0 {
		t.Errorf("the bucket keeps %v", kept)
	}
	stop(t, s)
	if text := logged.String(); !strings.Contains(text, export.ErrStoreRefuses.Error()) || strings.Contains(text, "another-secret") {
		t.Errorf("the log does not tell why, or too much: %s", text)
	}

	s3test.UseCredentials(t, s3test.AccessKey, s3test.SecretKey)
	s = start(t, cfg)
	defer stop(t, s)
	c = api(t, s)
	if e, err := c.WatchExport(t.Context(), "demo", order.ID, func(client.Export) error { return nil }); err != nil || e.Status != "completed" {
		t.Errorf("with the right credentials the export is %s (%v): %s", e.Status, err, e.Error)
	}
}

func TestFilesOfExportsAreKeptForAsLongAsIsSaid(t *testing.T) {
	const life = 36 * time.Hour
	cfg := config(t.TempDir())
	cfg.ExportsLife = life
	s := start(t, cfg)
	defer stop(t, s)
	write(t, s, "demo")
	c := api(t, s)
	order, err := c.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.WatchExport(t.Context(), "demo", order.ID, func(client.Export) error { return nil })
	if err != nil || e.Status != "completed" {
		t.Fatalf("the export is %s (%v)", e.Status, err)
	}
	if left := time.Until(e.ExpiresAt); left > life || left < life-time.Hour {
		t.Errorf("it expires in %s", left)
	}
	cfg.Data, cfg.ExportsLife = t.TempDir(), 8*24*time.Hour
	if s, err := service.Start(t.Context(), cfg); err == nil {
		stop(t, s)
		t.Error("longer than a bucket serves a URL is taken")
	}
}
