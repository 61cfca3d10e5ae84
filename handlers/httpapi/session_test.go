package httpapi_test

import (
	"net/http"
	"testing"

	"rollcall/handlers/httpapi"
)

func TestASessionStandsInForATokenWhereNoneIsSent(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) {
		c.Session = func(r *http.Request) (string, bool) {
			cookie, err := r.Cookie("session")
			if err != nil {
				return "", false
			}
			return cookie.Value, true
		}
	})
	const app = `{"app":"by-session","name":"By session"}`
	session := map[string]string{"Cookie": "session=\"" + operatorToken + "\""}
	with := func(name, value string) map[string]string {
		return map[string]string{"Cookie": session["Cookie"], name: value}
	}
	for _, c := range []struct {
		what string
		give request
		want int
	}{
		{"a read", request{method: "GET", path: "/v1/apps", token: "-", header: session}, 200},
		{"a session of no token", request{method: "GET", path: "/v1/apps", token: "-", header: map[string]string{"Cookie": "session=wrong"}}, 401},
		{"none", request{method: "GET", path: "/v1/apps", token: "-"}, 401},
		{"a token that is wrong beside it", request{method: "GET", path: "/v1/apps", token: "wrong", header: session}, 401},
		{"a write from another site", request{method: "POST", path: "/v1/apps", token: "-", body: app, header: with("Sec-Fetch-Site", "cross-site")}, 403},
		{"a write from another origin", request{method: "POST", path: "/v1/apps", token: "-", body: app, header: with("Origin", "https://elsewhere.example")}, 403},
		{"a write from here", request{method: "POST", path: "/v1/apps", token: "-", body: app, header: with("Sec-Fetch-Site", "same-origin")}, 201},
		{"a write with a token from anywhere", request{method: "POST", path: "/v1/apps", body: `{"app":"by-token"}`, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 201},
	} {
		t.Run(c.what, func(t *testing.T) { r.call(t, c.give).status(t, c.want) })
	}
}
