package asyncapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
	"rollcall/handlers/intake"
)

func TestTheServiceAcceptsTheExamplesOfTheDocument(t *testing.T) {
	r := newRig(t)
	ids := make(map[string]bool)
	for _, verb := range []intake.Verb{intake.Create, intake.Edit, intake.Export, intake.Delete} {
		subject := "accounts.cmd.demo." + string(verb)
		for _, name := range r.document.on(t, subject).messages {
			for _, e := range examples(t, r.document, name) {
				id := idOf(t, e)
				if ids[id] {
					t.Errorf("two examples have the id %s", id)
				}
				ids[id] = true
				r.publish(t, subject, e, 0)
				r.outcome(t, "demo", id, "accepted")
				read, _ := r.request(t, "$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo."+id, message{})
				if read != "accepted" {
					t.Errorf("the outcome of %s is read as %s", id, read)
				}
			}
		}
	}
	if read, _ := r.request(t, "$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo.never-sent", message{}); read != "noOutcome" {
		t.Errorf("the outcome of nothing is read as %s", read)
	}
	for _, verb := range []string{"create", "edit", "get", "delete", "consume"} {
		subject := "accounts.rpc.demo." + verb
		for _, e := range examples(t, r.document, verb+"Request") {
			if name, answer := r.request(t, subject, e); name == "problem" {
				t.Errorf("%s %s: %s", subject, e.body, answer.body)
			}
		}
	}
}

func TestTheServiceUnderstandsNoMemberThatTheDocumentDoesNotDescribe(t *testing.T) {
	r := newRig(t)
	n := 0
	for _, verb := range intake.Verbs() {
		subject := "accounts.cmd.demo." + string(verb)
		e := examples(t, r.document, string(verb))[0]
		for _, b := range spoilt(t, e.body) {
			n++
			id := fmt.Sprintf("spoilt-%d", n)
			m := message{headers: map[string]any{"Nats-Msg-Id": id}, body: b}
			if err := r.document.check(t, string(verb), m); err == nil {
				t.Errorf("the document describes %s", b)
			}
			r.publish(t, subject, m, 0)
			r.outcome(t, "demo", id, "dead")
		}
	}
}

func TestWhatTheDocumentNeedsTheServiceNeeds(t *testing.T) {
	r := newRig(t)
	needed := 0
	for _, verb := range []string{"create", "edit", "get", "delete", "consume"} {
		for _, e := range examples(t, r.document, verb+"Request") {
			for _, b := range without(t, e.body) {
				m := message{body: b}
				valid := r.document.check(t, verb+"Request", m) == nil
				_, answer := r.request(t, "accounts.rpc.demo."+verb, m)
				if code, _ := codesOf(t, answer); (code == "validation_failed") == valid {
					t.Errorf("%s %s: valid is %t, the service says %q", verb, b, valid, code)
				}
				if !valid {
					needed++
				}
			}
		}
	}
	const least = 4
	if needed < least {
		t.Errorf("the document needs %d members in all", needed)
	}
	m := body(`{"compression": "none"}`, "Nats-Msg-Id", "no-format")
	if err := r.document.check(t, "export", m); err == nil {
		t.Error("the document needs no format of an export")
	}
	r.publish(t, "accounts.cmd.demo.export", m, 0)
	r.outcome(t, "demo", "no-format", "rejected")
}

// without returns copies of a JSON object, in each of which one member is left out.
func without(t *testing.T, body []byte) (all [][]byte) {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatal(err)
	}
	for name := range object {
		less := maps.Clone(object)
		delete(less, name)
		b, err := json.Marshal(less)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func TestServicesAreSeenAsTheDocumentSays(t *testing.T) {
	r := newRig(t)
	_, answer := r.request(t, "$SRV.INFO.rollcall", message{})
	var info struct {
		Endpoints []struct{ Name, Subject string }
	}
	if err := json.Unmarshal(answer.body, &info); err != nil {
		t.Fatal(err)
	}
	var subjects, names, inDocument []string
	for _, e := range info.Endpoints {
		subjects, names = append(subjects, e.Subject), append(names, e.Name)
	}
	for _, c := range r.document.channels(t) {
		if covers("accounts.rpc.>", c.pattern()) {
			inDocument = append(inDocument, c.pattern())
		}
	}
	same(t, "endpoint", inDocument, subjects)
	same(t, "name of an endpoint", texts(t, r.document.at(t, "components", "messages", "serviceInfo", "payload", "properties", "endpoints", "items", "properties", "name", "enum")), names)
}

// eventOf returns an event of an export with all that its type may have.
func eventOf(typ export.EventType) export.Event {
	const id = "01JD0000000000000000000000"
	at := time.Date(2026, time.January, 2, 3, 4, 5, 6, time.UTC)
	e := export.Event{
		ID: id, Type: typ, App: "demo", Job: id, Time: at, Actor: "backup/" + id, CommandID: "c", CausationID: "c", CorrelationID: "k", TraceParent: trace,
	}
	if typ != export.Requested {
		e.Rebuild = 1
	}
	switch typ {
	case export.Requested:
		e.Spec = export.Spec{App: "demo", Format: export.CSV, Compression: export.NoCompression, UserIDs: []domain.UserID{"a"}, Filter: domain.Filter{Type: domain.TypeAdmin, Text: "secret"}}
		e.Spec.Fields, e.KeyID, e.SealedText, e.MinPosition = []domain.Field{domain.FieldUserID}, "key", []byte("sealed"), 7
	case export.Started:
		e.Attempt = 1
	case export.Progressed:
		e.Progress, e.Position = export.Progress{Done: 0, Total: 0}, 7
	case export.Completed:
		e.Spec.Format, e.Position = export.NDJSON, 7
		e.Result = export.FileResult{SHA256: fmt.Sprintf("%064x", 1), DownloadURL: "https://files.example/x?signature=y", ManifestURL: "https://files.example/x.manifest.json?signature=y", ExpiresAt: at}
	case export.Interrupted:
		e.Attempt, e.Reason = 1, "the service is stopping"
	case export.Recalled, export.Withdrawn:
		e.Position, e.Reason = 7, "an account has been deleted"
	case export.Failed, export.Expired:
		e.Reason = "the file could not be written"
	}
	return e
}

func TestEveryEventOfAnExportIsInTheDocument(t *testing.T) {
	d := load(t)
	seen := make(map[string]bool)
	for _, state := range values(constants(t, "handlers/export", "EventType"), "") {
		e := eventOf(export.EventType(state))
		b, err := export.MarshalEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		m := message{subject: e.Subject(), headers: map[string]any{"Content-Type": "application/cloudevents+json"}, body: b}
		among := d.on(t, m.subject).messages
		seen[d.which(t, among, m)] = true
		checkSubjectAndMembers(t, d, among, m)
	}
	for _, name := range d.on(t, "accounts.export.demo.job.completed").messages {
		if !seen[name] {
			t.Errorf("no event is %s", name)
		}
	}
}
