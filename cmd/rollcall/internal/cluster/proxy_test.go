package cluster

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"rollcall/eventstore/storetest"
	"rollcall/eventstore/storetest/freeport"
)

// fakeInstance is an instance that answers with its name and the body of the request, or is not ready.
func fakeInstance(t *testing.T, name string, ready func() bool) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			if !ready() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, name+" "+string(body)+" "+r.Host)
	}))
	t.Cleanup(s.Close)
	return s
}

func always() bool { return true }

// proxyTo starts a proxy and returns its address.
func proxyTo(t *testing.T, urls ...string) (*proxy, string) {
	t.Helper()
	address := freeport.Address(storetest.FreePorts(t, 1)[0])
	p, err := startProxy(address, urls, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p, address
}

func post(t *testing.T, address, path, body string) (int, string) {
	t.Helper()
	res, err := http.Post("http://"+address+path, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestRequestsGoToTheInstancesInTurnAndAroundOneThatIsGone(t *testing.T) {
	one, two := fakeInstance(t, "one", always), fakeInstance(t, "two", always)
	p, address := proxyTo(t, one.URL, two.URL)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.await(ctx); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for range 4 {
		_, answer := post(t, address, "/x", "hello")
		seen[answer]++
	}
	if seen["one hello "+address] != 2 || seen["two hello "+address] != 2 {
		t.Errorf("the answers are %v", seen)
	}
	one.Close()
	for range 4 {
		if status, answer := post(t, address, "/x", "with a body"); status != http.StatusOK || answer != "two with a body "+address {
			t.Errorf("%d %s", status, answer)
		}
	}
}

func TestWithoutAnInstanceThatIsReadyEveryRequestIsAskedToComeAgain(t *testing.T) {
	not := fakeInstance(t, "not", func() bool { return false })
	_, address := proxyTo(t, not.URL)
	for _, path := range []string{"/x", "/v1/apps/demo/accounts:import"} {
		for range 3 { // over the same connection, if it is kept
			status, answer := post(t, address, path, strings.Repeat("a body that nobody reads ", 10_000))
			if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"code": "unavailable"`) {
				t.Errorf("%s: %d %s", path, status, answer)
			}
		}
	}
}
