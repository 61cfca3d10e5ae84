package service_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
	"rollcall/handlers/export"
)

// exported returns the rows of an export's file.
func exported(t *testing.T, c *client.Client, e client.Export) string {
	t.Helper()
	var rows strings.Builder
	if err := c.Copy(t.Context(), e, &rows, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	return rows.String()
}

func TestAnAccountThatIsDeletedGoesFromTheFileOfAnExportAlsoAfterARestart(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.ExportsOnDelete = export.Rebuild
	s := start(t, cfg)
	write(t, s, "demo")
	c := api(t, s)
	for i := range 5 {
		if _, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": fmt.Sprint("u", i), "nickname": fmt.Sprint("name ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	ordered, err := c.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv", Fields: []string{"user_id"}, Filter: &client.ExportFilter{Text: "name"}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.WatchExport(t.Context(), "demo", ordered.ID, func(client.Export) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if rows := exported(t, c, first); rows != "user_id\r\nu0\r\nu1\r\nu2\r\nu3\r\nu4\r\n" {
		t.Fatalf("the first file is %q", rows)
	}
	rebuilt := func(c *client.Client, n int) (e client.Export) {
		t.Helper()
		storetest.Eventually(t, fmt.Sprint("the file is rebuilt, ", n), func() bool {
			var err error
			if e, err = c.Export(t.Context(), "demo", ordered.ID); err != nil {
				t.Fatal(err)
			}
			return e.Status == "completed" && e.Rebuilds == n
		})
		return e
	}
	if err := c.DeleteAccount(t.Context(), "demo", "u3"); err != nil {
		t.Fatal(err)
	}
	second := rebuilt(c, 1)
	if rows := exported(t, c, second); rows != "user_id\r\nu0\r\nu1\r\nu2\r\nu4\r\n" || second.Rows != 4 || !second.ExpiresAt.Equal(first.ExpiresAt) {
		t.Errorf("the second file is %q, and the export %s", rows, second.Raw)
	}
	old, err := http.Get(first.DownloadURL)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Body.Close(); err != nil || old.StatusCode != http.StatusGone {
		t.Errorf("the first file answers %s, %v", old.Status, err)
	}
	if files, err := filepath.Glob(filepath.Join(cfg.Data, "exports", "demo", "*")); err != nil || len(files) != 2 {
		t.Errorf("the folder has %v, %v", files, err)
	}
	stop(t, s)

	cfg.ExportsOnDelete = export.Remove
	s = start(t, cfg)
	defer stop(t, s)
	c = api(t, s)
	rebuilt(c, 1)
	if err := c.DeleteAccount(t.Context(), "demo", "u0"); err != nil {
		t.Fatal(err)
	}
	var gone client.Export
	storetest.Eventually(t, "the export expires", func() bool {
		gone, err = c.Export(t.Context(), "demo", ordered.ID)
		return err != nil || gone.Status == "expired"
	})
	if err != nil || !strings.Contains(gone.Error, "has been deleted since") {
		t.Errorf("the export is %s, %v", gone.Raw, err)
	}
}

func TestASettingThatThereIsNotIsRefused(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.ExportsOnDelete = "keep"
	s, err := service.Start(t.Context(), cfg)
	if err == nil {
		stop(t, s)
	}
	if err == nil || !strings.Contains(err.Error(), `"keep", want remove or rebuild`) {
		t.Errorf("start: %v", err)
	}
}
