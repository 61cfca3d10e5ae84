package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	log "rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/command"
	"rollcall/handlers/httpapi"
	"rollcall/handlers/messaging"
	"rollcall/handlers/query"
	"rollcall/handlers/webhook"
	"rollcall/handlers/wire"
	"rollcall/projections"
	"rollcall/projections/accountlist/asof"
	"rollcall/projections/accountlist/sqlite"
)

const operatorToken = "an operator's token for tests"

// rig is the API over a real log, a real list and real tokens, on loopback.
// Exports are played by hand.
type rig struct {
	*httptest.Server
	handler *httpapi.Handler
	store   eventstore.Store
	exports *playedExports
	erased  eventstore.Position // how far erasure is said to be
	logged  *safeBuffer
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRig(t testing.TB, change ...func(*httpapi.Config)) *rig {
	t.Helper()
	dir := t.TempDir()
	server, err := log.StartEmbedded(log.EmbeddedConfig{Dir: filepath.Join(dir, "log"), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	nc, err := server.Connect()
	must(t, err)
	t.Cleanup(nc.Close)
	store, err := server.Open(t.Context(), nc, log.Config{})
	must(t, err)
	t.Cleanup(store.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	master, err := keyring.CreateMasterKey(filepath.Join(dir, "master.key"))
	must(t, err)
	keys, err := keyring.Open(t.Context(), js, master, keyring.Options{})
	must(t, err)
	t.Cleanup(keys.Close)
	c := codec.New(keys)

	r := &rig{store: store, exports: newPlayedExports(), logged: &safeBuffer{}}
	config := httpapi.Config{
		Commands: command.New(store, c, keys, command.Options{}),
		Queries:  newQueries(t, store, dir, c),
		Exports:  r.exports,
		Webhooks: newWebhooks(t, js),
		Audit:    audit.New(store, c),
		Ledger:   playedLedger{},
		Erasures: audit.NewErasures(store, c, r.standings),
		Tokens:   newTokens(t, js),
		Projections: func() []httpapi.Projection {
			return []httpapi.Projection{{Name: "account_list", Position: 3, Last: 4}}
		},
		MasterKeys: func() []httpapi.MasterKey {
			return []httpapi.MasterKey{{ID: "00112233aabbccdd", Role: "current", Blocks: 2}}
		},
		NewID:   func() string { return ulid.Make().String() },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
		Logger:  slog.New(slog.NewTextHandler(r.logged, nil)),
	}
	for _, f := range change {
		f(&config)
	}
	r.handler, err = httpapi.New(config)
	must(t, err)
	r.Server = httptest.NewServer(r.handler)
	t.Cleanup(r.Close)
	r.call(t, request{method: "POST", path: "/v1/apps", body: `{"app":"demo","name":"Demo"}`}).status(t, 201)
	return r
}

// run runs f beside the test until the test ends.
func run(t testing.TB, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func newQueries(t testing.TB, store eventstore.Store, dir string, c *codec.Codec) *query.Service {
	list, err := sqlite.Open(t.Context(), filepath.Join(dir, "list.db"), c)
	must(t, err)
	t.Cleanup(func() {
		if err := list.Close(); err != nil {
			t.Error(err)
		}
	})
	runner := projections.NewRunner(store, list)
	run(t, runner.Run)
	wait := func(ctx context.Context, position uint64) error {
		return runner.WaitFor(ctx, eventstore.Position(position))
	}
	past, err := asof.New(filepath.Join(dir, "asof"), store, c, asof.Options{Wait: time.Minute})
	must(t, err)
	t.Cleanup(func() { must(t, past.Close()) })
	return query.New(list, wait, query.Options{Past: past, Wait: 3 * time.Second, OwnWrites: time.Minute})
}

// newWebhooks returns webhooks of public addresses, whose deliveries nobody makes.
func newWebhooks(t testing.TB, js jetstream.JetStream) *webhook.Service {
	registry, err := messaging.OpenWebhooks(t.Context(), js, 1)
	must(t, err)
	deliveries, err := messaging.OpenWebhookDeliveries(t.Context(), js, 1)
	must(t, err)
	events, err := messaging.OpenExports(t.Context(), js, 1)
	must(t, err)
	state, err := messaging.OpenState(t.Context(), js, 1)
	must(t, err)
	s, err := webhook.New(webhook.Config{Registry: registry, Deliveries: deliveries, Events: events, Checkpoints: state, Key: make([]byte, webhook.KeyBytes)})
	must(t, err)
	return s
}

func newTokens(t testing.TB, js jetstream.JetStream) *access.Service {
	kept, err := messaging.OpenTokens(t.Context(), js, 1)
	must(t, err)
	tokens := access.New(kept, operatorToken, access.Options{})
	run(t, tokens.Run)
	must(t, tokens.Wait(t.Context()))
	return tokens
}

// request is one call. Without a token it is the operator's; "-" sends none.
type request struct {
	method, path, body, token, kind string
	header                          map[string]string
}

type answer struct {
	*http.Response
	body []byte
}

func (r *rig) new(t testing.TB, q request, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), q.method, r.URL+q.path, body)
	must(t, err)
	if q.kind == "" && q.body != "" {
		q.kind = "application/json"
	}
	if q.kind != "" {
		req.Header.Set("Content-Type", q.kind)
	}
	switch q.token {
	case "":
		req.Header.Set("Authorization", "Bearer "+operatorToken)
	case "-":
	default:
		req.Header.Set("Authorization", "Bearer "+q.token)
	}
	for name, value := range q.header {
		req.Header[name] = []string{value}
	}
	return req
}

func (r *rig) call(t testing.TB, q request) answer {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r.new(t, q, strings.NewReader(q.body)))
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return answer{res, b}
}

// create makes an account and returns its answer.
func (r *rig) create(t testing.TB, body string) answer {
	t.Helper()
	return r.call(t, request{method: "POST", path: "/v1/apps/demo/accounts", body: body}).status(t, 201)
}

// token makes a token of a role, bound to an application unless it is an operator's.
func (r *rig) token(t testing.TB, role access.Role, app string) string {
	t.Helper()
	b, err := json.Marshal(map[string]string{"name": "test", "role": string(role), "app": app})
	must(t, err)
	var made struct{ Secret string }
	r.call(t, request{method: "POST", path: "/v1/tokens", body: string(b)}).status(t, 201).json(t, &made)
	return made.Secret
}

func (a answer) status(t testing.TB, want int) answer {
	t.Helper()
	if a.StatusCode != want {
		t.Fatalf("%s %s answered %d %s; want %d", a.Request.Method, a.Request.URL, a.StatusCode, a.body, want)
	}
	return a
}

func (a answer) json(t testing.TB, v any) answer {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return a
}

// problem checks that the answer is a problem of RFC 9457 and returns it.
func (a answer) problem(t testing.TB, status int, code domain.Code) wire.Problem {
	t.Helper()
	a.status(t, status)
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q of %s", got, a.body)
	}
	var p wire.Problem
	a.json(t, &p)
	if p.Code != code || p.Status != status || p.Title == "" || p.Type != "/docs#"+string(code) || p.Detail == "" {
		t.Errorf("%s %s answered %s; want code %s", a.Request.Method, a.Request.URL, a.body, code)
	}
	return p
}

// safeBuffer is a buffer that several goroutines write to.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
