package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"rollcall/domain"
)

const accountTail = `"user_id":"x","type":"normal"`

// malformed is a request that must be refused by a code, and by the field's name.
type malformed struct {
	request
	status int
	code   domain.Code
	field  string // empty: none is named
}

func creating(body string, status int, code domain.Code, field string) malformed {
	return malformed{request{method: "POST", path: accounts, body: body}, status, code, field}
}

func invalidField(field, member string) malformed {
	return creating(`{`+accountTail+`,`+member+`}`, 422, "validation_failed", field)
}

func malformedBodies() []malformed {
	long := strings.Repeat("가", 200)
	return []malformed{
		creating(``, 400, "malformed_body", ""),
		creating(` `, 400, "malformed_body", ""),
		creating(`{`, 400, "malformed_body", ""),
		creating(`{}{}`, 400, "malformed_body", ""),
		creating(`{`+accountTail+`}x`, 400, "malformed_body", ""),
		creating(`{`+accountTail+`,}`, 400, "malformed_body", ""),
		creating(`[]`, 400, "malformed_body", ""),
		creating(`null`, 400, "malformed_body", ""),
		creating(`"text"`, 400, "malformed_body", ""),
		creating(`7`, 400, "malformed_body", ""),
		creating(`true`, 400, "malformed_body", ""),
		creating("\xef\xbb\xbf{}", 400, "malformed_body", ""),
		creating("{\"\xff\":1}", 400, "malformed_body", ""),
		creating(`{"\ud800":1}`, 400, "malformed_body", ""),
		creating(`{"a":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}`, 400, "malformed_body", ""),
		creating(`{"a":`+strings.Repeat("[", 9_000)+strings.Repeat("]", 9_000)+`}`, 422, "validation_failed", "a"),
		creating(manyNames(200), 400, "malformed_body", ""),
		creating(`{"user_id":"x'}`, 400, "malformed_body", ""),
		creating(`{"user_id":"`+"\x01"+`"}`, 400, "malformed_body", ""),
		creating(`{"user_id":"x","type":"normal","user_id":"y"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"x","type":"normal","us\u0065r_id":"y"}`, 422, "validation_failed", "user_id"),
		creating(`{}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":null,"type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"","type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":7,"type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":["x"],"type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"a b","type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"가","type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"\u0000","type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"@RBT#x","type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"@TOA#","type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"`+strings.Repeat("x", 33)+`","type":"normal"}`, 422, "validation_failed", "user_id"),
		creating(`{"user_id":"x","type":"owner"}`, 422, "validation_failed", "type"),
		creating(`{"user_id":"x","type":""}`, 422, "validation_failed", "type"),
		creating(`{"user_id":"x","type":{}}`, 422, "validation_failed", "type"),
		invalidField("colour", `"colour":"red"`),
		invalidField("", `"":"red"`),
		invalidField("User_ID", `"User_ID":"y"`),
		invalidField(strings.Repeat("n", 64)+"…", `"`+strings.Repeat("n", 500)+`":1`),
		invalidField("app", `"app":"demo"`),
		invalidField("revision", `"revision":1`),
		invalidField("created_at", `"created_at":"2026-01-01T00:00:00Z"`),
		invalidField("nickname", `"nickname":7`),
		invalidField("nickname", `"nickname":"`+long+`"`),
		invalidField("nickname", "\"nickname\":\"\xff\xfe\""),
		invalidField("nickname", "\"nickname\":\"\xed\xa0\x80\""),
		invalidField("nickname", `"nickname":"\ud800"`),
		invalidField("nickname", `"nickname":"\udc00\ud800"`),
		invalidField("nickname", `"nickname":"\ud800\ud800"`),
		invalidField("nickname", `"nickname":"\ud800x"`),
		invalidField("nickname", `"nickname":"a\u0000b"`),
		invalidField("face_url", `"face_url":"not a url"`),
		invalidField("face_url", `"face_url":"javascript:alert(1)"`),
		invalidField("face_url", `"face_url":"https://"`),
		invalidField("face_url", `"face_url":"https://a/`+long+`"`),
		invalidField("gender", `"gender":"other"`),
		invalidField("gender", `"gender":""`),
		invalidField("gender", `"gender":1`),
		invalidField("birthday", `"birthday":20260230`),
		invalidField("birthday", `"birthday":0`),
		invalidField("birthday", `"birthday":"20000101"`),
		invalidField("birthday", `"birthday":20000101.0`),
		invalidField("birthday", `"birthday":2e7`),
		invalidField("location", `"location":"12345678901234567"`),
		invalidField("self_signature", `"self_signature":false`),
		invalidField("self_signature", `"self_signature":"`+long+`"`),
		invalidField("allow_type", `"allow_type":"maybe"`),
		invalidField("admin_forbid_type", `"admin_forbid_type":"all"`),
		invalidField("language", `"language":-1`),
		invalidField("language", `"language":4294967296`),
		invalidField("msg_settings", `"msg_settings":1.5`),
		invalidField("level", `"level":1e400`),
		invalidField("level", `"level":99999999999999999999999`),
		invalidField("role", `"role":"7"`),
		invalidField("role", `"role":[]`),
		creating(`{"user_id":"x","pad":"`+strings.Repeat("x", 65<<10)+`"}`, 413, "body_too_large", ""),
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"n%d":1`, i)
	}
	return "{" + b.String()[1:] + "}"
}

func malformedRequests() []malformed {
	get := func(path string, status int, code domain.Code, field string) malformed {
		return malformed{request{method: "GET", path: path}, status, code, field}
	}
	with := func(name, value string, status int, code domain.Code, field string) malformed {
		return malformed{request{method: "POST", path: accounts, body: `{` + accountTail + `}`, header: map[string]string{name: value}}, status, code, field}
	}
	post := func(path, body string, status int, code domain.Code, field string) malformed {
		return malformed{request{method: "POST", path: path, body: body}, status, code, field}
	}
	patch := func(body string, status int, code domain.Code, field string) malformed {
		return malformed{request{method: "PATCH", path: accounts + "/kept", body: body}, status, code, field}
	}
	exports := "/v1/apps/demo/exports"
	list := []malformed{
		get(accounts+"?limit=0", 422, "validation_failed", "limit"),
		get(accounts+"?limit=1001", 422, "validation_failed", "limit"),
		get(accounts+"?limit=-1", 422, "validation_failed", "limit"),
		get(accounts+"?limit=ten", 422, "validation_failed", "limit"),
		get(accounts+"?limit=99999999999999999999", 422, "validation_failed", "limit"),
		get(accounts+"?limit=1&limit=2", 422, "validation_failed", "limit"),
		get(accounts+"?sort=age", 422, "validation_failed", "sort"),
		get(accounts+"?order=up", 422, "validation_failed", "order"),
		get(accounts+"?type=owner", 422, "validation_failed", "type"),
		get(accounts+"?q="+strings.Repeat("x", 501), 422, "validation_failed", "q"),
		get(accounts+"?q=%ff", 422, "validation_failed", "q"),
		get(accounts+"?q=a%00b", 422, "validation_failed", "q"),
		get(accounts+"?colour=red", 422, "validation_failed", "colour"),
		get(accounts+"?min_position=-1", 422, "validation_failed", "min_position"),
		get(accounts+"?min_position=1.5", 422, "validation_failed", "min_position"),
		get(accounts+"?q=%zz", 400, "malformed_query", ""),
		get(accounts+"?a;b", 400, "malformed_query", ""),
		get(accounts+"?%ff=1", 400, "malformed_query", ""),
		get(accounts+"?limit", 422, "validation_failed", "limit"),
		get(accounts+"?limit&q=x", 422, "validation_failed", "limit"),
		get(accounts+"?limit=", 422, "validation_failed", "limit"),
		get(accounts+"?type=", 422, "validation_failed", "type"),
		get(accounts+"?cursor=&q=", 422, "validation_failed", "cursor"),
		get(accounts+"?min_position=", 422, "validation_failed", "min_position"),
		get(accounts+"?cursor=nonsense!", 400, "invalid_cursor", "*"),
		get(accounts+"?cursor="+strings.Repeat("A", 3000), 400, "invalid_cursor", "*"),
		get(accounts+"/nobody", 404, "account_not_found", ""),
		get(accounts+"/"+strings.Repeat("x", 5000), 404, "account_not_found", ""),
		get(accounts+"/%ff", 404, "account_not_found", ""),
		get(accounts+"/%20", 404, "account_not_found", ""),
		get(accounts+"/a%00b", 404, "not_found", ""),
		get("/v1/apps/none/accounts", 404, "app_not_found", ""),
		get("/v1/apps/UPPER/accounts", 404, "app_not_found", ""),
		get("/v1/apps/%2F", 404, "app_not_found", ""),
		get("/v1/apps/%E3%85%8B/accounts", 404, "app_not_found", ""),
		get("/v1/apps/"+strings.Repeat("a", 33), 404, "app_not_found", ""),
		get("/v1/nothing", 404, "not_found", ""),
		get("/v2/apps", 404, "not_found", ""),
		get("/v1/apps/", 404, "not_found", ""),
		get("/", 404, "not_found", ""),
		get(accounts+":delete", 405, "method_not_allowed", ""),
		{request{method: "PUT", path: accounts + "/kept", body: `{}`}, 405, "method_not_allowed", ""},
		{request{method: "DELETE", path: "/v1/apps/demo"}, 405, "method_not_allowed", ""},
		{request{method: "PROPFIND", path: accounts}, 405, "method_not_allowed", ""},
		with("Idempotency-Key", "", 422, "validation_failed", "Idempotency-Key"),
		with("Idempotency-Key", strings.Repeat("k", 65), 422, "validation_failed", "Idempotency-Key"),
		with("Idempotency-Key", "a b", 422, "validation_failed", "Idempotency-Key"),
		with("Idempotency-Key", "é", 422, "validation_failed", "Idempotency-Key"),
		with("If-Match", `"1"`, 422, "validation_failed", "If-Match"),
		with("Content-Type", "text/plain", 415, "unsupported_media_type", ""),
		with("Content-Type", "application/x-www-form-urlencoded", 415, "unsupported_media_type", ""),
		with("Content-Type", "application/json; charset=utf-16", 415, "unsupported_media_type", ""),
		with("Content-Type", "application/json; charset", 415, "unsupported_media_type", ""),
		with("Content-Type", "nonsense", 415, "unsupported_media_type", ""),
		with("Content-Encoding", "gzip", 415, "unsupported_media_type", ""),
		patch(`{"user_id":"y"}`, 422, "immutable_field", "user_id"),
		patch(`{"type":"admin"}`, 422, "immutable_field", "type"),
		patch(`{"type":null}`, 422, "immutable_field", "type"),
		patch(`{"app":"x"}`, 422, "immutable_field", "app"),
		patch(`{"created_at":1}`, 422, "immutable_field", "created_at"),
		patch(`{"updated_at":1}`, 422, "immutable_field", "updated_at"),
		patch(`{"revision":{}}`, 422, "immutable_field", "revision"),
		patch(`{"nickname":{}}`, 422, "validation_failed", "nickname"),
		patch(`[{"op":"add"}]`, 400, "malformed_body", ""),
		patch(``, 400, "malformed_body", ""),
		post("/v1/apps", `{"app":"Demo"}`, 422, "validation_failed", "app"),
		post("/v1/apps", `{"name":"no id"}`, 422, "validation_failed", "app"),
		post("/v1/apps", `{"app":"x","max_admins":1001}`, 422, "validation_failed", "max_admins"),
		post("/v1/apps", `{"app":"x","max_admins":-1}`, 422, "validation_failed", "max_admins"),
		post("/v1/apps", `{"app":"x","max_admins":"3"}`, 422, "validation_failed", "max_admins"),
		post("/v1/apps", `{"app":"x","name":"`+strings.Repeat("n", 201)+`"}`, 422, "validation_failed", "name"),
		{request{method: "PATCH", path: "/v1/apps/demo", body: `{"app":"y"}`}, 422, "immutable_field", "app"},
		{request{method: "PATCH", path: "/v1/apps/demo", body: `{"owner":"y"}`}, 422, "validation_failed", "owner"},
		post(accounts+":delete", `{}`, 422, "validation_failed", "user_ids"),
		post(accounts+":delete", `{"user_ids":[]}`, 422, "validation_failed", "user_ids"),
		post(accounts+":delete", `{"user_ids":"a"}`, 422, "validation_failed", "user_ids"),
		post(accounts+":delete", `{"user_ids":["a",1]}`, 422, "validation_failed", "user_ids[1]"),
		post(accounts+":delete", `{"user_ids":["a","b","a"]}`, 422, "validation_failed", "user_ids[2]"),
		post(accounts+":delete", `{"user_ids":["`+strings.Repeat(`a","`, 100)+`b"]}`, 422, "validation_failed", "user_ids"),
		post(accounts+":import", `{}`, 415, "unsupported_media_type", ""),
		{request{method: "POST", path: accounts + ":import?mode=replace", kind: "application/x-ndjson"}, 422, "validation_failed", "mode"},
		{request{method: "POST", path: accounts + ":import", kind: "text/csv"}, 422, "validation_failed", "user_id"},
		{request{method: "POST", path: accounts + ":import", kind: "text/csv", body: "nickname\n"}, 422, "validation_failed", "user_id"},
		{request{method: "POST", path: accounts + ":import", kind: "text/csv", body: "user_id,colour\n"}, 422, "validation_failed", "colour"},
		{request{method: "POST", path: accounts + ":import", kind: "text/csv", body: "user_id,user_id\n"}, 422, "validation_failed", "user_id"},
		{request{method: "POST", path: accounts + ":import", kind: "text/csv", body: "user_id,\"ty\"pe\n"}, 400, "malformed_body", ""},
		{request{method: "POST", path: "/v1/apps/none/accounts:import", kind: "text/csv", body: "user_id\na\n"}, 404, "app_not_found", ""},
		post(exports, `{"format":"csv","fields":["nickname","colour"]}`, 422, "validation_failed", "fields[1]"),
		post(exports, `{"format":"csv","fields":7}`, 422, "validation_failed", "fields"),
		post(exports, `{"format":7}`, 422, "validation_failed", "format"),
		post(exports, `{"format":"csv","filter":[]}`, 422, "validation_failed", "filter"),
		post(exports, `{"format":"csv","filter":{"colour":"red"}}`, 422, "validation_failed", "filter.colour"),
		post(exports, `{"format":"csv","at_most":1}`, 422, "validation_failed", "at_most"),
		post(exports, `{"format":"csv","as_of":"yesterday"}`, 422, "validation_failed", "as_of"),
		post(exports, `{"format":"csv","as_of":0}`, 422, "validation_failed", "as_of"),
		post(exports, `{"format":"csv","as_of":true}`, 422, "validation_failed", "as_of"),
		post(exports, `{"pad":"`+strings.Repeat("x", 1<<20)+`"}`, 413, "body_too_large", ""),
		get(exports+"/none", 404, "export_not_found", ""),
		get(exports+"/none/events", 404, "export_not_found", ""),
		get(exports+"?limit=0", 422, "validation_failed", "limit"),
		get(exports+"?cursor=x", 400, "invalid_cursor", "*"),
		get("/v1/apps/none/exports", 404, "app_not_found", ""),
		get(accounts+"/nobody/history", 404, "account_unknown", ""),
		get(accounts+"/kept/history?limit=0", 422, "validation_failed", "limit"),
		get(accounts+"/kept/history?cursor=x", 400, "invalid_cursor", ""),
		get(accounts+"?as_of=yesterday", 422, "validation_failed", "as_of"),
		get(accounts+"?as_of=0", 422, "validation_failed", "as_of"),
		get(accounts+"?as_of=999999", 422, "position_ahead", ""),
		get(accounts+"?as_of=2999-01-01T00:00:00Z", 422, "position_ahead", ""),
		get(accounts+"?as_of=2000-01-01T00:00:00Z", 404, "app_not_found", ""),
		get(accounts+"?as_of=3&limit=0", 422, "validation_failed", "limit"),
		get(accounts+"?as_of=3&cursor=x", 400, "invalid_cursor", "*"),
		get("/v1/apps/none/accounts?as_of=1", 404, "app_not_found", ""),
		get(accounts+"/kept?as_of=yesterday", 422, "validation_failed", "as_of"),
		get(accounts+"/kept?as_of=0", 422, "validation_failed", "as_of"),
		get(accounts+"/kept?as_of=999999", 422, "position_ahead", ""),
		get(accounts+"/kept?as_of=2000-01-01T00:00:00Z", 404, "account_not_found", ""),
		get("/v1/apps/demo/events?from=soon", 422, "validation_failed", "from"),
		get("/v1/apps/demo/events?until=999999", 422, "position_ahead", ""),
		get("/v1/apps/demo/events?until=1&follow=true", 422, "validation_failed", "until"),
		get("/v1/apps/none/events", 404, "app_not_found", ""),
		get("/v1/apps/none/accounts/x/history", 404, "app_not_found", ""),
		post("/v1/tokens", `{}`, 422, "validation_failed", "name"),
		post("/v1/tokens", `{"name":"x","role":"king"}`, 422, "validation_failed", "role"),
		post("/v1/tokens", `{"name":"x","role":"viewer"}`, 422, "validation_failed", "app"),
		post("/v1/tokens", `{"name":"x","role":"viewer","app":"demo","secret":"s"}`, 422, "validation_failed", "secret"),
		{request{method: "DELETE", path: "/v1/tokens/none"}, 404, "token_not_found", ""},
		{request{method: "DELETE", path: "/v1/tokens/" + strings.Repeat("a", 30000)}, 404, "token_not_found", ""},
		post("/v1/tokens", `{"name":"x","role":"viewer","app":"none"}`, 404, "app_not_found", ""),
		post("/v1/apps/none/accounts:delete", `{"user_ids":["a"]}`, 404, "app_not_found", ""),
		get(exports+"?cursor=nonsense", 400, "invalid_cursor", "cursor"),
		get(exports+"/%2F", 404, "export_not_found", ""),
		get(exports+"/"+strings.Repeat("a", 30000)+"/events", 404, "export_not_found", ""),
	}
	return list
}

func TestWhatCannotBeAcceptedIsRefusedByName(t *testing.T) {
	r := newRig(t)
	r.create(t, `{"user_id":"kept","type":"normal"}`)
	before, err := r.store.Last(t.Context())
	must(t, err)
	for i, m := range append(malformedBodies(), malformedRequests()...) {
		body := m.body
		if len(body) > 60 {
			body = body[:60]
		}
		t.Run(fmt.Sprintf("%d %s %.60s %q", i, m.method, m.path, body), func(t *testing.T) {
			p := r.call(t, m.request).problem(t, m.status, m.code)
			if m.field == "*" || m.field == "" && p.Errors == nil {
				return
			}
			for _, e := range p.Errors {
				if e.Field == m.field && e.Code != "" && e.Detail != "" {
					return
				}
			}
			t.Errorf("%+v; want the field %q named", p, m.field)
		})
	}
	after, err := r.store.Last(t.Context())
	must(t, err)
	if before != after {
		t.Errorf("refused requests wrote events: the log went from %d to %d", before, after)
	}
	if logged := r.logged.String(); strings.Contains(logged, "level=ERROR") {
		t.Errorf("refused requests were logged as faults: %s", logged)
	}
}

func TestMethodsThatAPathTakesAreTold(t *testing.T) {
	r := newRig(t)
	a := r.call(t, request{method: "PUT", path: accounts + "/x"})
	if got := a.Header.Get("Allow"); got != "GET, HEAD, PATCH, DELETE" {
		t.Errorf("Allow: %s", got)
	}
}

func TestABodyThatIsTooLargeIsRefusedBeforeItIsRead(t *testing.T) {
	r := newRig(t)
	body := &counted{left: 1 << 30}
	req, err := http.NewRequestWithContext(t.Context(), "POST", r.URL+accounts, body)
	must(t, err)
	req.ContentLength = body.left
	req.Header.Set("Authorization", "Bearer "+operatorToken)
	req.Header.Set("Expect", "100-continue")
	client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: 1 << 40}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	must(t, err)
	res.Body.Close()
	if res.StatusCode != 413 || body.read > 0 {
		t.Errorf("status %d after %d bytes", res.StatusCode, body.read)
	}
}

// counted is a body that counts what is read of it.
type counted struct{ left, read int64 }

func (c *counted) Read(b []byte) (int, error) {
	c.read += int64(len(b))
	return len(b), nil
}
