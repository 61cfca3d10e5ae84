package consoletest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"rollcall/cmd/rollcall/internal/service"
	"rollcall/handlers/console/i18n"
)

// rig is a service and a browser, which all tests share; each has an application of its own.
type rig struct {
	service   *service.Service
	browser   context.Context
	languages []*i18n.Language
	apps      atomic.Int64
}

var shared *rig // made by TestMain

func TestMain(m *testing.M) {
	os.Exit(func() int {
		code := 1
		if err := withRig(func(r *rig) { shared = r; code = m.Run() }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

func withRig(use func(*rig)) (err error) {
	dir, err := os.MkdirTemp("", "console")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := service.Start(context.Background(), service.Config{Data: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", NATSListen: "127.0.0.1:0", Version: "test"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop(context.Background())) }()
	languages, err := i18n.Languages()
	if err != nil {
		return err
	}
	browser, stop, err := startBrowser(filepath.Join(dir, "profile"))
	if err != nil {
		return err
	}
	defer stop()
	use(&rig{service: s, browser: browser, languages: languages})
	return nil
}

// inEachLanguage runs a test with a page in each language.
func inEachLanguage(t *testing.T, test func(t *testing.T, p *page)) {
	for _, l := range shared.languages {
		t.Run(l.Tag, func(t *testing.T) {
			t.Parallel()
			test(t, openPage(t, shared, l))
		})
	}
}

// call gives a request to the API, as an operator unless a token is given, and returns its answer.
func (r *rig) call(t testing.TB, method, path string, body any, token ...string) map[string]any {
	t.Helper()
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, r.service.URL()+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	secret := r.service.OperatorToken()
	if len(token) > 0 {
		secret = token[0]
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v: %s", method, path, res.Status, err, b)
	}
	if len(b) == 0 {
		return nil
	}
	var answer map[string]any
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer
}

// newApp creates an application and returns its id.
func (r *rig) newApp(t testing.TB, name string) string {
	t.Helper()
	app := fmt.Sprintf("app-%d", r.apps.Add(1))
	r.call(t, http.MethodPost, "/v1/apps", map[string]any{"app": app, "name": name, "max_admins": 3})
	return app
}

type account = map[string]any

// create creates accounts.
func (r *rig) create(t testing.TB, app string, accounts ...account) {
	t.Helper()
	for _, a := range accounts {
		r.call(t, http.MethodPost, "/v1/apps/"+app+"/accounts", a)
	}
}

// fill imports n accounts: p0000000, named Person 0, and so on.
func (r *rig) fill(t testing.TB, app string, n int) {
	t.Helper()
	rows, w := io.Pipe()
	go func() {
		for i := range n {
			if _, err := fmt.Fprintf(w, "{\"user_id\":\"p%07d\",\"nickname\":\"Person %d\"}\n", i, i); err != nil {
				return
			}
		}
		_ = w.Close()
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.service.URL()+"/v1/apps/"+app+"/accounts:import", rows)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Authorization", "Bearer "+r.service.OperatorToken())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("import: %s %v", res.Status, err)
	}
}

// token makes a token of a role in an application.
func (r *rig) token(t testing.TB, role, app string) (secret, id string) {
	t.Helper()
	a := r.call(t, http.MethodPost, "/v1/tokens", map[string]any{"name": role, "role": role, "app": app})
	return fmt.Sprint(a["secret"]), fmt.Sprint(a["id"])
}
