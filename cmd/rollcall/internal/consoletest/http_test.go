package consoletest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// visitor is somebody with a cookie, without a browser around it.
type visitor struct {
	testing.TB
	cookie *http.Cookie // nil for none
}

// reply is an answer with its body.
type reply struct {
	*http.Response
	body string
}

// ask gives a request, with headers in pairs.
func (v visitor) ask(method, path, body string, headers ...string) reply {
	v.Helper()
	req, err := http.NewRequestWithContext(v.Context(), method, shared.service.URL()+path, strings.NewReader(body))
	if err != nil {
		v.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if v.cookie != nil {
		req.AddCookie(v.cookie)
	}
	res, err := http.DefaultTransport.RoundTrip(req) // which follows no redirect
	if err != nil {
		v.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.Fatal(err)
	}
	return reply{res, string(b)}
}

// post sends a form.
func (v visitor) post(path string, form url.Values, headers ...string) reply {
	v.Helper()
	return v.ask(http.MethodPost, path, form.Encode(), append(headers, "Content-Type", "application/x-www-form-urlencoded")...)
}

// signedIn returns a visitor with the session of a token.
func signedIn(t testing.TB, token string) visitor {
	t.Helper()
	res := visitor{TB: t}.post("/console/sign-in", url.Values{"token": {token}})
	for _, c := range res.Cookies() {
		if c.Name == "rollcall_session" {
			return visitor{t, c}
		}
	}
	t.Fatalf("no session: %s", res.Status)
	return visitor{}
}

func TestASessionCookieIsKeptFromScriptsAndOtherSites(t *testing.T) {
	t.Parallel()
	c := signedIn(t, shared.service.OperatorToken()).cookie
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.MaxAge <= 0 || c.MaxAge > 12*60*60 {
		t.Errorf("the cookie is %+v", c)
	}
	if strings.Contains(c.Value, shared.service.OperatorToken()) {
		t.Error("the token can be read in the cookie")
	}
}

func TestEveryAnswerOfTheConsoleHasItsHeaders(t *testing.T) {
	t.Parallel()
	app := shared.newApp(t, "Headers")
	v := signedIn(t, shared.service.OperatorToken())
	for _, path := range []string{
		"/console/", "/console/sign-in", "/console/nothing", "/console/apps/none/accounts", "/console/apps/" + app + "/accounts", "/console/apps/" + app + "/account/rows",
		"/console/apps/" + app + "/audit", "/console/apps/" + app + "/audit/ledger", "/console/health", "/console/health/state",
		"/console/assets/0/console.css",
	} {
		h := v.ask(http.MethodGet, path, "").Header
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy is %q", path, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func TestPagesHoldNoScriptAndNoStyleOfTheirOwn(t *testing.T) {
	t.Parallel()
	app := shared.newApp(t, "<script>alert(1)</script>")
	shared.create(t, app, hostile...)
	v := signedIn(t, shared.service.OperatorToken())
	inline := regexp.MustCompile(`(?i)<script(?: [^>]*)?>[^<]|<style|\son[a-z]+\s*=\s*["'][^"]|\sstyle=|javascript:`)
	for _, path := range []string{"/console/", "/console/apps/" + app + "/accounts", "/console/apps/" + app + "/account/edit?user_id=markup", "/console/apps/" + app + "/account/edit?user_id=" + url.QueryEscape(`quotes"'<>&/%2F`), "/console/apps/" + app + "/accounts?q=" + url.QueryEscape(`"><script>alert(3)</script>`),
		"/console/apps/" + app + "/accounts/markup", "/console/apps/" + app + "/accounts/backwards", "/console/apps/" + app + "/accounts/hidden", "/console/apps/" + app + "/accounts/" + url.PathEscape(`quotes"'<>&/%2F`),
		"/console/apps/" + app + "/audit", "/console/apps/" + app + "/audit?actor=" + url.QueryEscape(`"><script>alert(4)</script>`), "/console/health",
	} {
		res := v.ask(http.MethodGet, path, "")
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
		for _, raw := range []string{"<script>alert", "<img src=x", "\u202e", "\u200b"} {
			if strings.Contains(res.body, raw) && !strings.Contains(path, "/edit") {
				t.Errorf("%s has %q", path, raw)
			}
		}
		if m := inline.FindString(res.body); m != "" {
			t.Errorf("%s has %q", path, m)
		}
	}
}

func TestWhoeverIsNotSignedInSeesNothing(t *testing.T) {
	t.Parallel()
	app := shared.newApp(t, "Hidden")
	for _, v := range []visitor{{TB: t}, {t, &http.Cookie{Name: "rollcall_session", Value: strings.Repeat("A", 120)}}} {
		for _, path := range []string{"/console/", "/console/apps/" + app, "/console/apps/" + app + "/accounts?q=a", "/console/apps/" + app + "/accounts/a", "/console/apps/" + app + "/audit", "/console/health"} {
			if res := v.ask(http.MethodGet, path, ""); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Location"), "/console/sign-in") {
				t.Errorf("%s: %s to %s", path, res.Status, res.Header.Get("Location"))
			}
		}
		for _, path := range []string{
			"account/rows", "account/new", "account/edit?user_id=a", "account/delete", "account/live?after=0", "account/at?user_id=a", "account/history?user_id=a",
			"audit/events", "audit/event?user_id=a&position=1", "audit/ledger", "exports/live?after=0", "account/dotted?user_id=..",
		} {
			res := v.ask(http.MethodGet, "/console/apps/"+app+"/"+path, "")
			var problem struct{ Code string }
			if err := json.Unmarshal([]byte(res.body), &problem); err != nil || res.StatusCode != http.StatusUnauthorized || problem.Code != "unauthenticated" {
				t.Errorf("%s: %s, %v, %s", path, res.Status, err, res.body)
			}
		}
	}
	if res := (visitor{TB: t}).ask(http.MethodGet, "/", ""); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/console/" {
		t.Errorf("the root leads to %s %s", res.Status, res.Header.Get("Location"))
	}
}

func TestARoleIsRefusedWhatItMayNotDo(t *testing.T) {
	t.Parallel()
	app, other := shared.newApp(t, "Mine"), shared.newApp(t, "Not mine")
	shared.create(t, app, account{"user_id": "a"})
	for role, allowed := range map[string]string{
		"admin": "rows new edit delete live settings jobs order cancel follow", "producer": "new delete", "viewer": "rows live", "exporter": "jobs order cancel follow", "auditor": "live",
	} {
		secret, _ := shared.token(t, role, app)
		v := signedIn(t, secret)
		for name, path := range map[string]string{
			"rows": "account/rows", "new": "account/new", "edit": "account/edit?user_id=a", "delete": "account/delete", "settings": "settings", "live": "account/live?after=x",
			"jobs": "exports/rows", "order": "exports/new", "cancel": "exports/cancel", "follow": "exports/live?after=x",
		} {
			res := v.ask(http.MethodGet, "/console/apps/"+app+"/"+path, "")
			want := http.StatusForbidden
			if strings.Contains(" "+allowed+" ", " "+name+" ") {
				want = http.StatusOK
				if name == "live" || name == "follow" { // no stream, only whether one would begin
					want = http.StatusUnprocessableEntity
				}
			}
			if res.StatusCode != want {
				t.Errorf("%s, %s: %s, want %d", role, name, res.Status, want)
			}
			if res := v.ask(http.MethodGet, "/console/apps/"+other+"/"+path, ""); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s, %s of another application: %s", role, name, res.Status)
			}
		}
		if res := v.ask(http.MethodGet, "/console/", ""); strings.Contains(res.body, other) {
			t.Errorf("%s sees another application", role)
		}
	}
}

func TestTheAPITakesASessionButNotFromAPageOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	app := shared.newApp(t, "CSRF")
	secret, _ := shared.token(t, "viewer", app)
	v, viewer := signedIn(t, shared.service.OperatorToken()), signedIn(t, secret)
	path, body := "/v1/apps/"+app+"/accounts", `{"user_id":"by-session"}`
	for _, c := range []struct {
		what    string
		v       visitor
		method  string
		headers []string
		want    int
	}{
		{"a read", v, http.MethodGet, nil, http.StatusOK},
		{"a write of another site", v, http.MethodPost, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"a write of another port", v, http.MethodPost, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{"a write of another origin", v, http.MethodPost, []string{"Origin", "https://elsewhere.example"}, http.StatusForbidden},
		{"a write of a viewer", viewer, http.MethodPost, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusForbidden},
		{"a header that is wrong", v, http.MethodGet, []string{"Authorization", "Bearer wrong"}, http.StatusUnauthorized},
		{"no session", visitor{TB: t}, http.MethodGet, nil, http.StatusUnauthorized},
		{"a write of the console", v, http.MethodPost, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusCreated},
	} {
		sent := ""
		if c.method == http.MethodPost {
			sent = body
		}
		if res := c.v.ask(c.method, path, sent, append(c.headers, "Content-Type", "application/json")...); res.StatusCode != c.want {
			t.Errorf("%s: %s, want %d: %s", c.what, res.Status, c.want, res.body)
		}
	}
	for _, form := range []string{"/console/sign-in", "/console/sign-out", "/console/preferences", "/console/link/x"} {
		if res := v.post(form, nil, "Sec-Fetch-Site", "cross-site"); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s of another site: %s", form, res.Status)
		}
	}
}

func TestAssetsAreKeptForEverUnderTheNameOfTheirContent(t *testing.T) {
	t.Parallel()
	v := visitor{TB: t}
	page := v.ask(http.MethodGet, "/console/sign-in", "").body
	addresses := regexp.MustCompile(`/console/assets/[^"]+`).FindAllString(page, -1)
	if len(addresses) < 5 {
		t.Fatalf("the page has %v", addresses)
	}
	for _, address := range addresses {
		plain := v.ask(http.MethodGet, address, "", "Accept-Encoding", "identity")
		small := v.ask(http.MethodGet, address, "", "Accept-Encoding", "br, gzip")
		if plain.StatusCode != http.StatusOK || !strings.Contains(plain.Header.Get("Cache-Control"), "immutable") || plain.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %s %v", address, plain.Status, plain.Header)
		}
		if len(plain.body) > 1000 && (small.Header.Get("Content-Encoding") != "gzip" || len(small.body) >= len(plain.body)) {
			t.Errorf("%s is not compressed: %v", address, small.Header)
		}
	}
	for _, address := range []string{"/console/assets/0000000000000000/console.css", strings.Replace(addresses[0], "icon.svg", "doc.go", 1)} {
		if res := v.ask(http.MethodGet, address, ""); res.StatusCode != http.StatusNotFound || strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %s %v", address, res.Status, res.Header)
		}
	}
}

func TestAFormThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	res := visitor{TB: t}.post("/console/sign-in", url.Values{"token": {strings.Repeat("x", 64<<10)}})
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %s", res.Status)
	}
}

func TestMetricsNameRoutesOfTheConsoleAndNothingThatPeopleChoose(t *testing.T) {
	t.Parallel()
	app := shared.newApp(t, "Metrics")
	v := signedIn(t, shared.service.OperatorToken())
	v.ask(http.MethodGet, "/console/apps/"+app+"/accounts", "")
	v.ask(http.MethodGet, "/console/made/up/"+app, "")
	body := visitor{TB: t}.ask(http.MethodGet, "/metrics", "", "Authorization", "Bearer "+shared.service.OperatorToken()).body
	if !strings.Contains(body, `route="GET /console/apps/{app}/accounts"`) || strings.Contains(body, app) {
		t.Error("the metrics do not name the route, or name the application")
	}
}
