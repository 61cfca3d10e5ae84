package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"rollcall/domain"
	"rollcall/eventstore/storetest"
	"rollcall/handlers/export"
	"rollcall/handlers/webhook"
)

// verify checks a request as any receiver would.
func verify(t *testing.T, secret string, g got) {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	if err := v.Verify(g.body, g.header); err != nil {
		t.Errorf("the signature is not good: %v", err)
	}
	if v.Verify(append(bytes.Clone(g.body), ' '), g.header) == nil {
		t.Error("the signature is good for another body too")
	}
}

func TestAnEventIsSentAsItIsPublishedAndSigned(t *testing.T) {
	t.Parallel()
	for name, shape := range map[string]func(t *testing.T) (string, int){
		"on one server":         func(t *testing.T) (string, int) { return storetest.RunServer(t), 1 },
		"on a cluster of three": func(t *testing.T) (string, int) { return storetest.RunCluster(t, 3).URL(), 3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, replicas := shape(t)
			w := newWorld(t, url, replicas)
			s := w.instance(t)
			start(t, s)
			w.publish(t, export.Completed) // before there was a webhook
			rec := receive(t, ok)
			hook, secret := register(t, s, rec.URL+"/hooks?of=demo")
			w.publish(t, export.Requested) // not among the default events
			e := w.publish(t, export.Completed)
			g := rec.next(t)
			verify(t, secret, g)
			want, err := export.MarshalEvent(e)
			must(t, err)
			if !bytes.Equal(g.body, want) {
				t.Errorf("the body is %s, want %s", g.body, want)
			}
			if id, kind := g.header.Get("webhook-id"), g.header.Get("Content-Type"); id != e.ID || kind != "application/cloudevents+json" {
				t.Errorf("it came as %q of type %q", id, kind)
			}
			d := await(t, s, hook.ID, webhook.Delivered)
			if d.ID != e.ID || d.Event != export.Completed || d.Job != e.Job || d.Attempts != 1 || d.StatusCode != 204 || d.Error != "" || d.LastAttempt.IsZero() || !d.NextAttempt.IsZero() {
				t.Errorf("the delivery is %+v", d)
			}
			if page, _, err := s.Deliveries(t.Context(), app, hook.ID, 10, ""); err != nil || len(page) != 1 {
				t.Errorf("there are %d deliveries (%v), want 1", len(page), err)
			}
		})
	}
}

func TestAReceiverThatFailsGetsTheEventAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	w.change = func(c *webhook.Config) { c.Timeout = 2 * time.Second }
	s := w.instance(t)
	start(t, s)
	rec := receive(t, func(n int, rw http.ResponseWriter, r *http.Request) {
		switch n {
		case 0:
			rw.WriteHeader(http.StatusInternalServerError)
		case 1:
			panic(http.ErrAbortHandler) // breaks the connection off
		case 2:
			<-r.Context().Done() // does not answer in time
		case 3:
			http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	})
	hook, secret := register(t, s, rec.URL)
	e := w.publish(t, export.Failed)
	for range 5 {
		g := rec.next(t)
		verify(t, secret, g)
		if g.header.Get("webhook-id") != e.ID {
			t.Errorf("it came under another id, %q", g.header.Get("webhook-id"))
		}
	}
	if d := await(t, s, hook.ID, webhook.Delivered); d.Attempts != 5 || d.Error != "" {
		t.Errorf("the delivery is %+v", d)
	}
}

func TestWhatAReceiverNeverTakesIsGivenUpAndCanBeSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	w.change = func(c *webhook.Config) { c.GiveUpAfter = time.Nanosecond }
	s := w.instance(t)
	start(t, s)
	rec := receive(t, func(n int, rw http.ResponseWriter, r *http.Request) {
		if n == 0 {
			http.Redirect(rw, r, "/elsewhere", http.StatusMovedPermanently)
		}
	})
	hook, _ := register(t, s, rec.URL)
	e := w.publish(t, export.Cancelled)
	d := await(t, s, hook.ID, webhook.Failed)
	if d.StatusCode != 301 || !strings.Contains(d.Error, "redirects are not followed") || d.Attempts != 1 {
		t.Errorf("the delivery is %+v", d)
	}
	if _, err := s.Retry(t.Context(), app, hook.ID, e.ID); err != nil {
		t.Fatal(err)
	}
	await(t, s, hook.ID, webhook.Delivered)
	if a, b := rec.next(t), rec.next(t); a.header.Get("webhook-id") != b.header.Get("webhook-id") || !bytes.Equal(a.body, b.body) {
		t.Error("it was not sent again as it was")
	}
	if _, err := s.Retry(t.Context(), app, hook.ID, hook.ID); !errors.Is(err, webhook.CodeDeliveryNotFound) {
		t.Errorf("retry of none: %v", err)
	}
}

func TestAReceiverThatIsGoneGetsNothingMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	s := w.instance(t)
	start(t, s)
	rec := receive(t, func(_ int, rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusGone) })
	hook, _ := register(t, s, rec.URL)
	w.publish(t, export.Completed)
	if d := await(t, s, hook.ID, webhook.Failed); d.StatusCode != 410 || d.Attempts != 1 {
		t.Errorf("the delivery is %+v", d)
	}
	now, err := s.Get(t.Context(), app, hook.ID)
	if err != nil || !now.Disabled() || !strings.Contains(now.DisabledReason, "410") {
		t.Errorf("the webhook is %+v (%v)", now, err)
	}
	if _, err := s.Test(t.Context(), "alice", app, hook.ID); !errors.Is(err, webhook.CodeDisabled) {
		t.Errorf("a test: %v", err)
	}
	// A second one shows that the event after it has been passed.
	second := receive(t, ok)
	register(t, s, second.URL)
	w.publish(t, export.Completed)
	second.next(t)
	if page, _, err := s.Deliveries(t.Context(), app, hook.ID, 10, ""); err != nil || len(page) != 1 {
		t.Errorf("there are %d deliveries (%v), want 1", len(page), err)
	}
}

func TestAnEventArrivesThoughTheSenderIsStoppedInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	first := w.instance(t)
	rec := receive(t, func(n int, _ http.ResponseWriter, r *http.Request) {
		if n == 0 {
			<-r.Context().Done()
		}
	})
	hook, secret := register(t, first, rec.URL)
	waiting := w.publish(t, export.Completed) // nobody runs yet
	stop := start(t, first)
	if g := rec.next(t); g.header.Get("webhook-id") != waiting.ID {
		t.Errorf("%q came first", g.header.Get("webhook-id"))
	}
	stop()
	meanwhile := w.publish(t, export.Expired)
	second := w.instance(t)
	start(t, second)
	came := map[string]bool{}
	for range 2 {
		g := rec.next(t)
		verify(t, secret, g)
		came[g.header.Get("webhook-id")] = true
	}
	if !came[waiting.ID] || !came[meanwhile.ID] {
		t.Errorf("%v came, want %s and %s", came, waiting.ID, meanwhile.ID)
	}
	storetest.Eventually(t, "both are delivered", func() bool {
		page, _, err := second.Deliveries(t.Context(), app, hook.ID, 10, "")
		must(t, err)
		return len(page) == 2 && page[0].Status == webhook.Delivered && page[1].Status == webhook.Delivered
	})
}

func TestAReceiverThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	s := w.instance(t)
	start(t, s)
	slow := receive(t, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	register(t, s, slow.URL)
	quick := receive(t, ok)
	register(t, s, quick.URL)
	const events = 20
	for range events {
		w.publish(t, export.Completed)
	}
	for range events {
		quick.next(t)
	}
	slow.next(t)
	if n := len(slow.requests); n > 3 {
		t.Errorf("%d more requests are at the one that hangs", n)
	}
}

func TestAfterARotationBothSecretsSignForADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	s := w.instance(t)
	start(t, s)
	rec := receive(t, ok)
	hook, old := register(t, s, rec.URL)
	_, fresh, err := s.Rotate(t.Context(), app, hook.ID)
	must(t, err)
	d, err := s.Test(t.Context(), "alice", app, hook.ID)
	must(t, err)
	g := rec.next(t)
	verify(t, old, g)
	verify(t, fresh, g)
	if g.header.Get("webhook-id") != d.ID || !strings.Contains(string(g.body), `"type":"webhook.test.v1"`) {
		t.Errorf("the test came as %s", g.body)
	}
	w.change = func(c *webhook.Config) { c.Now = func() time.Time { return time.Now().Add(25 * time.Hour) } }
	if _, third, err := w.instance(t).Rotate(t.Context(), app, hook.ID); err != nil || third == fresh {
		t.Fatalf("the second rotation gives the same secret (%v)", err)
	}
	if _, err = s.Test(t.Context(), "alice", app, hook.ID); err != nil {
		t.Fatal(err)
	}
	g = rec.next(t)
	verify(t, fresh, g)
	if v, err := standardwebhooks.NewWebhook(old); err != nil || v.Verify(g.body, g.header) == nil {
		t.Errorf("the first secret signs still (%v)", err)
	}
}

func TestDeliveriesAreListedByPageTheNewestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	s := w.instance(t)
	start(t, s)
	rec := receive(t, ok)
	hook, _ := register(t, s, rec.URL)
	var want []string
	for range 7 {
		want = append([]string{w.publish(t, export.Completed).ID}, want...)
	}
	storetest.Eventually(t, "all are there", func() bool {
		page, _, err := s.Deliveries(t.Context(), app, hook.ID, 100, "")
		must(t, err)
		return len(page) == len(want)
	})
	var got []string
	cursor := ""
	for {
		page, next, err := s.Deliveries(t.Context(), app, hook.ID, 3, cursor)
		must(t, err)
		for _, d := range page {
			got = append(got, d.ID)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the pages have %v, want %v", got, want)
	}
	if _, _, err := s.Deliveries(t.Context(), app, hook.ID, 3, "what"); !errors.Is(err, webhook.CodeInvalidCursor) {
		t.Errorf("a wrong cursor: %v", err)
	}
	must(t, s.Delete(t.Context(), app, hook.ID))
	if left, _, err := w.deliveries.List(t.Context(), app, hook.ID, "", 10); err != nil || len(left) != 0 {
		t.Errorf("%d deliveries outlive their webhook (%v)", len(left), err)
	}
	if hooks, err := s.List(t.Context(), app); err != nil || len(hooks) != 0 {
		t.Errorf("%d webhooks are left (%v)", len(hooks), err)
	}
	if err := s.Delete(t.Context(), app, hook.ID); !errors.Is(err, webhook.CodeNotFound) {
		t.Errorf("the second delete: %v", err)
	}
}

func TestAddressesThatAreNoReceiversAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	w.change = func(c *webhook.Config) { c.AllowPrivate = false }
	s := w.instance(t)
	for _, url := range []string{
		"", "hooks", "http://example.com/", "ftp://example.com/", "https://", "https://user:pass@example.com/", "https://example.com/#x",
		"https://127.0.0.1/", "https://10.1.2.3/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest/meta-data",
		"https://100.100.100.200/", "https://localhost/", "https://a.localhost./", "https://[fe80::1%25eth0]/", "https://" + strings.Repeat("a", 2048) + ".example/",
	} {
		if _, _, err := s.Register(t.Context(), "alice", app, url, nil); !errors.Is(err, domain.CodeInvalid) {
			t.Errorf("%.60q is registered: %v", url, err)
		}
	}
	for _, events := range [][]export.EventType{{"progressed"}, {"what"}, {export.Completed, export.Completed}} {
		if _, _, err := s.Register(t.Context(), "alice", app, "https://example.com/", events); !errors.Is(err, domain.CodeInvalid) {
			t.Errorf("%v can be chosen: %v", events, err)
		}
	}
	for range webhook.MaxPerApp {
		register(t, s, "https://example.com/")
	}
	if _, _, err := s.Register(t.Context(), "alice", app, "https://example.com/", nil); !errors.Is(err, webhook.CodeLimit) {
		t.Errorf("one more than there may be: %v", err)
	}
}

func TestOfTwoEventsThatEndAnExportTheOneThatCountsIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	s := w.instance(t)
	rec := receive(t, ok)
	register(t, s, rec.URL)
	var want []string
	for _, types := range [][]export.EventType{{export.Completed, export.Cancelled}, {export.Cancelled, export.Completed}, {export.Failed, export.Completed}} {
		first := w.publish(t, types[0])
		late := first
		late.ID, late.Type = ulid.Make().String(), types[1]
		_, err := w.exports.Publish(t.Context(), late, export.First())
		must(t, err)
		want = append(want, first.ID)
	}
	want = append(want, w.publish(t, export.Completed).ID)
	start(t, s)
	for _, id := range want {
		if got := rec.next(t).header.Get("webhook-id"); !slices.Contains(want, got) {
			t.Errorf("%s was sent, want those such as %s", got, id)
		}
	}
	storetest.Eventually(t, "the last event is delivered", func() bool {
		at, err := w.state.Get(t.Context(), "webhooks")
		must(t, err)
		last, err := w.exports.Last(t.Context())
		must(t, err)
		return at == last
	})
	if n := len(rec.requests); n > 0 {
		t.Errorf("%d more were sent", n)
	}
}

func TestWebhooksThatAreRegisteredAtOnceDoNotPassTheLimit(t *testing.T) {
	t.Parallel()
	for name, instances := range map[string]int{"on one instance": 1, "on three instances": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, storetest.RunServer(t), 1)
			var made atomic.Int32
			var work sync.WaitGroup
			for range instances {
				s := w.instance(t)
				for range 2 * webhook.MaxPerApp / instances {
					work.Go(func() {
						_, _, err := s.Register(t.Context(), "alice", app, "https://example.com/", nil)
						switch {
						case err == nil:
							made.Add(1)
						case !errors.Is(err, webhook.CodeLimit):
							t.Error(err)
						}
					})
				}
			}
			work.Wait()
			kept, err := w.registry.List(t.Context(), app)
			must(t, err)
			if n := int(made.Load()); n != len(kept) || n > webhook.MaxPerApp || n < webhook.MaxPerApp-instances+1 {
				t.Errorf("%d were registered, and %d are kept", n, len(kept))
			}
		})
	}
}

// countedDeliveries tells how often they are trimmed.
type countedDeliveries struct {
	webhook.Deliveries
	trimmed chan domain.AppID
}

func (d countedDeliveries) Trim(ctx context.Context, app domain.AppID, keep int) (int, error) {
	d.trimmed <- app
	return d.Deliveries.Trim(ctx, app, keep)
}

func TestAnApplicationPushesOutItsOwnDeliveriesAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.RunServer(t), 1)
	counted := countedDeliveries{w.deliveries, make(chan domain.AppID, 10)}
	w.change = func(c *webhook.Config) { c.Deliveries = counted }
	s := w.instance(t)
	hook, _ := register(t, s, "https://example.com/")
	other, _, err := s.Register(t.Context(), "bob", "other", "https://example.com/", nil)
	must(t, err)
	rare, err := s.Test(t.Context(), "bob", "other", other.ID)
	must(t, err)
	var latest string
	for n := range 1000 {
		d, err := s.Test(t.Context(), "alice", app, hook.ID)
		must(t, err)
		latest = d.ID
		if trimmed := len(counted.trimmed); n < 999 && trimmed > 0 {
			t.Fatalf("after %d deliveries they were trimmed", n+1)
		}
	}
	if got := <-counted.trimmed; got != app {
		t.Errorf("those of %s were trimmed", got)
	}
	if removed, err := w.deliveries.Trim(t.Context(), app, 3); err != nil || removed != 997 {
		t.Errorf("%d are removed, %v", removed, err)
	}
	page, more, err := w.deliveries.List(t.Context(), app, hook.ID, "", 10)
	if err != nil || more || len(page) != 3 || page[0].ID != latest {
		t.Errorf("left are %d, %t, %v", len(page), more, err)
	}
	if _, err := w.deliveries.Get(t.Context(), "other", other.ID, rare.ID); err != nil {
		t.Errorf("that of another application: %v", err)
	}
}
