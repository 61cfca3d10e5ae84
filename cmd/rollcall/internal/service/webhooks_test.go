package service_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
)

func TestWebhooksGetEventsFromWhicheverInstanceLeads(t *testing.T) {
	t.Parallel()
	came := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { came <- r.Header.Get("webhook-id") }))
	defer receiver.Close()
	d := storetest.RunDeployment(t)
	files := "file://" + t.TempDir()
	instance := func() *service.Service {
		cfg := clusterConfig(t, d)
		cfg.WebhooksAllowPrivate, cfg.Exports = true, files
		return start(t, cfg)
	}
	first := instance()
	write(t, first, "demo")
	second := instance()
	defer stop(t, second)
	hook, err := api(t, second).CreateWebhook(t.Context(), "demo", receiver.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	export := func(c *client.Client) {
		t.Helper()
		e, err := c.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
		if err != nil {
			t.Fatal(err)
		}
		if e, err = c.WatchExport(t.Context(), "demo", e.ID, func(client.Export) error { return nil }); err != nil || e.Status != "completed" {
			t.Fatalf("the export is %s: %v", e.Status, err)
		}
		select {
		case <-came:
		case <-time.After(patience):
			t.Fatal("no event came")
		}
	}
	export(api(t, first))
	stop(t, first)
	export(api(t, second))
	storetest.Eventually(t, "both are delivered", func() bool {
		n := 0
		for d, err := range api(t, second).Deliveries(t.Context(), "demo", hook.ID) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Status == "delivered" {
				n++
			}
		}
		return n == 2
	})
}
