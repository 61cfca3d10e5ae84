package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/telemetry"
	"rollcall/cmd/rollcall/internal/telemetry/otlptest"
	"rollcall/eventstore"
	"rollcall/handlers/intake"
	"rollcall/projections"
)

const (
	producer = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	unheard  = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00" // of a producer that records nothing
)

// traced begins to trace to a receiver.
func traced(t *testing.T) (*telemetry.Tracing, *otlptest.Receiver) {
	t.Helper()
	r := otlptest.Start(t)
	r.Environ(t)
	tracing, err := telemetry.Start(t.Context(), "v1", slog.New(slog.DiscardHandler))
	if err != nil || tracing == nil {
		t.Fatalf("started %v, %v", tracing, err)
	}
	t.Cleanup(func() {
		if err := tracing.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tracing, r
}

func named(name string) func(otlptest.Span) bool {
	return func(s otlptest.Span) bool { return s.Name == name }
}

func TestTracesAreSentOnlyWhenTheEnvironmentAsksForThem(t *testing.T) {
	const here = "http://127.0.0.1:4318"
	for _, c := range []struct {
		env   map[string]string
		on    bool
		wrong string
	}{
		{nil, false, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": here}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": here}, false, ""},
		{map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": here}, false, ""},
		{map[string]string{"OTEL_TRACES_SAMPLER": "always_off", "OTEL_EXPORTER_OTLP_ENDPOINT": here}, false, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, "zipkin"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": here, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, true, ""},
	} {
		t.Run(fmt.Sprint(c.env), func(t *testing.T) {
			for _, name := range []string{"EXPORTER_OTLP_ENDPOINT", "EXPORTER_OTLP_TRACES_ENDPOINT", "TRACES_EXPORTER", "SDK_DISABLED", "TRACES_SAMPLER", "EXPORTER_OTLP_PROTOCOL", "EXPORTER_OTLP_TRACES_PROTOCOL"} {
				t.Setenv("OTEL_"+name, c.env["OTEL_"+name])
			}
			tracing, err := telemetry.Start(t.Context(), "v1", slog.New(slog.DiscardHandler))
			if (tracing != nil) != c.on || (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("it is on: %t (%v)", tracing != nil, err)
			}
			if err := tracing.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// serveOne serves one request with a trace context and returns what the handler found as such.
func serveOne(tracing *telemetry.Tracing, path, traceParent string, status int) (found string) {
	handler := tracing.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found = r.Header.Get("Traceparent")
		r.Pattern = "GET /v1/apps/{app}"
		w.WriteHeader(status)
	}), func(w http.ResponseWriter) int { return w.(*httptest.ResponseRecorder).Code })
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if traceParent != "" {
		r.Header.Set("Traceparent", traceParent)
	}
	handler.ServeHTTP(httptest.NewRecorder(), r)
	if got := r.Header.Get("Traceparent"); got != traceParent {
		return "the request itself was changed to have " + got
	}
	return found
}

func TestARequestHasASpanBelowThatOfItsClientAndHandsOnItsOwn(t *testing.T) {
	tracing, receiver := traced(t)
	found := serveOne(tracing, "/v1/apps/ann", producer, http.StatusServiceUnavailable)
	span := receiver.Await(t, "the request's", named("GET /v1/apps/{app}"))
	if span.TraceID != traceID || span.Parent != "b7ad6b7169203331" || found != span.TraceParent() {
		t.Errorf("the span is %+v, the handler found %s", span, found)
	}
	if !span.Failed || span.Attributes["http.route"] != "GET /v1/apps/{app}" || !strings.Contains(span.Attributes["http.response.status_code"], "503") || span.Service != "rollcall" {
		t.Errorf("the span is %+v", span)
	}
	if strings.Contains(fmt.Sprint(span), "ann") {
		t.Errorf("the span has the path: %+v", span)
	}
}

func TestARequestOfAClientWithoutATraceBeginsOne(t *testing.T) {
	tracing, receiver := traced(t)
	found := serveOne(tracing, "/v1/apps/ann", "", http.StatusOK)
	if span := receiver.Await(t, "the request's", named("GET /v1/apps/{app}")); span.Parent != "" || span.Failed || found != span.TraceParent() {
		t.Errorf("the span is %+v, the handler found %s", span, found)
	}
}

func TestWhatIsNotRecordedHandsOnWhatCame(t *testing.T) {
	tracing, receiver := traced(t)
	for what, found := range map[string]string{
		"a client that records nothing": serveOne(tracing, "/v1/apps/ann", unheard, http.StatusOK),
		"a probe":                       serveOne(tracing, "/readyz", unheard, http.StatusOK),
		"tracing that is off":           serveOne(nil, "/v1/apps/ann", unheard, http.StatusOK),
	} {
		if found != unheard {
			t.Errorf("%s: the handler found %q", what, found)
		}
	}
	serveOne(tracing, "/v1/apps/ann", "", http.StatusOK)
	receiver.Await(t, "the last request's", named("GET /v1/apps/{app}"))
	if n := len(receiver.Spans()); n != 1 {
		t.Errorf("%d spans came, want that of the last request alone: %+v", n, receiver.Spans())
	}
}

// log is a log that answers appends with an error, or none.
// log appends; nothing else is asked of it.
type log struct {
	eventstore.Store
	err error
}

func (l log) Append(context.Context, ...eventstore.Proposal) ([]eventstore.Position, error) {
	if l.err != nil {
		return nil, l.err
	}
	return []eventstore.Position{7}, nil
}

var proposal = eventstore.Proposal{Event: eventstore.Envelope{Aggregate: eventstore.Account("demo", "ann"), CommandID: "c1", Type: "account.created.v1"}}

func TestEachAttemptToDecideACommandHasASpanAndItsAppendsBelow(t *testing.T) {
	tracing, receiver := traced(t)
	for what, c := range map[string]struct {
		err          error
		append       string
		appendFailed bool
		decideFailed bool
	}{
		"accepted": {nil, "ok", false, false},
		"conflict": {fmt.Errorf("append: %w", eventstore.ErrConflict), "conflict", false, true},
		"unknown":  {fmt.Errorf("append: %w", eventstore.ErrUnknownOutcome), "unknown", true, true},
		"away":     {eventstore.ErrUnavailable, "unavailable", true, true},
		"invalid":  {eventstore.ErrInvalid, "failed", true, true},
	} {
		store := tracing.Store(log{err: c.err})
		var carried string
		decide := tracing.Decide(func(ctx context.Context, c intake.Command) error {
			carried = c.TraceParent
			_, err := store.Append(ctx, proposal)
			return err
		})
		command := intake.Command{ID: what, App: "demo", Verb: intake.Create, TraceParent: producer}
		if err := decide(t.Context(), command); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", what, err)
		}
		decided := receiver.Await(t, "of the command", func(s otlptest.Span) bool { return s.Attributes["rollcall.command_id"] == what })
		appended := receiver.Await(t, "of the append", func(s otlptest.Span) bool { return s.Name == "append" && s.Parent == decided.ID })
		if decided.TraceID != traceID || decided.Parent != "b7ad6b7169203331" || carried != decided.TraceParent() || decided.Failed != c.decideFailed || decided.Name != "decide create" {
			t.Errorf("%s: the span is %+v, the command carried %s", what, decided, carried)
		}
		if appended.TraceID != traceID || appended.Attributes["rollcall.outcome"] != c.append || appended.Failed != c.appendFailed {
			t.Errorf("%s: the append is %+v", what, appended)
		}
		if text := fmt.Sprint(decided, appended); strings.Contains(text, "ann") {
			t.Errorf("%s: a span names the account: %s", what, text)
		}
	}
}

func TestADeadCommandIsNoFailureOfTheService(t *testing.T) {
	tracing, receiver := traced(t)
	decide := tracing.Decide(func(context.Context, intake.Command) error { return &intake.Unreadable{Code: intake.CodeUnknownSender} })
	if err := decide(t.Context(), intake.Command{Verb: intake.Edit}); err == nil {
		t.Error("the error is lost")
	}
	if span := receiver.Await(t, "of the command", named("decide edit")); span.Failed || span.Attributes["rollcall.outcome"] != string(intake.CodeUnknownSender) {
		t.Errorf("the span is %+v", span)
	}
}

func TestAnImportHasABoundedNumberOfSpans(t *testing.T) {
	tracing, receiver := traced(t)
	store := tracing.Store(log{})
	const appends = 1000
	done := tracing.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for range appends {
			if _, err := store.Append(r.Context(), proposal); err != nil {
				t.Error(err)
			}
		}
	}), func(http.ResponseWriter) int { return http.StatusOK })
	done.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/import", nil))
	receiver.Await(t, "the request's", named("POST"))
	if n := len(receiver.Spans()); n < 2 || n > 200 {
		t.Errorf("%d appends have %d spans", appends, n)
	}
}

func TestABatchIsLinkedToTheTracesOfItsEventsEachOnceAndToSoManyAtMost(t *testing.T) {
	tracing, receiver := traced(t)
	events := []eventstore.Envelope{{Position: 3, TraceParent: producer}, {Position: 4, TraceParent: producer}, {Position: 5, TraceParent: unheard}, {Position: 6}}
	began := time.Now().Add(-time.Second)
	tracing.Applied(t.Context(), projections.Batch{Projection: "few", Events: events, Began: began, Took: time.Millisecond})
	if span := receiver.Await(t, "the batch's", named("apply few")); len(span.Links) != 1 || span.Links[0] != strings.TrimSuffix(producer, "-01") || span.Parent != "" || span.TraceID == traceID {
		t.Errorf("the batch is %+v", span)
	}
	for i := range 500 {
		events = append(events, eventstore.Envelope{Position: eventstore.Position(7 + i), TraceParent: fmt.Sprintf("00-%032x-%016x-01", i+1, i+1)})
	}
	tracing.Applied(t.Context(), projections.Batch{Projection: "many", Events: events, Began: began, Err: errors.New("busy")})
	if span := receiver.Await(t, "the batch's", named("apply many")); len(span.Links) != 64 || !span.Failed {
		t.Errorf("the batch has %d links: %+v", len(span.Links), span)
	}
	tracing.Applied(t.Context(), projections.Batch{Projection: "none", Events: events[2:4], Began: began})
	tracing.Applied(t.Context(), projections.Batch{Projection: "last", Events: events[:1], Began: began})
	receiver.Await(t, "the last batch's", named("apply last"))
	for _, s := range receiver.Spans() {
		if s.Name == "apply none" {
			t.Error("a batch whose events have no trace has one")
		}
	}
}

func TestAReceiverThatDoesNotAnswerHoldsNothingUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it takes connections and never answers
	otlptest.Start(t).Environ(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	tracing, err := telemetry.Start(t.Context(), "v1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serveOne(tracing, "/v1/apps/ann", "", http.StatusOK)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = tracing.Stop(ctx) // whether it noticed in time does not matter
	if took := time.Since(began); took > otlptest.Patience/2 {
		t.Errorf("it took %s to stop", took)
	}
}

func TestAReceiverThatRefusesIsToldOfOnceAndWhenItTakesTracesAgain(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusBadRequest)
	came := make(chan struct{}, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		came <- struct{}{}
	}))
	defer receiver.Close()
	otlptest.Start(t).Environ(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	var text bytes.Buffer // written by one goroutine, which Stop waits for
	tracing, err := telemetry.Start(t.Context(), "v1", slog.New(slog.NewTextHandler(&text, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []int64{http.StatusBadRequest, http.StatusBadRequest, http.StatusOK} {
		status.Store(s)
		serveOne(tracing, "/v1/apps/ann", "", http.StatusOK)
		select {
		case <-came:
		case <-time.After(otlptest.Patience):
			t.Fatal("nothing was sent")
		}
	}
	if err := tracing.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if refused, taken := strings.Count(text.String(), "cannot be sent"), strings.Count(text.String(), "sent again"); refused != 1 || taken != 1 {
		t.Errorf("the log tells %d times of trouble and %d times that it is over:\n%s", refused, taken, text.String())
	}
}

func TestLinesWithinASpanHaveTheIdsOfIt(t *testing.T) {
	tracing, receiver := traced(t)
	var text bytes.Buffer
	logger := slog.New(telemetry.LogHandler(slog.NewJSONHandler(&text, nil))).With("part", "test")
	handler := tracing.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		logger.InfoContext(r.Context(), "within")
		logger.InfoContext(context.Background(), "without")
	}), func(http.ResponseWriter) int { return http.StatusOK })
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, "/", nil))
	span := receiver.Await(t, "the request's", named("PUT"))
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	var within, without map[string]any
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &within), json.Unmarshal([]byte(lines[1]), &without)); err != nil {
		t.Fatal(err)
	}
	if within["trace_id"] != span.TraceID || within["span_id"] != span.ID || within["part"] != "test" {
		t.Errorf("the line is %v, the span %+v", within, span)
	}
	if without["trace_id"] != nil || without["part"] != "test" {
		t.Errorf("the line is %v", without)
	}
}
