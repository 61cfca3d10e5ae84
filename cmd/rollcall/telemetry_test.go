package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/telemetry/otlptest"
)

func TestServeSendsItsTracesBeforeItEndsAndLogsTheirIds(t *testing.T) {
	receiver := otlptest.Start(t)
	p := serve(t, filepath.Join(t.TempDir(), "data"), "OTEL_EXPORTER_OTLP_ENDPOINT="+receiver.URL, "OTEL_BSP_SCHEDULE_DELAY=3600000",
		"OTEL_SERVICE_NAME=accounts", "ROLLCALL_LOG_LEVEL=info", "ROLLCALL_LOG_FORMAT=json")
	if _, err := p.client(t).CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	if n := len(receiver.Spans()); n != 0 {
		t.Errorf("%d spans came although the time to send them has not come", n)
	}
	p.stop(t)
	span := receiver.Await(t, "the request's", func(s otlptest.Span) bool { return s.Name == "POST /v1/apps" })
	if span.Service != "accounts" {
		t.Errorf("the span is %+v", span)
	}
	receiver.Await(t, "the append's", func(s otlptest.Span) bool { return s.Name == "append" && s.Parent == span.ID })
	for line := range strings.Lines(p.errors.String()) {
		var l struct {
			Route   string
			TraceID string `json:"trace_id"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("the log has a line that is no JSON: %v: %s", err, line)
		}
		if l.Route == "POST /v1/apps" && l.TraceID == span.TraceID {
			return
		}
	}
	t.Errorf("no line of the log has the trace %s:\n%s", span.TraceID, p.errors.String())
}

func TestServeRefusesAnExporterThatItDoesNotHave(t *testing.T) {
	p := serveOn(t, filepath.Join(t.TempDir(), "data"), "OTEL_TRACES_EXPORTER=zipkin")
	if code := p.wait(t); code != exitUsage || !strings.Contains(p.errors.String(), "OTEL_TRACES_EXPORTER") {
		t.Errorf("it ended with status %d and %q", code, p.errors.String())
	}
}
