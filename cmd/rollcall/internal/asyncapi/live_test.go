package asyncapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore"
)

// sent is a command that the test sends, and what must become of it.
type sent struct {
	verb         string
	message      message
	status, code string
}

// trace is a W3C trace context.
const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// commands lead to every code that a command can lead to from outside, in this order. The application has one
// administrator at most.
func commands() []sent {
	cmd := func(id, verb, text, status, code string, headers ...string) sent {
		return sent{verb, body(text, append([]string{"Nats-Msg-Id", id}, headers...)...), status, code}
	}
	return []sent{
		cmd("a1", "create", `{"user_id": "a", "type": "admin", "nickname": "가", "level": 7}`, "accepted", "",
			"traceparent", trace, "ce-correlationid", "all-of-it", "ce-causationid", "sign-up", "X-Other", "goes with it"),
		cmd("a2", "create", `{"user_id": "a"}`, "rejected", "account_exists"),
		cmd("a3", "create", `{"user_id": "b", "type": "admin"}`, "rejected", "admin_limit_reached"),
		cmd("a4", "edit", `{"user_id": "nobody", "level": 1}`, "rejected", "account_not_found"),
		cmd("a5", "edit", `{"user_id": "a", "level": 8}`, "rejected", "revision_mismatch", "If-Match", "1"),
		cmd("a6", "edit", `{"user_id": "a", "gender": "none"}`, "rejected", "validation_failed"),
		cmd("a7", "edit", `{"user_id": "a", "level": 7}`, "accepted", ""), // changes nothing
		cmd("a8", "edit", `{"user_id": "a", "nickname": null, "gender": "female"}`, "accepted", "", "If-Match", "*"),
		cmd("a.9*>", "create", `{"user_id": "x.y*>%"}`, "accepted", ""),
		cmd("a10", "create", `{"user_id": "t"}`, "accepted", "", "traceparent", "00-malformed"), // is left out of what is told
		cmd("b1", "create", `{"user_id": "b", "nick": 1}`, "dead", "validation_failed"),
		cmd("b2", "create", `{"user_id": `, "dead", "malformed_body"),
		cmd("b3", "create", `{"user_id": "b"}`, "dead", "malformed_command", "If-Match", "1"),
		cmd("b4", "edit", `{"user_id": "a", "type": "normal"}`, "dead", "immutable_field"),
		cmd("b5", "create", `{"level": 1}`, "dead", "validation_failed"),
		cmd("b6", "edit", `{"level": 1}`, "dead", "validation_failed"),
		cmd("b7", "delete", `{"user_id": null}`, "dead", "validation_failed"),
		cmd("c1", "export", `{"format": "csv"}`, "accepted", "", "traceparent", trace, "ce-correlationid", "all-of-it"),
		cmd("c2", "export", `{"format": "ndjson", "filter": {"q": "가", "type": "admin"}, "fields": ["user_id"]}`, "accepted", ""),
		cmd("c3", "export", `{"format": "ndjson", "user_ids": ["a", "nobody"], "compression": "none"}`, "accepted", ""),
		cmd("c4", "export", `{"format": "doc"}`, "rejected", "validation_failed"),
		cmd("d1", "delete", `{"user_ids": ["a", "nobody"]}`, "accepted", ""),
		cmd("d2", "delete", `{"user_ids": ["nobody"]}`, "accepted", ""),
		cmd("d3", "delete", `{"user_id": "x.y*>%"}`, "accepted", ""),
	}
}

func TestWhatARunningServiceTellsIsInTheDocument(t *testing.T) {
	r := newRig(t, func(c *service.Config) { c.ExportQuota.MaxLive = 20 })
	manageApp(t, r)
	for _, c := range commands() {
		id := c.message.headers["Nats-Msg-Id"].(string)
		if id == "d1" { // files that show the account are there to expire
			awaitCompleted(t, r, "c1")
		}
		r.publish(t, "accounts.cmd.demo."+c.verb, c.message, 0)
		_, code := r.outcome(t, "demo", eventstore.Token(id), c.status)
		if code != c.code {
			t.Errorf("command %s is %s with code %q, want %q", id, c.status, code, c.code)
		}
		if read, _ := r.request(t, "$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo."+eventstore.Token(id), message{}); read != c.status {
			t.Errorf("the outcome of command %s is read as %s, want %s", id, read, c.status)
		}
	}
	r.publish(t, "accounts.cmd.nowhere.create", body(`{"user_id": "a"}`, "Nats-Msg-Id", "n1"), 0)
	if _, code := r.outcome(t, "nowhere", "n1", "rejected"); code != "app_not_found" {
		t.Errorf("a command in no application is rejected with %s", code)
	}
	r.publish(t, "accounts.cmd.demo.create", body(`{"user_id": "without an id"}`), 0) // tells nobody what became of it
	reuse(t, r)
	dropDead(t, r, "b2")
	cancelExport(t, r)
	r.await(t, "an export's end", func(m message) bool { return strings.HasSuffix(m.subject, ".expired") })
	exceedQuota(t, r)
	r.await(t, "the record of an erasure", func(m message) bool { return strings.HasPrefix(m.subject, "accounts.evt.demo.erased.") })
	awaitDead(t, r, "malformed_command", "command_id_reused")
	r.await(t, "a checkpoint", func(m message) bool { return m.subject == "accounts.checkpoint" })
	compareHeard(t, r)
}

// manageApp leads to every event of an application itself.
func manageApp(t *testing.T, r *rig) {
	t.Helper()
	name, one := "Demo", 1
	for _, change := range []client.AppChange{{Name: &name}, {MaxAdmins: &one}} {
		if _, err := r.api.EditApp(t.Context(), "demo", change); err != nil {
			t.Fatal(err)
		}
	}
}

// reuse gives other commands under ids that are taken.
func reuse(t *testing.T, r *rig) {
	t.Helper()
	r.publish(t, "accounts.cmd.demo.edit", body(`{"user_id": "a", "level": 1}`, "Nats-Msg-Id", "a1"), 0) // is dead
	name, _ := r.request(t, "accounts.rpc.demo.create", body(`{"user_id": "r"}`, "Nats-Msg-Id", "r1"))
	if name != "account" {
		t.Errorf("a request is answered with %s", name)
	}
	r.publish(t, "accounts.cmd.demo.edit", body(`{"user_id": "r", "level": 1}`, "Nats-Msg-Id", "r1"), 0)
	if _, code := r.outcome(t, "demo", "r1", "rejected"); code != "command_id_reused" {
		t.Errorf("a command under the id of a request is rejected with %s", code)
	}
}

// call makes a call that the client has no method for, and reads its answer unless into is nil.
func call(t *testing.T, r *rig, method, path string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.service.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.service.OperatorToken())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	if into == nil {
		return
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// dropDead drops the dead letter of a command.
func dropDead(t *testing.T, r *rig, command string) {
	t.Helper()
	var list struct {
		Commands []struct {
			ID        string
			CommandID string `json:"command_id"`
		}
	}
	call(t, r, http.MethodGet, "/v1/commands/dead", &list)
	for _, c := range list.Commands {
		if c.CommandID == command {
			call(t, r, http.MethodDelete, "/v1/commands/dead/"+c.ID, nil)
		}
	}
	if _, code := r.outcome(t, "demo", command, "rejected"); code != "dropped" {
		t.Errorf("a command that was dropped is rejected with %s", code)
	}
}

// cancelExport cancels an export before it is over, which may take more than one.
func cancelExport(t *testing.T, r *rig) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		e, err := r.api.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.api.CancelExport(t.Context(), "demo", e.ID); err == nil {
			r.await(t, "the cancellation", func(m message) bool { return strings.HasSuffix(m.subject, e.ID+".cancelled") })
			return
		}
	}
	t.Fatal("every export was over before it could be cancelled")
}

// exceedQuota orders exports until there may be no more, and one more by message.
func exceedQuota(t *testing.T, r *rig) {
	t.Helper()
	for {
		_, err := r.api.CreateExport(t.Context(), "demo", client.ExportOrder{Format: "csv"})
		if p, ok := errors.AsType[*client.Problem](err); ok && p.Code == "export_quota_exceeded" {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.publish(t, "accounts.cmd.demo.export", body(`{"format": "csv"}`, "Nats-Msg-Id", "c5"), 0)
	if _, code := r.outcome(t, "demo", "c5", "rejected"); code != "export_quota_exceeded" {
		t.Errorf("an export beyond the quota is rejected with %s", code)
	}
}

// awaitCompleted waits until the export that a command ordered is completed.
func awaitCompleted(t *testing.T, r *rig, command string) {
	t.Helper()
	r.await(t, "the export of "+command, func(m message) bool {
		return strings.HasSuffix(m.subject, ".completed") && strings.Contains(string(m.body), `"commandid":"`+command+`"`)
	})
}

// awaitDead waits for dead letters of codes, which have no outcome of their own.
func awaitDead(t *testing.T, r *rig, codes ...string) {
	t.Helper()
	for _, code := range codes {
		r.await(t, "a dead letter with code "+code, func(m message) bool { return m.headers["Rollcall-Dead-Code"] == code })
	}
}

// notProvoked are the messages that come by chance or when something is broken.
// TestEveryEventOfAnExportIsInTheDocument looks at them.
var notProvoked = []string{"exportProgressed", "exportFailed", "exportRecalled", "exportInterrupted", "exportWithdrawn"}

// codesNotProvoked are the codes that, in one process, only its trouble or a fault leads to.
var codesNotProvoked = map[string][]string{
	"DeadCode":      {"forbidden", "internal", "unknown_sender", "unknown_verb"},
	"ProblemCode":   {"forbidden", "internal", "outcome_unknown", "unauthenticated", "unavailable"},
	"RejectionCode": nil,
	"FieldCode":     nil,
}

// compareHeard holds everything that was heard against the document, and the document against what was heard.
func compareHeard(t *testing.T, r *rig) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make(map[string]bool)
	codes := map[string]map[string]bool{"RejectionCode": {}, "DeadCode": {}}
	for _, m := range r.heard {
		among := r.document.on(t, m.subject).messages
		name := r.document.which(t, among, m)
		seen[name] = true
		noteCode(t, codes, name, m)
		if name != "deadCommand" && name != "checkpoint" {
			checkSubjectAndMembers(t, r.document, among, m)
		}
		for _, other := range []string{"accepted", "rejected", "dead"} {
			b := bytes.Replace(m.body, []byte(`"status":"`+name+`"`), []byte(`"status":"`+other+`"`), 1)
			if names, _ := r.document.fitting(t, among, message{headers: m.headers, body: b}); other != name && !bytes.Equal(b, m.body) && len(names) > 0 {
				t.Errorf("with status %s it still is %q: %s", other, names, b)
			}
		}
	}
	for _, c := range r.document.channels(t) {
		if !r.tells(t, c) {
			continue
		}
		for _, name := range c.messages {
			if !seen[name] && !slices.Contains(notProvoked, name) {
				t.Errorf("message %s of %s was not heard", name, c.address)
			}
		}
	}
	for list, heard := range codes {
		compareCodes(t, r.document, list, heard)
	}
}

// noteCode notes the code of an outcome or a dead letter.
func noteCode(t *testing.T, codes map[string]map[string]bool, name string, m message) {
	t.Helper()
	var event struct{ Data struct{ Code string } }
	switch name {
	case "deadCommand":
		codes["DeadCode"][m.headers["Rollcall-Dead-Code"].(string)] = true
		return
	case "rejected", "dead":
	default:
		return
	}
	if err := json.Unmarshal(m.body, &event); err != nil {
		t.Fatal(err)
	}
	list := map[string]string{"rejected": "RejectionCode", "dead": "DeadCode"}[name]
	codes[list][event.Data.Code] = true
}

// compareCodes compares the codes that a test has led to with those of the document.
func compareCodes(t *testing.T, d *document, list string, seen map[string]bool) {
	t.Helper()
	same(t, "code of "+list, enum(t, d, list), append(slices.Sorted(maps.Keys(seen)), codesNotProvoked[list]...))
	for _, code := range codesNotProvoked[list] {
		if seen[code] {
			t.Errorf("code %s of %s can be provoked; take it out of codesNotProvoked", code, list)
		}
	}
}

// checkSubjectAndMembers checks that an event says where it was published, and that the document would find a member of
// it that is not described.
func checkSubjectAndMembers(t *testing.T, d *document, among []string, m message) {
	t.Helper()
	var event struct{ Subject string }
	if err := json.Unmarshal(m.body, &event); err != nil || event.Subject != m.subject {
		t.Errorf("the event on %s says that its subject is %q", m.subject, event.Subject)
	}
	for _, b := range spoilt(t, m.body) {
		if names, _ := d.fitting(t, among, message{headers: m.headers, body: b}); len(names) > 0 {
			t.Errorf("with a member that is not described it still is %q: %s", names, b)
		}
	}
	more := maps.Clone(m.headers)
	more["Undocumented"] = "1"
	if names, _ := d.fitting(t, among, message{headers: more, body: m.body}); len(names) > 0 {
		t.Errorf("with a header that is not described it still is %q", names)
	}
}

func TestTheTraceAndTheIdsOfAProducerGoOnInWhatIsTold(t *testing.T) {
	r := newRig(t)
	r.publish(t, "accounts.cmd.demo.create", body(`{"user_id": "a"}`, "Nats-Msg-Id", "t1", "traceparent", trace, "ce-correlationid", "k", "ce-causationid", "c"), 0)
	r.publish(t, "accounts.cmd.demo.create", body(fmt.Sprintf(
		`{"specversion": "1.0", "id": "t2", "source": "/x", "type": "account.create.v1", "traceparent": %q, "correlationid": "k", "causationid": "c", "data": {"user_id": "b"}}`, trace)), 0)
	r.publish(t, "accounts.cmd.demo.export", body(`{"format": "csv"}`, "Nats-Msg-Id", "t3", "traceparent", trace, "ce-correlationid", "k"), 0)
	r.publish(t, "accounts.cmd.demo.create", body(`{"user_id": "c"}`, "ce-specversion", "1.0", "ce-id", "t4", "ce-source", "/x", "ce-type", "account.create.v1",
		"ce-traceparent", trace, "ce-correlationid", "k"), 0)
	for id, subjects := range map[string][]string{
		"t4": {"accounts.outcome.demo.t4", "accounts.evt.demo.u.c"},
		"t1": {"accounts.outcome.demo.t1", "accounts.evt.demo.u.a"},
		"t2": {"accounts.outcome.demo.t2", "accounts.evt.demo.u.b"},
		"t3": {"accounts.outcome.demo.t3", ".requested", ".started", ".completed"},
	} {
		for _, subject := range subjects {
			m := r.await(t, subject, func(m message) bool { return strings.HasSuffix(m.subject, subject) })
			var e struct{ TraceParent, CorrelationID, CommandID string }
			if err := json.Unmarshal(m.body, &e); err != nil || e.TraceParent != trace || e.CorrelationID != "k" || e.CommandID != id {
				t.Errorf("%s lost what its command said: %s", m.subject, m.body)
			}
		}
	}
}
