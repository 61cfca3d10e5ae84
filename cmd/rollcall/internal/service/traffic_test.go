package service_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
)

// used is a service that has been used by every door.
func used(t *testing.T) *service.Service {
	t.Helper()
	cfg := config(t.TempDir())
	cfg.Version = "v1.2.3"
	s := start(t, cfg)
	traffic(t, s)
	return s
}

// traffic uses a service by every door, well and badly, and returns when all of it is done.
func traffic(t *testing.T, s *service.Service) {
	t.Helper()
	c, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(t, s, "demo")
	_, err = c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann", "nickname": "앤"})
	must(err)
	if _, err = c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann"}); err == nil {
		t.Fatal("an account was created twice")
	}
	nc := guest(t, s, s.OperatorToken())
	outcomes, err := nc.SubscribeSync("accounts.outcome.demo.>")
	must(err)
	must(nc.Flush())
	publish(t, nc, "m1", "create", `{"user_id": "bob"}`)
	publish(t, nc, "m1", "create", `{"user_id": "bob"}`)
	publish(t, nc, "m2", "edit", `{"user_id": "nobody", "level": 1}`)
	publish(t, nc, "m3", "create", `not JSON`)
	for range 3 {
		_, err := outcomes.NextMsg(patience)
		must(err)
	}
	refused, err := nc.RequestMsg(&nats.Msg{Subject: "accounts.cmd.demo.create", Header: nats.Header{"Nats-Rollup": {"all"}}}, patience)
	if err != nil || !strings.Contains(string(refused.Data), "error") {
		t.Fatalf("a header that means nothing was answered by %v, %v", refused, err)
	}
	for subject, body := range map[string]string{"create": `{"user_id": "eve"}`, "get": `{"user_id": "ann"}`, "delete": `{"user_id": "nobody"}`} {
		_, err := nc.Request("accounts.rpc.demo."+subject, []byte(body), patience)
		must(err)
	}
	must(c.DeleteAccount(t.Context(), "demo", "ann"))
	job, err := c.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
	must(err)
	storetest.Eventually(t, "the export is completed and everything is caught up with", func() bool {
		got, err := c.Export(t.Context(), "demo", job.ID)
		must(err)
		figures := read(t, s)
		return got.Status == "completed" && value(t, figures, "rollcall_projection_lag_events", "projection", "erasure") == 0 &&
			value(t, figures, "rollcall_projection_lag_events", "projection", "account_list") == 0 &&
			value(t, figures, "rollcall_log_position") == 7 && // the erasure is recorded
			value(t, figures, "rollcall_export_attempt_duration_seconds", "format", "csv", "outcome", "completed") == 1
	})
}

// figures are metrics by name.
type figures map[string]*dto.MetricFamily

// read reads the metrics of a service.
func read(t *testing.T, s *service.Service) figures {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.OperatorToken())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("the metrics are answered by %s: %s", resp.Status, b)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value returns the value of a metric with labels, given as names and values, -1 when there is none. That of a histogram is its count.
func value(t *testing.T, f figures, name string, labels ...string) float64 {
	t.Helper()
	family := f[name]
	if family == nil {
		return -1
	}
next:
	for _, m := range family.Metric {
		for i := 0; i < len(labels); i += 2 {
			if !has(m, labels[i], labels[i+1]) {
				continue next
			}
		}
		switch {
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Gauge != nil:
			return m.Gauge.GetValue()
		case m.Histogram != nil:
			return float64(m.Histogram.GetSampleCount())
		}
	}
	return -1
}

func has(m *dto.Metric, name, value string) bool {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue() == value
		}
	}
	return false
}
