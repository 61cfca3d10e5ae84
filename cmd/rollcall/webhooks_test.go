package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"rollcall/cmd/rollcall/internal/client"
)

// delivered is what a receiver got.
type delivered struct {
	id   string
	body []byte
	err  error // of its signature
}

// receiver is a server that checks signatures by the secret that it was told, and hangs at its first request.
func receiver(t *testing.T, secret *atomic.Value) (url string, got <-chan delivered) {
	t.Helper()
	came := make(chan delivered, 100)
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		v, err := standardwebhooks.NewWebhook(secret.Load().(string))
		if err == nil {
			err = v.Verify(body, r.Header)
		}
		came <- delivered{r.Header.Get("webhook-id"), body, err}
		if requests.Add(1) == 1 {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL, came
}

func next(t *testing.T, got <-chan delivered) delivered {
	t.Helper()
	select {
	case d := <-got:
		if d.err != nil {
			t.Errorf("the signature of %s is not good: %v", d.id, d.err)
		}
		return d
	case <-time.After(patience):
		t.Fatal("no event came")
		return delivered{}
	}
}

func TestAWebhookGetsItsEventThoughTheServiceIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	private := []string{"--nats-listen", "", "--webhooks-allow-private"}
	p := serveWith(t, data, private)
	must(t, p.env(), "apps", "create", "demo")
	imported(t, p.client(t), 3)
	var secret atomic.Value
	url, got := receiver(t, &secret)
	var hook client.Webhook
	if err := json.Unmarshal([]byte(must(t, p.env(), "webhooks", "create", url, "--output", "json")), &hook); err != nil {
		t.Fatal(err)
	}
	secret.Store(hook.Secret)
	e := objectOf(t, must(t, p.env(), "exports", "create", "--watch", "--output", "json"))
	first := next(t, got)
	p.signal(t, syscall.SIGKILL)

	p = serveWith(t, data, private)
	again := next(t, got)
	if again.id != first.id || string(again.body) != string(first.body) {
		t.Errorf("%s came after the kill as %s, before as %s: %s", again.id, again.body, first.id, first.body)
	}
	var event struct {
		Type string
		Data struct {
			JobID       string `json:"job_id"`
			DownloadURL string `json:"download_url"`
			SHA256      string
		}
	}
	if err := json.Unmarshal(again.body, &event); err != nil || event.Type != "export.completed.v1" || `"`+event.Data.JobID+`"` != string(e["id"]) || `"`+event.Data.SHA256+`"` != string(e["sha256"]) || event.Data.DownloadURL == "" {
		t.Errorf("the event is %s (%v)", again.body, err)
	}
	env := p.env()
	eventually(t, "it is delivered", func() error {
		if out := must(t, env, "webhooks", "deliveries", hook.ID); !strings.Contains(out, "delivered") || !strings.Contains(out, first.id) {
			return errors.New(out)
		}
		return nil
	})
	test := objectOf(t, must(t, env, "webhooks", "test", hook.ID, "--output", "json"))
	if d := next(t, got); fmt.Sprintf("%q", d.id) != string(test["id"]) {
		t.Errorf("%s came as a test, want %s", d.id, test["id"])
	}
	must(t, env, "webhooks", "retry", hook.ID, first.id)
	if d := next(t, got); d.id != first.id {
		t.Errorf("%s came again, want %s", d.id, first.id)
	}
	if out := must(t, env, "webhooks", "list"); !strings.Contains(out, url) || strings.Contains(out, hook.Secret) {
		t.Errorf("the list is %s", out)
	}
	rotated := objectOf(t, must(t, env, "webhooks", "rotate", hook.ID, "--output", "json"))
	if string(rotated["secret"]) == `"`+hook.Secret+`"` {
		t.Error("the secret is the same after it was rotated")
	}
	must(t, env, "webhooks", "delete", hook.ID)
	if code, _, errs := rollcall(t, env, "", "webhooks", "deliveries", hook.ID); code != exitRefused || !strings.Contains(errs, "webhook_not_found") {
		t.Errorf("deliveries of none: status %d, %s", code, errs)
	}
	p.stop(t)
	// Where private addresses are not allowed, one is refused by name.
	p = serveWith(t, data, []string{"--nats-listen", ""})
	if code, _, errs := rollcall(t, p.env(), "", "webhooks", "create", url); code != exitRefused || !strings.Contains(errs, "https") {
		t.Errorf("a private address: status %d, %s", code, errs)
	}
}

func TestAnExportBeyondTheQuotaIsRefused(t *testing.T) {
	p := serveWith(t, filepath.Join(t.TempDir(), "data"), []string{"--nats-listen", "", "--exports-max-live", "1"})
	env := p.env()
	must(t, env, "apps", "create", "demo")
	must(t, env, "exports", "create", "--watch")
	code, _, errs := rollcall(t, env, "", "exports", "create")
	if code != exitRefused || !strings.Contains(errs, "export_quota_exceeded") || !strings.Contains(errs, "application demo has 1 exports") || strings.Count(errs, "\n") != 1 {
		t.Errorf("status %d, %s", code, errs)
	}
}
