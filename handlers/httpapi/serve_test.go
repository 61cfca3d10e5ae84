package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/command"
	"rollcall/handlers/httpapi"
)

// faultyCommands fail in a given way.
type faultyCommands struct {
	err   error
	item  error // of each item of a batch
	panic any
	seen  command.Request
}

func (f *faultyCommands) Execute(_ context.Context, req command.Request, _ domain.Command) (command.Result, error) {
	f.seen = req
	if f.panic != nil {
		panic(f.panic)
	}
	return command.Result{Account: domain.Account{App: "demo", UserID: "x", Revision: 1}}, f.err
}

func (f *faultyCommands) DeleteAccounts(context.Context, command.Request, domain.AppID, []domain.UserID) ([]command.ItemResult, error) {
	return []command.ItemResult{{UserID: "a", Err: f.item}}, nil
}

func (f *faultyCommands) Import(context.Context, command.Request, domain.AppID, command.ImportMode, iter.Seq[command.Row], func(command.RowResult) error) error {
	return f.err
}

// faulty returns a rig whose commands are played.
func faulty(t *testing.T) (*rig, *faultyCommands) {
	f := &faultyCommands{}
	r := newRig(t, func(c *httpapi.Config) { c.Commands = f })
	return r, f
}

func (r *rig) createX(t *testing.T, header map[string]string) answer {
	return r.call(t, request{method: "POST", path: accounts, body: `{"user_id":"x","type":"normal"}`, header: header})
}

func TestFaultsOfTheLogAreToldApart(t *testing.T) {
	r, f := faulty(t)
	for _, c := range []struct {
		err    error
		status int
		code   domain.Code
		detail string
	}{
		{eventstore.ErrUnavailable, 503, "unavailable", "nothing was written"},
		{eventstore.ErrUnknownOutcome, 503, "outcome_unknown", "same Idempotency-Key"},
		{fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, eventstore.ErrUnavailable), 503, "outcome_unknown", "same Idempotency-Key"},
		{eventstore.ErrConflict, 503, "unavailable", "nothing was written"},
		{errors.New("password=hunter2"), 500, "internal", "its log tells why"},
	} {
		f.err = fmt.Errorf("wrapped: %w", c.err)
		a := r.createX(t, nil)
		p := a.problem(t, c.status, c.code)
		if !strings.Contains(p.Detail, c.detail) || strings.Contains(p.Detail, "hunter2") {
			t.Errorf("%v: %s", c.err, p.Detail)
		}
		if (a.Header.Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%v: Retry-After %q", c.err, a.Header.Get("Retry-After"))
		}
	}
	f.err, f.item = nil, eventstore.ErrUnknownOutcome
	if a := r.call(t, request{method: "POST", path: accounts + ":delete", body: `{"user_ids":["a"]}`}).status(t, 200); !strings.Contains(string(a.body), `"status":"failed","code":"outcome_unknown"`) {
		t.Errorf("a batch answers %s", a.body)
	}
}

func TestAPanicIsAProblemWithoutAStackTrace(t *testing.T) {
	r, f := faulty(t)
	f.panic = "boom of secret"
	a := r.createX(t, nil)
	a.problem(t, 500, "internal")
	if body := string(a.body); strings.Contains(body, "boom") || strings.Contains(body, "goroutine") {
		t.Errorf("the client is told %s", body)
	}
	if logged := r.logged.String(); !strings.Contains(logged, "level=ERROR") || !strings.Contains(logged, "boom of secret") || !strings.Contains(logged, "goroutine") {
		t.Errorf("the log is %s", logged)
	}
}

func TestTheRequestIsPassedToTheCommand(t *testing.T) {
	r, f := faulty(t)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	r.createX(t, map[string]string{"Idempotency-Key": "my key-1"[3:], "Traceparent": trace, "X-Request-Id": "abc"}).status(t, 201)
	if want := (command.Request{ID: "key-1", Actor: "operator", TraceParent: trace}); f.seen != want {
		t.Errorf("passed %+v, want %+v", f.seen, want)
	}
	for _, invalid := range []string{"", "x", strings.ToUpper(trace), "01" + trace[2:], trace + "-x", strings.Replace(trace, "4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32), 1), strings.Replace(trace, "f", "-", 1)} {
		r.createX(t, map[string]string{"Traceparent": invalid}).status(t, 201)
		if f.seen.TraceParent != "" || len(f.seen.ID) != 26 {
			t.Errorf("%q is passed as %+v", invalid, f.seen)
		}
	}
}

func TestEveryAnswerCarriesTheCommonHeaders(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/healthz", accounts, accounts + "/none", "/nothing"} {
		a := r.call(t, request{method: "GET", path: path, header: map[string]string{"X-Request-Id": "from-client"}})
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Request-Id": "from-client"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if a.Header.Get("Content-Security-Policy") == "" || a.Header.Get("Cache-Control") == "" {
			t.Errorf("%s: %v", path, a.Header)
		}
	}
	a := r.call(t, request{method: "GET", path: "/healthz", header: map[string]string{"X-Request-Id": "spaces and\ttabs"}})
	if id := a.Header.Get("X-Request-Id"); len(id) != 26 {
		t.Errorf("request id %q", id)
	}
}

func TestTheRequestLogHoldsNoBodyAndNoToken(t *testing.T) {
	r := newRig(t)
	made := r.create(t, `{"user_id":"someone","type":"normal","nickname":"private name"}`)
	r.call(t, request{method: "GET", path: accounts + "/someone?min_position=" + made.Header.Get("Rollcall-Position")}).status(t, 200)
	logged := r.logged.String()
	for _, private := range []string{"private", "someone", operatorToken, "min_position"} {
		if strings.Contains(logged, private) {
			t.Errorf("%q is in the log: %s", private, logged)
		}
	}
	for _, public := range []string{"method=POST", `route="GET /v1/apps/{app}/accounts/{user_id}"`, "status=201", "took=", "actor=operator"} {
		if !strings.Contains(logged, public) {
			t.Errorf("%q is not in the log: %s", public, logged)
		}
	}
}

func TestReadinessTellsTheReason(t *testing.T) {
	var reason error
	r := newRig(t, func(c *httpapi.Config) { c.Ready = func(context.Context) error { return reason } })
	r.call(t, request{method: "GET", path: "/readyz", token: "-"}).status(t, 200)
	reason = errors.New("the list is 7 events behind")
	p := r.call(t, request{method: "GET", path: "/readyz", token: "-"}).problem(t, 503, "unavailable")
	if p.Detail != reason.Error() {
		t.Errorf("the reason is %s", p.Detail)
	}
}

func TestProjectionsAreShownToOperators(t *testing.T) {
	r := newRig(t)
	a := r.call(t, request{method: "GET", path: "/v1/projections"}).status(t, 200)
	if want := `{"projections":[{"name":"account_list","position":3,"last":4,"behind_seconds":0}]}`; strings.TrimSpace(string(a.body)) != want {
		t.Errorf("shown %s", a.body)
	}
}

func TestFilesAreServedAtTheirPathWithoutAToken(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) {
		c.DownloadPath = "/files/"
		c.Downloads = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "file ", r.URL.Path) })
	})
	if a := r.call(t, request{method: "GET", path: "/files/x.csv?signature=1", token: "-"}).status(t, 200); string(a.body) != "file /files/x.csv" {
		t.Errorf("served %s", a.body)
	}
	r.call(t, request{method: "DELETE", path: "/files/x.csv", token: "-"}).problem(t, 405, "method_not_allowed")
}

func TestAHandlerWithoutItsPartsIsNotMade(t *testing.T) {
	if _, err := httpapi.New(httpapi.Config{}); err == nil {
		t.Error("made a handler of nothing")
	}
}

func TestTheDescriptionIsCompleteAndTrue(t *testing.T) {
	r := newRig(t)
	raw := r.call(t, request{method: "GET", path: "/openapi.json", token: "-"}).status(t, 200)
	var api map[string]any
	raw.json(t, &api)
	if v := fmt.Sprint(api["openapi"]); !strings.HasPrefix(v, "3.1") {
		t.Errorf("openapi %s", v)
	}
	text := string(raw.body)
	for _, name := range []string{"ErrorModel", "rollcall.rule", "maxLength"} {
		if strings.Contains(text, name) {
			t.Errorf("the description has %s", name)
		}
	}
	schemas := api["components"].(map[string]any)["schemas"].(map[string]any)
	for _, ref := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllStringSubmatch(text, -1) {
		if schemas[ref[1]] == nil {
			t.Errorf("%s is referred to but not described", ref[1])
		}
	}
	for path, item := range api["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			checkOperation(t, method+" "+path, method, op.(map[string]any))
		}
	}
}

func checkOperation(t *testing.T, what, method string, op map[string]any) {
	t.Helper()
	responses := op["responses"].(map[string]any)
	if b, err := json.Marshal(responses["default"]); err != nil || !strings.Contains(string(b), "application/problem+json") {
		t.Errorf("%s does not describe its problems: %s", what, b)
	}
	success := 0
	for status := range responses {
		if strings.HasPrefix(status, "2") {
			success++
		}
	}
	if success != 1 || op["summary"] == "" {
		t.Errorf("%s describes %d successes, summary %v", what, success, op["summary"])
	}
	if body := op["requestBody"]; (method == "patch") && body == nil {
		t.Errorf("%s does not describe its body", what)
	}
}

func TestTheBoundsInTheDescriptionAreThoseOfTheDomain(t *testing.T) {
	r := newRig(t)
	text := string(r.call(t, request{method: "GET", path: "/openapi.json", token: "-"}).body)
	for _, want := range []string{
		fmt.Sprintf(`"maximum": %d`, domain.MaxListLimit), fmt.Sprintf(`"default": %d`, domain.DefaultListLimit),
		fmt.Sprintf("at most %d bytes of UTF-8", domain.MaxTextBytes), fmt.Sprintf(`"maxItems": %d`, command.MaxDeletions), fmt.Sprintf(`"maxItems": %d`, domain.MaxSelectedIDs),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the description", want)
		}
	}
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortNickname, domain.SortUserID} {
		r.call(t, request{method: "GET", path: accounts + "?sort=" + string(sort)}).status(t, 200)
	}
}

func TestTheDocumentationNeedsNothingFromElsewhere(t *testing.T) {
	r := newRig(t)
	page := r.call(t, request{method: "GET", path: "/docs", token: "-"}).status(t, 200)
	if kind := page.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") {
		t.Errorf("the page is %s", kind)
	}
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is %s", policy)
	}
	script := regexp.MustCompile(`<script[^>]*>[^<]`)
	if body := string(page.body); script.MatchString(body) || strings.Contains(body, "style=") || strings.Contains(body, "http:") || strings.Contains(body, "https:") {
		t.Errorf("the page has inline parts or loads from elsewhere: %s", body)
	}
	code := string(r.call(t, request{method: "GET", path: "/docs/docs.js", token: "-"}).body)
	for _, unsafe := range []string{"innerHTML", "eval(", "document.write", "http://", "https://"} {
		if strings.Contains(code, unsafe) {
			t.Errorf("the script uses %s", unsafe)
		}
	}
}

func TestHTTP2StreamsAnImport(t *testing.T) {
	r := newRig(t)
	server := httptest.NewUnstartedServer(r.handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+accounts+":import", strings.NewReader(row(1)+row(2)))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+operatorToken)
	req.Header.Set("Content-Type", ndjson)
	res, err := server.Client().Do(req)
	must(t, err)
	defer res.Body.Close()
	if im := readImport(t, res.Body); res.ProtoMajor != 2 || !im.summary.Done || im.summary.Created != 2 {
		t.Errorf("%s %+v", res.Proto, im.summary)
	}
}
