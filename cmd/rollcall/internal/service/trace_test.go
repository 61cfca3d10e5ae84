package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/service"
	"rollcall/cmd/rollcall/internal/telemetry"
	"rollcall/cmd/rollcall/internal/telemetry/otlptest"
)

// producer is the span of whoever sends a command.
var producer = otlptest.Span{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", ID: "00f067aa0ba902b7"}

// logged is what a service has logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// tracedService is a service that sends its traces to a receiver and logs what it does.
func tracedService(t *testing.T) (*service.Service, *otlptest.Receiver, *logged) {
	t.Helper()
	receiver, lines := otlptest.Start(t), &logged{}
	receiver.Environ(t)
	cfg := config(t.TempDir())
	cfg.Logger = slog.New(telemetry.LogHandler(slog.NewJSONHandler(lines, nil)))
	var err error
	if cfg.Tracing, err = telemetry.Start(t.Context(), "v1", cfg.Logger); err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg)
	t.Cleanup(func() {
		ctx := context.Background() // that of the test has ended
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := cfg.Tracing.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, receiver, lines
}

// events hears the log.
func events(t *testing.T, s *service.Service) *nats.Subscription {
	t.Helper()
	nc := guest(t, s, s.OperatorToken())
	sub, err := nc.SubscribeSync("accounts.evt.demo.u.*")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// traceOfNext returns the trace context in the next event.
func traceOfNext(t *testing.T, sub *nats.Subscription) string {
	t.Helper()
	m, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	var e struct{ TraceParent string }
	if err := json.Unmarshal(m.Data, &e); err != nil {
		t.Fatal(err)
	}
	return e.TraceParent
}

// post creates an account over HTTP, with the trace context of the producer.
func post(t *testing.T, s *service.Service, user string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/v1/apps/demo/accounts", strings.NewReader(`{"user_id": "`+user+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.OperatorToken())
	req.Header.Set("Traceparent", producer.TraceParent())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("the account is answered by %s %s (%v)", resp.Status, b, err)
	}
}

// withTrace is a message that creates an account, with the trace context of the producer.
func withTrace(subject, user string) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: []byte(`{"user_id": "` + user + `"}`), Header: nats.Header{"traceparent": {producer.TraceParent()}}}
}

// checkTrace checks that one trace goes from the producer through the span that works for it and the append to the event, and that the batches of
// both projections are linked to it.
func checkTrace(t *testing.T, receiver *otlptest.Receiver, name, event string) {
	t.Helper()
	work := receiver.Await(t, name, func(s otlptest.Span) bool { return s.Name == name && s.Parent == producer.ID })
	if work.TraceID != producer.TraceID || work.Failed {
		t.Errorf("%s: the span is %+v", name, work)
	}
	if event != work.TraceParent() {
		t.Errorf("%s: the event has the trace context %s, the span is %+v", name, event, work)
	}
	appended := receiver.Await(t, "the append below "+name, func(s otlptest.Span) bool { return s.Name == "append" && s.Parent == work.ID })
	if appended.TraceID != producer.TraceID || appended.Attributes["rollcall.outcome"] != "ok" {
		t.Errorf("%s: the append is %+v", name, appended)
	}
	for _, projection := range []string{"account_list", "erasure"} {
		receiver.Await(t, "the batch of "+projection+" with a link to "+name, func(s otlptest.Span) bool {
			return s.Name == "apply "+projection && s.LinksTo(work) && s.TraceID != work.TraceID
		})
	}
}

func TestATraceGoesFromTheClientThroughTheAppendToTheProjections(t *testing.T) {
	s, receiver, _ := tracedService(t)
	write(t, s, "demo")
	heard := events(t, s)
	nc := guest(t, s, s.OperatorToken())

	post(t, s, "by-http")
	checkTrace(t, receiver, "POST /v1/apps/{app}/accounts", traceOfNext(t, heard))

	if _, err := nc.RequestMsg(withTrace("accounts.rpc.demo.create", "by-request"), patience); err != nil {
		t.Fatal(err)
	}
	checkTrace(t, receiver, "request create", traceOfNext(t, heard))

	if err := nc.PublishMsg(withTrace("accounts.cmd.demo.create", "by-message")); err != nil { // without an id it is dead
		t.Fatal(err)
	}
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PublishMsg(t.Context(), withTrace("accounts.cmd.demo.create", "by-message"), natsjs.WithMsgID("c1")); err != nil {
		t.Fatal(err)
	}
	checkTrace(t, receiver, "decide create", traceOfNext(t, heard))

	for _, span := range receiver.Spans() {
		if text := fmt.Sprint(span); strings.Contains(text, "by-") || strings.Contains(text, s.OperatorToken()) {
			t.Errorf("a span names an account or a token: %s", text)
		}
	}
}

func TestWithoutTracingTheTraceContextOfTheProducerGoesIntoTheEvent(t *testing.T) {
	s := start(t, config(t.TempDir()))
	defer stop(t, s)
	write(t, s, "demo")
	heard := events(t, s)
	nc := guest(t, s, s.OperatorToken())
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for door, send := range map[string]func() error{
		"http": func() error { post(t, s, "by-http"); return nil },
		"nats": func() error {
			_, err := nc.RequestMsg(withTrace("accounts.rpc.demo.create", "by-request"), patience)
			return err
		},
		"message": func() error {
			_, err := js.PublishMsg(t.Context(), withTrace("accounts.cmd.demo.create", "by-message"), natsjs.WithMsgID("c1"))
			return err
		},
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		if got := traceOfNext(t, heard); got != producer.TraceParent() {
			t.Errorf("%s: the event has the trace context %q", door, got)
		}
	}
}

func TestTheLineOfARequestHasItsTraceAndNoSecret(t *testing.T) {
	s, receiver, lines := tracedService(t)
	write(t, s, "demo")
	post(t, s, "ann")
	const route = "POST /v1/apps/{app}/accounts"
	span := receiver.Await(t, "the request's", func(s otlptest.Span) bool { return s.Name == route })
	found := false
	for line := range strings.Lines(lines.String()) {
		var l struct {
			Msg, Route string
			TraceID    string `json:"trace_id"`
			SpanID     string `json:"span_id"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("the log has a line that is no JSON: %v: %s", err, line)
		}
		if l.Msg == "request" && l.Route == route {
			found = true
			if l.TraceID != producer.TraceID || l.SpanID != span.ID {
				t.Errorf("the line is %s, the span %+v", line, span)
			}
		}
	}
	if !found {
		t.Errorf("the log has no line of the request:\n%s", lines)
	}
	if strings.Contains(lines.String(), s.OperatorToken()) {
		t.Error("the log has the operator's token")
	}
}
