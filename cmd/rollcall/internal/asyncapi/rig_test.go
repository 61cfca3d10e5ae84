package asyncapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
)

// patience bounds everything that tests wait for.
const patience = 30 * time.Second

// rig is a running service, an operator's connection to it, and what that has heard.
type rig struct {
	document *document
	data     string
	service  *service.Service
	api      *client.Client
	nc       *nats.Conn

	mu    sync.Mutex
	heard []message
	more  chan struct{} // closed when something more is heard
}

// newRig starts a service with the application demo, heard from its first event on.
func newRig(t *testing.T, change ...func(*service.Config)) *rig {
	t.Helper()
	r := &rig{document: load(t), data: t.TempDir(), more: make(chan struct{})}
	cfg := service.Config{Data: r.data, Listen: "127.0.0.1:0", NATSListen: "127.0.0.1:0"}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if r.service, err = service.Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.stop(t) })
	if r.api, err = client.New(r.service.URL(), r.service.OperatorToken()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.api.Close)
	if r.nc, err = nats.Connect(r.service.NATSURL(), nats.UserInfo("token", r.service.OperatorToken())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.nc.Close)
	for _, c := range r.document.channels(t) {
		if !r.tells(t, c) {
			continue
		}
		if _, err := r.nc.Subscribe(c.pattern(), r.hear); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	return r
}

// tells tells whether Rollcall sends on a channel.
func (r *rig) tells(t testing.TB, c channel) bool {
	t.Helper()
	for name := range r.document.object(t, "operations") {
		operation := r.document.object(t, "operations", name)
		if ref, _ := refOf(operation["channel"]); ref == "#/channels/"+c.name {
			return operation["action"] == "send"
		}
	}
	return false
}

func (r *rig) hear(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = append(r.heard, heard(m))
	close(r.more)
	r.more = make(chan struct{})
}

// await returns the first message heard that fits, which it waits for.
func (r *rig) await(t testing.TB, what string, fits func(message) bool) message {
	t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		i, more := slices.IndexFunc(r.heard, fits), r.more
		if i >= 0 {
			defer r.mu.Unlock()
			return r.heard[i]
		}
		r.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("nobody told of %s", what)
		}
	}
}

// outcome waits for what became of a command and returns it with its status and code.
func (r *rig) outcome(t testing.TB, app, id, status string) (m message, code string) {
	t.Helper()
	var data struct {
		Data struct {
			Status, Code string
		}
	}
	m = r.await(t, fmt.Sprintf("command %s in the end being %s", id, status), func(m message) bool {
		if m.subject != "accounts.outcome."+app+"."+id {
			return false
		}
		if err := json.Unmarshal(m.body, &data); err != nil {
			t.Fatal(err)
		}
		return data.Data.Status == status
	})
	return m, data.Data.Code
}

// request sends a message and returns its answer, which it holds against the document.
func (r *rig) request(t testing.TB, subject string, m message) (name string, answer message) {
	t.Helper()
	out := &nats.Msg{Subject: subject, Data: m.body, Header: nats.Header{}}
	for name, v := range m.headers {
		out.Header[name] = []string{v.(string)}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reply, err := r.nc.RequestMsgWithContext(ctx, out)
	if err != nil {
		t.Fatalf("%s %s: %v", subject, m.body, err)
	}
	answer = heard(reply)
	among := r.document.replies(t, r.document.on(t, subject))
	more := map[string]any{"Undocumented": "1"}
	maps.Copy(more, answer.headers)
	if names, _ := r.document.fitting(t, among, message{headers: more, body: answer.body}); len(names) > 0 {
		t.Errorf("with a header that is not described it still is %q", names)
	}
	return r.document.which(t, among, answer), answer
}

// publish sends a command, which must be acknowledged, unless its PubAck must have an error of a code.
func (r *rig) publish(t testing.TB, subject string, m message, code int) {
	t.Helper()
	_, answer := r.request(t, subject, m)
	var ack struct{ Error struct{ Code int } }
	if err := json.Unmarshal(answer.body, &ack); err != nil || ack.Error.Code != code {
		t.Errorf("%s %.200s is acknowledged by %s, want code %d", subject, m.body, answer.body, code)
	}
}

// stop stops the service.
func (r *rig) stop(t testing.TB) {
	t.Helper()
	if err := r.service.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// body returns a message of a body and headers, which are given by turns as name and value.
func body(text string, headers ...string) message {
	m := message{body: []byte(text), headers: map[string]any{}}
	for i := 0; i+1 < len(headers); i += 2 {
		m.headers[headers[i]] = headers[i+1]
	}
	return m
}

// idOf returns the command id of an example.
func idOf(t testing.TB, m message) string {
	t.Helper()
	if id, ok := m.headers["Nats-Msg-Id"].(string); ok {
		return id
	}
	var event struct{ ID string }
	if err := json.Unmarshal(m.body, &event); err != nil || event.ID == "" {
		t.Fatalf("the example %s has no command id", m.body)
	}
	return event.ID
}

// long returns a text of n bytes in which most characters have three.
func long(n int) string { return strings.Repeat("한", n/3) + strings.Repeat("x", n%3) }
