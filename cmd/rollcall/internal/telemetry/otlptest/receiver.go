// Package otlptest receives traces in tests, by OTLP over HTTP as any receiver does.
//
// It owns the reading of what is sent. Only tests may import it.
package otlptest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Patience is how long a test waits for a span.
const Patience = 30 * time.Second

// Span is a span that was received. Ids are in hexadecimal digits.
type Span struct {
	TraceID, ID, Parent string // Parent is empty for a root
	Name                string
	Kind                trace.Span_SpanKind
	Failed              bool
	Links               []string // traceparents without their flags, 00-<trace>-<span>
	Attributes          map[string]string
	Service             string // the resource's service.name
}

// TraceParent returns how the span is named in headers and events.
func (s Span) TraceParent() string { return "00-" + s.TraceID + "-" + s.ID + "-01" }

// LinksTo tells whether the span has a link to another.
func (s Span) LinksTo(other Span) bool {
	return slices.Contains(s.Links, "00-"+other.TraceID+"-"+other.ID)
}

// Receiver is a receiver of traces.
type Receiver struct {
	URL string

	mu      sync.Mutex
	spans   []Span
	changed chan struct{} // closed at each change
}

// Start starts a receiver until the end of the test.
func Start(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{changed: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var got collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &got)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			t.Errorf("what came on %s is no traces: %v", req.URL.Path, err)
			http.Error(w, "no traces", http.StatusBadRequest)
			return
		}
		r.take(&got)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

func (r *Receiver) take(got *collector.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range got.ResourceSpans {
		service := attributesOf(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, spanOf(s, service))
			}
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func spanOf(s *trace.Span, service string) Span {
	span := Span{
		TraceID: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		Name: s.Name, Kind: s.Kind, Failed: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
		Attributes: attributesOf(s.Attributes), Service: service,
	}
	for _, l := range s.Links {
		span.Links = append(span.Links, "00-"+hex.EncodeToString(l.TraceId)+"-"+hex.EncodeToString(l.SpanId))
	}
	return span
}

func attributesOf(all []*common.KeyValue) map[string]string {
	m := make(map[string]string, len(all))
	for _, a := range all {
		if v, ok := a.GetValue().GetValue().(*common.AnyValue_StringValue); ok {
			m[a.Key] = v.StringValue
		} else {
			m[a.Key] = a.GetValue().String()
		}
	}
	return m
}

// Spans returns what has been received.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Await returns the first span that a test lets through, and fails when none comes.
func (r *Receiver) Await(t testing.TB, what string, test func(Span) bool) Span {
	t.Helper()
	deadline := time.After(Patience)
	for {
		r.mu.Lock()
		i := slices.IndexFunc(r.spans, test)
		all, changed := r.spans, r.changed
		r.mu.Unlock()
		if i >= 0 {
			return all[i]
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no span came that is %s, of %d: %+v", what, len(all), all)
		}
	}
}

// Environ sets the environment that asks for traces to be sent here, at once.
func (r *Receiver) Environ(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_BSP_SCHEDULE_DELAY": "20",
		"OTEL_TRACES_EXPORTER": "", "OTEL_SDK_DISABLED": "", "OTEL_TRACES_SAMPLER": "", "OTEL_SERVICE_NAME": "",
	} {
		t.Setenv(name, value)
	}
}
