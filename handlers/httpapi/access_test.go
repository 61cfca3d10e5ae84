package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"rollcall/handlers/access"
	"rollcall/handlers/httpapi"
)

// operation is one that /openapi.json lists.
type operation struct {
	Security []map[string][]string
	ID       string `json:"operationId"`
	method   string
	path     string
}

func (r *rig) operations(t *testing.T) []operation {
	t.Helper()
	var api struct {
		Paths map[string]map[string]json.RawMessage
	}
	r.call(t, request{method: "GET", path: "/openapi.json", token: "-"}).status(t, 200).json(t, &api)
	var list []operation
	for path, item := range api.Paths {
		for method, raw := range item {
			op := operation{method: strings.ToUpper(method), path: path}
			must(t, json.Unmarshal(raw, &op))
			list = append(list, op)
		}
	}
	return list
}

// at names things that do not exist, so that what is permitted fails afterwards.
func (o operation) at(app string) request {
	path := strings.NewReplacer("{app}", app, "{user_id}", "nobody", "{id}", "none").Replace(o.path)
	return request{method: o.method, path: path}
}

func TestEveryOperationNeedsATokenButTheOpenOnes(t *testing.T) {
	r := newRig(t)
	open := map[string]bool{"healthz": true, "readyz": true}
	ops := r.operations(t)
	if len(ops) < 20 {
		t.Fatalf("only %d operations are described", len(ops))
	}
	for _, o := range ops {
		q := o.at("demo")
		q.token = "-"
		a := r.call(t, q)
		if open[o.ID] {
			a.status(t, 200)
			continue
		}
		a.problem(t, 401, "unauthenticated")
		if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") || len(o.Security) != 1 {
			t.Errorf("%s: %v, security %v", o.ID, a.Header, o.Security)
		}
	}
	r.call(t, request{method: "GET", path: "/metrics", token: "-"}).problem(t, 401, "unauthenticated")
	r.call(t, request{method: "GET", path: "/metrics"}).status(t, 200)
	r.call(t, request{method: "GET", path: "/metrics", token: r.token(t, access.Admin, "demo")}).problem(t, 403, "forbidden")
	for _, path := range []string{"/docs", "/docs/docs.js", "/docs/style.css", "/openapi.json"} {
		r.call(t, request{method: "GET", path: path, token: "-"}).status(t, 200)
	}
}

// mayCall tells which roles, besides the operator, may call an operation in
// the application that their token is bound to. It is written out by hand, so that a change of
// what an operation declares does not change it as well.
func mayCall() map[string]string {
	return map[string]string{
		"create-app": "", "list-apps": "admin producer viewer exporter auditor", "get-app": "admin producer viewer exporter auditor", "edit-app": "admin",
		"create-account": "admin producer", "list-accounts": "admin viewer", "get-account": "admin viewer", "edit-account": "admin producer",
		"delete-account": "admin producer", "delete-accounts": "admin producer", "import-accounts": "admin producer",
		"create-export": "admin exporter", "list-exports": "admin exporter", "get-export": "admin exporter", "cancel-export": "admin exporter", "follow-export": "admin exporter",
		"create-webhook": "admin exporter", "list-webhooks": "admin exporter", "get-webhook": "admin exporter", "delete-webhook": "admin exporter",
		"rotate-webhook-secret": "admin exporter", "test-webhook": "admin exporter",
		"list-webhook-deliveries": "admin exporter", "retry-webhook-delivery": "admin exporter",
		"account-history": "admin auditor", "read-events": "admin auditor", "read-log": "",
		"ledger-key": "admin auditor", "ledger-checkpoint": "admin auditor", "ledger-inclusion": "admin auditor", "ledger-consistency": "admin auditor",
		"list-erasures":    "admin auditor",
		"list-projections": "", "list-master-keys": "",
		"create-token": "admin", "list-tokens": "admin", "revoke-token": "admin",
	}
}

func TestEachRoleMayCallWhatTheTableSays(t *testing.T) {
	r := newRig(t)
	r.call(t, request{method: "POST", path: "/v1/apps", body: `{"app":"other"}`}).status(t, 201)
	tokens := map[access.Role]string{}
	for _, role := range access.Roles() {
		app := "demo"
		if role == access.Operator {
			app = ""
		}
		tokens[role] = r.token(t, role, app)
	}
	table := mayCall()
	for _, o := range r.operations(t) {
		if o.ID == "healthz" || o.ID == "readyz" {
			continue
		}
		roles, ok := table[o.ID]
		if !ok {
			t.Errorf("operation %s is not in the table", o.ID)
		}
		for role, token := range tokens {
			permitted := role == access.Operator || strings.Contains(" "+roles+" ", " "+string(role)+" ")
			q := o.at("demo")
			q.token = token
			checkPermitted(t, o.ID+" for "+string(role), r.call(t, q), permitted)
			if role == access.Operator || !strings.Contains(o.path, "{app}") {
				continue
			}
			for _, app := range []string{"other", "none", "UPPER"} {
				q := o.at(app)
				q.token = token
				p := r.call(t, q).problem(t, 403, "forbidden")
				if strings.Contains(p.Detail, "exist") {
					t.Errorf("%s tells whether %s exists: %s", o.ID, app, p.Detail)
				}
			}
		}
	}
}

func checkPermitted(t *testing.T, what string, a answer, permitted bool) {
	t.Helper()
	if refused := a.StatusCode == 401 || a.StatusCode == 403; refused == permitted || a.StatusCode >= 500 {
		t.Errorf("%s answered %d %s; permitted: %v", what, a.StatusCode, a.body, permitted)
	}
}

func TestATokenThatCannotBeReadIsRefused(t *testing.T) {
	r := newRig(t)
	for _, value := range []string{"", "Bearer", "Bearer ", "Basic b3A6", operatorToken, "Bearer wrong", "bearer  ", "Bearer " + strings.Repeat("x", 5000)} {
		q := request{method: "GET", path: "/v1/apps", token: "-", header: map[string]string{"Authorization": value}}
		r.call(t, q).problem(t, 401, "unauthenticated")
	}
	q := request{method: "GET", path: "/v1/apps", token: "-", header: map[string]string{"Authorization": "bEARER " + operatorToken}}
	r.call(t, q).status(t, 200)
}

func TestABoundTokenSeesItsApplicationOnly(t *testing.T) {
	var tokens httpapi.Tokens
	r := newRig(t, func(c *httpapi.Config) { tokens = c.Tokens })
	r.call(t, request{method: "POST", path: "/v1/apps", body: `{"app":"other"}`}).status(t, 201)
	a := r.call(t, request{method: "GET", path: "/v1/apps", token: r.token(t, access.Viewer, "demo")}).status(t, 200)
	if body := string(a.body); !strings.Contains(body, `"app":"demo"`) || strings.Contains(body, "other") {
		t.Errorf("it sees %s", body)
	}
	// The list may not know the application yet: it is behind the log.
	operator, err := tokens.Authenticate(t.Context(), operatorToken)
	must(t, err)
	secret, _, err := tokens.Create(t.Context(), operator, "early", access.Viewer, "not-yet")
	must(t, err)
	early := r.call(t, request{method: "GET", path: "/v1/apps", token: secret}).status(t, 200)
	if !strings.Contains(string(early.body), `"apps":[]`) {
		t.Errorf("it sees %s", early.body)
	}
}

func TestTokensAreMadeListedAndRevoked(t *testing.T) {
	r := newRig(t)
	r.call(t, request{method: "POST", path: "/v1/apps", body: `{"app":"other"}`}).status(t, 201)
	admin := r.token(t, access.Admin, "demo")
	r.token(t, access.Viewer, "other")
	var made struct{ ID, Secret, Role, App string }
	r.call(t, request{method: "POST", path: "/v1/tokens", token: admin, body: `{"name":"feed","role":"producer","app":"demo"}`}).status(t, 201).json(t, &made)
	if made.ID == "" || made.Secret == "" || made.Role != "producer" || made.App != "demo" {
		t.Fatalf("made %+v", made)
	}
	for _, body := range []string{`{"name":"x","role":"viewer","app":"other"}`, `{"name":"x","role":"operator"}`} {
		r.call(t, request{method: "POST", path: "/v1/tokens", token: admin, body: body}).problem(t, 403, "forbidden")
	}
	listed := string(r.call(t, request{method: "GET", path: "/v1/tokens", token: admin}).status(t, 200).body)
	if !strings.Contains(listed, made.ID) || strings.Contains(listed, made.Secret) || strings.Contains(listed, "other") {
		t.Errorf("listed %s", listed)
	}
	r.call(t, request{method: "GET", path: "/v1/tokens?app=other", token: admin}).problem(t, 403, "forbidden")
	r.call(t, request{method: "DELETE", path: "/v1/tokens/" + made.ID, token: admin}).status(t, 204)
	r.call(t, request{method: "GET", path: "/v1/apps", token: made.Secret}).problem(t, 401, "unauthenticated")
	r.call(t, request{method: "POST", path: "/v1/tokens", body: `{"name":"x","role":"operator"}`, header: map[string]string{"Idempotency-Key": "k"}}).
		problem(t, 422, "validation_failed")
	if strings.Contains(r.logged.String(), made.Secret) || !strings.Contains(r.logged.String(), "actor=test") {
		t.Errorf("the log is %s", r.logged)
	}
}
