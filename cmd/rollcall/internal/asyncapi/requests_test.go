package asyncapi_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/domain"
	"rollcall/handlers/command"
)

// asked is a request that the test makes, and what it must be answered with: a code, or none and the message named.
type asked struct {
	verb    string
	message message
	answer  string
	code    string
	field   string // code of the first field that is wrong
}

// requests lead to every code that a request can lead to from outside, in this order. The application has one administrator
// at most.
func requests() []asked {
	ok := func(verb, text, answer string, headers ...string) asked {
		return asked{verb, body(text, headers...), answer, "", ""}
	}
	no := func(verb, text, code, field string, headers ...string) asked {
		return asked{verb, body(text, headers...), "problem", code, field}
	}
	return []asked{
		ok("create", `{"user_id": "a", "type": "admin"}`, "account", "Nats-Msg-Id", "q1", "traceparent", trace),
		ok("create", `{"user_id": "a", "type": "admin"}`, "account", "Nats-Msg-Id", "q1"),
		no("create", `{"user_id": "a"}`, "account_exists", ""),
		no("create", `{"user_id": "b", "type": "admin"}`, "admin_limit_reached", ""),
		no("edit", `{"user_id": "a", "level": 1}`, "command_id_reused", "", "Nats-Msg-Id", "q1"),
		ok("edit", `{"user_id": "a", "nickname": "가", "face_url": "http://x.example/y", "birthday": 20000229, "level": 0, "gender": "male", "role": 1, "language": 2,
			"msg_settings": 1, "location": "서울", "self_signature": "👋", "allow_type": "allow_any", "admin_forbid_type": "send_out"}`, "account", "If-Match", "*"),
		ok("get", `{"user_id": "a"}`, "account"),
		ok("get", `{"user_id": "a", "min_position": 7}`, "account"),
		no("get", `{"user_id": "b"}`, "account_not_found", ""),
		no("get", `{"user_id": "a", "min_position": 1000000}`, "not_caught_up", ""),
		no("edit", `{"user_id": "a", "level": 1}`, "revision_mismatch", "", "If-Match", "1"),
		no("edit", `{"user_id": "a", "type": "admin"}`, "immutable_field", "immutable_field"),
		no("edit", `{"user_id": "a", "level": -1}`, "validation_failed", "invalid_value"),
		no("create", `{"level": 1}`, "validation_failed", "required"),
		no("edit", `{"level": 1}`, "validation_failed", "required"),
		no("delete", `{"user_id": ""}`, "validation_failed", "required"),
		no("create", `{"user_id": "c", "revision": 1}`, "validation_failed", "read_only"),
		no("create", `{"user_id": "c", "nick": "x"}`, "validation_failed", "unknown_field"),
		no("create", `{"user_id": "c", "user_id": "c"}`, "validation_failed", "duplicate"),
		no("create", `{"user_id": "`+strings.Repeat("c", domain.MaxUserIDBytes+1)+`"}`, "validation_failed", "too_long"),
		no("create", `{`, "malformed_body", ""),
		no("create", `{"user_id": "`+strings.Repeat("c", 64<<10)+`"}`, "body_too_large", ""),
		ok("delete", `{"user_ids": ["a", "nobody"]}`, "deletions"),
		ok("delete", `{"user_ids": ["nobody"]}`, "deletions"),
		ok("create", `{"user_id": "a"}`, "account"),
		ok("delete", `{"user_id": "a"}`, "deleted"),
		ok("consume", `{"name": "one"}`, "consumer"),
		ok("consume", `{"name": "two", "user_id": "a", "from": 1}`, "consumer"),
		ok("consume", `{"name": "three", "from": "2026-01-31T12:00:00Z", "anew": false}`, "consumer"),
		no("consume", `{"name": "four"}`, "consumer_limit_reached", ""),
		no("consume", `{"name": "one", "user_id": "a"}`, "consumer_exists", ""),
		ok("consume", `{"name": "one", "user_id": "a", "anew": true}`, "consumer"),
		no("consume", `{"name": "one", "from": 1000000}`, "position_ahead", ""),
		no("consume", `{"name": "one", "type": "account.deleted"}`, "validation_failed", "unknown_field"),
		no("consume", `{"from": 1}`, "validation_failed", "required"),
		no("consume", `{"name": "One"}`, "validation_failed", "invalid_value"),
	}
}

func TestHowRequestsAreAnsweredIsInTheDocument(t *testing.T) {
	r := newRig(t)
	one := 1
	if _, err := r.api.EditApp(t.Context(), "demo", client.AppChange{MaxAdmins: &one}); err != nil {
		t.Fatal(err)
	}
	codes, fields := map[string]bool{"app_not_found": true}, make(map[string]bool)
	for _, q := range requests() {
		name, answer := r.request(t, "accounts.rpc.demo."+q.verb, q.message)
		code, field := codesOf(t, answer)
		if name != q.answer || code != q.code || field != q.field {
			t.Errorf("%s %.200s is answered with %s %q %q, want %s %q %q", q.verb, q.message.body, name, code, field, q.answer, q.code, q.field)
		}
		checkHeaders(t, answer, code)
		if len(answer.body) > 0 {
			checkNothingIsMissed(t, r, q.verb, answer)
		}
		if code != "" {
			codes[code] = true
		}
		if field != "" {
			fields[field] = true
		}
	}
	if _, answer := r.request(t, "accounts.rpc.nowhere.create", body(`{"user_id": "a"}`)); answer.headers["Rollcall-Error-Code"] != "app_not_found" {
		t.Errorf("a request in no application is answered with %s", answer.body)
	}
	compareCodes(t, r.document, "ProblemCode", codes)
	compareCodes(t, r.document, "FieldCode", fields)
}

// codesOf returns the code of a problem and that of its first field.
func codesOf(t *testing.T, m message) (code, field string) {
	t.Helper()
	if m.headers["Nats-Service-Error-Code"] == nil {
		return "", ""
	}
	var problem struct {
		Code   string
		Errors []struct{ Code string }
	}
	if err := json.Unmarshal(m.body, &problem); err != nil {
		t.Fatal(err)
	}
	if len(problem.Errors) > 0 {
		field = problem.Errors[0].Code
	}
	return problem.Code, field
}

// checkHeaders checks that the headers of a problem say the same as its body, and that those of an account do.
func checkHeaders(t *testing.T, m message, code string) {
	t.Helper()
	var said struct {
		Status   int
		Detail   string
		Revision int
	}
	if len(m.body) == 0 {
		return
	}
	if err := json.Unmarshal(m.body, &said); err != nil {
		t.Fatal(err)
	}
	h := m.headers
	if code != "" && (h["Rollcall-Error-Code"] != code || h["Nats-Service-Error-Code"] != fmt.Sprint(said.Status) || h["Nats-Service-Error"] != said.Detail) {
		t.Errorf("the headers %v say something else than %s", h, m.body)
	}
	if said.Revision > 0 && h["Rollcall-Revision"] != fmt.Sprint(said.Revision) {
		t.Errorf("the headers %v say another revision than %s", h, m.body)
	}
}

// checkNothingIsMissed checks that the document would find a member of an answer that is not described.
func checkNothingIsMissed(t *testing.T, r *rig, verb string, m message) {
	t.Helper()
	among := r.document.replies(t, r.document.on(t, "accounts.rpc.demo."+verb))
	for _, b := range spoilt(t, m.body) {
		if names, _ := r.document.fitting(t, among, message{headers: m.headers, body: b}); len(names) > 0 {
			t.Errorf("with a member that is not described it still is %q: %s", names, b)
		}
	}
}

// bound is a value at its limit, and the same one byte or item longer.
type bound struct {
	what, verb string
	at, above  message
}

// idList returns a body that names n accounts.
func idList(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"u%d"`, i)
	}
	return `{"user_ids": [` + strings.Join(list, ",") + `]}`
}

func bounds() []bound {
	field := func(name string, most int) bound {
		text := `{"user_id": "a", "` + name + `": "%s"}`
		return bound{name, "edit", body(fmt.Sprintf(text, long(most))), body(fmt.Sprintf(text, long(most+1)))}
	}
	url := func(n int) string { return "https://x.example/" + strings.Repeat("y", n-len("https://x.example/")) }
	id := func(n int) message {
		return body(`{"user_id": "a", "level": 1}`, "Nats-Msg-Id", strings.Repeat("i", n))
	}
	user := func(n int) message { return body(`{"user_id": "` + strings.Repeat("u", n) + `"}`) }
	return []bound{
		field("nickname", domain.MaxTextBytes), field("self_signature", domain.MaxTextBytes), field("location", domain.MaxLocationBytes),
		{"face_url", "edit", body(`{"user_id": "a", "face_url": "` + url(domain.MaxTextBytes) + `"}`), body(`{"user_id": "a", "face_url": "` + url(domain.MaxTextBytes+1) + `"}`)},
		{"user_id", "create", user(domain.MaxUserIDBytes), user(domain.MaxUserIDBytes + 1)},
		{"level", "edit", body(`{"user_id": "a", "level": 4294967295}`), body(`{"user_id": "a", "level": 4294967296}`)},
		{"birthday", "edit", body(`{"user_id": "a", "birthday": 99991231}`), body(`{"user_id": "a", "birthday": 100000101}`)},
		{"birthday", "edit", body(`{"user_id": "a", "birthday": 10101}`), body(`{"user_id": "a", "birthday": 1231}`)},
		{"user_ids", "delete", body(idList(command.MaxDeletions)), body(idList(command.MaxDeletions + 1))},
		{"command id", "edit", id(command.MaxCommandIDBytes), id(command.MaxCommandIDBytes + 1)},
	}
}

func TestTheServiceAndTheDocumentSetTheSameBounds(t *testing.T) {
	r := newRig(t)
	r.request(t, "accounts.rpc.demo.create", body(`{"user_id": "a"}`))
	for _, b := range bounds() {
		name, answer := r.request(t, "accounts.rpc.demo."+b.verb, b.at)
		if name == "problem" {
			t.Errorf("%s at its limit is refused: %s", b.what, answer.body)
		}
		name, answer = r.request(t, "accounts.rpc.demo."+b.verb, b.above)
		if name != "problem" {
			t.Errorf("%s above its limit is accepted: %s", b.what, answer.body)
		}
		described := b.verb + "Request"
		if err := r.document.check(t, described, b.at); err != nil {
			t.Errorf("%s at its limit: %v", b.what, err)
		}
		// Bytes that are not characters are left to x-max-bytes.
		wide := slices.Contains([]string{"nickname", "self_signature", "location"}, b.what)
		if err := r.document.check(t, described, b.above); err == nil && !wide {
			t.Errorf("%s above its limit is valid in the document", b.what)
		}
	}
}

// refused are commands that neither the service nor the document accepts.
func refused() map[string][]message {
	event := func(id, members string) message {
		return body(`{"id": "` + id + `", "source": "/x", ` + members + `}`)
	}
	return map[string][]message{
		"create": {
			event("x1", `"specversion": "0.3", "type": "account.create.v1", "data": {"user_id": "x"}`),
			event("x2", `"specversion": "1.0", "type": "account.edit.v1", "data": {"user_id": "x"}`),
			event("x3", `"specversion": "1.0", "type": "account.create.v1"`),
			event("x4", `"specversion": "1.0", "type": "account.create.v1", "time": "yesterday", "data": {"user_id": "x"}`),
			event("x5", `"specversion": "1.0", "type": "account.create.v1", "correlationid": "a b", "data": {"user_id": "x"}`),
			event("x6", `"specversion": "1.0", "type": "account.create.v1", "data": []`),
			body(`{"user_id": "x"}`, "ce-type", "account.created.v1"), body(`{"user_id": "x"}`, "ce-causationid", "a b"),
			body(`{"user_id": "@RBT#1"}`), body(`{"user_id": "x", "face_url": "ftp://x.example/y"}`), body(`[]`), body(`{"user_id": "x", "level": 1.5}`),
		},
		"edit": {body(`{"user_id": "a", "level": 1}`, "If-Match", "first"), body(`{"user_id": "a", "level": 1}`, "If-Match", "0")},
		"delete": {
			body(`{}`), body(`{"user_id": "a", "user_ids": ["b"]}`), body(`{"user_ids": []}`), body(`{"user_ids": ["a", "a"]}`), body(`{"user_ids": "a"}`),
		},
		"export": {
			body(`{"format": "doc"}`), body(`{"format": "csv", "compression": "zip"}`), body(`{"format": "xlsx", "compression": "gzip"}`), body(`{"format": "csv", "fields": ["nick"]}`),
			body(`{"format": "csv", "fields": ["user_id", "user_id"]}`), body(`{"format": "csv", "user_ids": []}`),
			body(`{"format": "csv", "user_ids": ["a"], "filter": {"type": "admin"}}`), body(`{"format": "csv", "filter": {"type": "root"}}`),
			body(`{"format": "csv", "filter": {"q": "` + strings.Repeat("q", domain.MaxSearchTextBytes+1) + `"}}`),
			body(`{"format": "csv", ` + strings.TrimPrefix(idList(domain.MaxSelectedIDs+1), "{")),
		},
	}
}

func TestWhatTheDocumentRefusesTheServiceRefuses(t *testing.T) {
	r := newRig(t)
	r.request(t, "accounts.rpc.demo.create", body(`{"user_id": "a"}`))
	n := 0
	for verb, messages := range refused() {
		subject := "accounts.cmd.demo." + verb
		for _, m := range messages {
			n++
			id := fmt.Sprintf("refused-%d", n)
			m.headers["Nats-Msg-Id"] = id
			if names, _ := r.document.fitting(t, r.document.on(t, subject).messages, m); len(names) > 0 {
				t.Errorf("%s %v %.200s is %q in the document", verb, m.headers, m.body, names)
			}
			r.publish(t, subject, m, 0)
			r.await(t, id, func(heard message) bool { return heard.subject == "accounts.outcome.demo."+id })
			if read, _ := r.request(t, "$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo."+id, message{}); read == "accepted" {
				t.Errorf("%s %v %.200s is accepted", verb, m.headers, m.body)
			}
		}
	}
	most := body(`{"format": "csv", `+strings.TrimPrefix(idList(domain.MaxSelectedIDs), "{"), "Nats-Msg-Id", "most")
	r.document.which(t, r.document.on(t, "accounts.cmd.demo.export").messages, most)
	r.publish(t, "accounts.cmd.demo.export", most, 0)
	r.outcome(t, "demo", "most", "accepted")
}

func TestCommandsAboveTheBoundsOfTheDocumentAreRefused(t *testing.T) {
	r := newRig(t)
	padded := func(text string, most int64) message { return body(text + strings.Repeat(" ", int(most)-len(text))) }
	const account, order, empty = `{"user_id": "a"}`, `{"format": "csv"}`, "Nats-Msg-Id"
	for _, verb := range []string{"create", "edit", "delete", "export"} {
		text := account
		if verb == "export" {
			text = order
		}
		most, err := r.document.object(t, "components", "messages", verb)["x-max-bytes"].(json.Number).Int64()
		if err != nil {
			t.Fatal(err)
		}
		at, above := padded(text, most), padded(text, most+1)
		at.headers[empty], above.headers[empty] = "size-"+verb, "above-"+verb
		r.publish(t, "accounts.cmd.demo."+verb, at, 0)
		r.publish(t, "accounts.cmd.demo."+verb, above, 413)
	}
	headers, err := r.document.object(t, "components", "messages", "create")["x-max-header-bytes"].(json.Number).Int64()
	if err != nil {
		t.Fatal(err)
	}
	r.publish(t, "accounts.cmd.demo.create", body(account, "Nats-Msg-Id", "headers", "X-Long", strings.Repeat("x", int(headers)-200)), 0)
	r.publish(t, "accounts.cmd.demo.create", body(account, "Nats-Msg-Id", "headers", "X-Long", strings.Repeat("x", int(headers))), 413)
	for _, header := range []string{"Nats-Rollup", "Nats-Expected-Last-Sequence", "Rollcall-Sender"} {
		r.publish(t, "accounts.cmd.demo.create", body(account, "Nats-Msg-Id", "refused", header, "1"), 400)
	}
	r.publish(t, "accounts.cmd.demo.create", body(account, "Nats-Msg-Id", "expected", "Nats-Expected-Stream", "COMMANDS"), 0)
	r.publish(t, "accounts.cmd.demo.create", body(account, "Nats-Msg-Id", "expected-2", "Nats-Expected-Stream", "OTHER"), 400)
	reference := strings.Repeat("r", 200)
	r.publish(t, "accounts.cmd.demo.create", body(`{"user_id": "ref"}`, "Nats-Msg-Id", "reference", "ce-correlationid", reference), 0)
	r.outcome(t, "demo", "reference", "accepted")
	r.publish(t, "accounts.cmd.demo.create", body(`{"user_id": "ref"}`, "Nats-Msg-Id", "reference-2", "ce-correlationid", reference+"r"), 0)
	if _, code := r.outcome(t, "demo", "reference-2", "dead"); code != "malformed_command" {
		t.Errorf("a reference above its limit is %s", code)
	}
}
