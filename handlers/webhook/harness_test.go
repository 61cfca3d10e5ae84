package webhook_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/eventstore/storetest"
	"rollcall/handlers/export"
	"rollcall/handlers/messaging"
	"rollcall/handlers/webhook"
)

const (
	app      = domain.AppID("demo")
	patience = 30 * time.Second
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is the streams, over which instances of the service come and go.
type world struct {
	exports    *messaging.Exports
	registry   *messaging.Webhooks
	deliveries *messaging.WebhookDeliveries
	state      *messaging.State
	change     func(*webhook.Config) // of all instances, if set
}

func newWorld(t *testing.T, url string, replicas int) *world {
	t.Helper()
	js, err := jetstream.New(storetest.Connect(t, url))
	must(t, err)
	w := &world{}
	w.exports, err = messaging.OpenExports(t.Context(), js, replicas)
	must(t, err)
	w.registry, err = messaging.OpenWebhooks(t.Context(), js, replicas)
	must(t, err)
	w.deliveries, err = messaging.OpenWebhookDeliveries(t.Context(), js, replicas)
	must(t, err)
	w.state, err = messaging.OpenState(t.Context(), js, replicas)
	must(t, err)
	return w
}

// instance returns a service that does not run, and tries again soon.
func (w *world) instance(t *testing.T) *webhook.Service {
	t.Helper()
	cfg := webhook.Config{
		Registry: w.registry, Deliveries: w.deliveries, Events: w.exports, Checkpoints: w.state, Key: make([]byte, webhook.KeyBytes),
		AllowPrivate: true, RetryAfter: time.Millisecond, MaxRetryAfter: 5 * time.Millisecond,
	}
	if w.change != nil {
		w.change(&cfg)
	}
	s, err := webhook.New(cfg)
	must(t, err)
	return s
}

// start runs a service until it is stopped or the test ends.
func start(t *testing.T, s *webhook.Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// publish adds an event of a new export and returns it.
func (w *world) publish(t *testing.T, kind export.EventType) export.Event {
	t.Helper()
	e := export.Event{ID: ulid.Make().String(), Type: kind, App: app, Job: ulid.Make().String(), Time: time.Now().UTC(), Actor: "alice", CommandID: "c1"}
	if kind == export.Completed {
		e.Position = 42
		e.Result = export.FileResult{Rows: 3, Bytes: 99, SHA256: "ab", DownloadURL: "https://files.example/x?sig=<&>", ExpiresAt: e.Time.Add(time.Hour)}
	}
	_, err := w.exports.Publish(t.Context(), e, export.First())
	must(t, err)
	return e
}

// got is a request that a receiver got.
type got struct {
	header http.Header
	body   []byte
}

// receiver is a server that webhooks lead to.
type receiver struct {
	*httptest.Server
	requests chan got
}

// receive starts a receiver that answers its n-th request, from zero on, as told.
func receive(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	rec := &receiver{requests: make(chan got, 1000)}
	var mu sync.Mutex
	n := 0
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender was stopped
		}
		mu.Lock()
		mine := n
		n++
		mu.Unlock()
		rec.requests <- got{r.Header.Clone(), body}
		answer(mine, w, r)
	}))
	t.Cleanup(func() {
		rec.CloseClientConnections() // a request that hangs would be waited for
		rec.Close()
	})
	return rec
}

func ok(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// next waits for a request.
func (r *receiver) next(t *testing.T) got {
	t.Helper()
	select {
	case g := <-r.requests:
		return g
	case <-time.After(patience):
		t.Fatal("no request came")
		return got{}
	}
}

// register registers a receiver and returns the webhook with its secret.
func register(t *testing.T, s *webhook.Service, url string, events ...export.EventType) (webhook.Webhook, string) {
	t.Helper()
	w, secret, err := s.Register(t.Context(), "alice", app, url, events)
	must(t, err)
	return w, secret
}

// await waits until the newest delivery of a webhook has a status.
func await(t *testing.T, s *webhook.Service, hook string, want webhook.Status) webhook.Delivery {
	t.Helper()
	var d webhook.Delivery
	storetest.Eventually(t, "a delivery is "+string(want), func() bool {
		page, _, err := s.Deliveries(t.Context(), app, hook, 1, "")
		must(t, err)
		if len(page) == 0 {
			return false
		}
		d = page[0]
		return d.Status == want
	})
	return d
}
