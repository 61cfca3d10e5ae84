package messaging

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/handlers/command"
	"rollcall/handlers/intake"
	"rollcall/handlers/wire"
)

// Headers that those who publish commands set. The ce-… ones are those of the binary mode of CloudEvents.
const (
	headerContentType = "Content-Type"
	headerIfMatch     = "If-Match"
	headerTrace       = "traceparent"
	headerCloudTrace  = "ce-traceparent" // where that one is missing
	headerCorrelation = "ce-correlationid"
	headerCausation   = "ce-causationid"
	headerCloudID     = "ce-id"
	headerCloudType   = "ce-type"
)

// cloudEventsType is the media type of a CloudEvent in structured JSON.
const cloudEventsType = "application/cloudevents+json"

// maxReferenceBytes bounds the ids of causes and correlations.
const maxReferenceBytes = 200

// header returns the value of a header whatever the case of its name.
func header(h nats.Header, name string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	for key, values := range h {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// traceOf returns the trace context that a message was sent in, whatever it is.
func traceOf(h nats.Header) string {
	return cmp.Or(header(h, headerTrace), header(h, headerCloudTrace))
}

// readCommand understands a message of the stream of commands. What is known of one that it does not understand is
// returned as well. Its error is *intake.Unreadable.
func readCommand(subject string, h nats.Header, data []byte) (intake.Command, error) {
	app, verb := appAndVerb(subject, commandPrefix)
	c := intake.Command{
		App: app, Verb: verb, Sender: h.Get(headerSender), ID: h.Get(headerCommandID),
		CausationID: header(h, headerCausation), CorrelationID: header(h, headerCorrelation), TraceParent: traceOf(h),
	}
	if c.ID == "" {
		c.ID = header(h, headerCloudID)
	}
	ceType := header(h, headerCloudType)
	body, err := openCloudEvent(&c, &ceType, header(h, headerContentType), data)
	if err != nil {
		return c, err
	}
	if err := checkEnvelope(&c, ceType); err != nil {
		return c, err
	}
	if err := readBody(&c, body, header(h, headerIfMatch)); err != nil {
		return c, unreadable(err)
	}
	return c, nil
}

// openCloudEvent returns the body of a command, which stands alone or in a CloudEvent.
func openCloudEvent(c *intake.Command, ceType *string, contentType string, data []byte) ([]byte, error) {
	declared := strings.HasPrefix(contentType, cloudEventsType)
	if !declared && !bytes.Contains(data, []byte(`"specversion"`)) {
		return data, nil
	}
	var e wire.CloudEvent
	err := json.Unmarshal(data, &e)
	switch {
	case !declared && (err != nil || e.SpecVersion == ""):
		return data, nil // some text has the word in it
	case err != nil:
		return nil, malformed("it is no CloudEvent in structured JSON")
	case e.SpecVersion != "1.0":
		return nil, malformed("it is a CloudEvent of version %s, want 1.0", wire.Quoted(e.SpecVersion))
	}
	if c.ID == "" {
		c.ID = e.ID
	}
	*ceType = e.Type
	for to, v := range map[*string]string{&c.CausationID: e.CausationID, &c.CorrelationID: e.CorrelationID, &c.TraceParent: e.TraceParent} {
		if v != "" {
			*to = v
		}
	}
	return e.Data, nil
}

// CommandType returns the type of a command that is sent as a CloudEvent.
func CommandType(v intake.Verb) string { return "account." + string(v) + ".v1" }

// checkEnvelope checks what is around the body.
func checkEnvelope(c *intake.Command, ceType string) error {
	switch {
	case !c.App.Valid():
		return malformed("it names no application: publish on %s<app>.<verb>", commandPrefix)
	case !slices.Contains(intake.Verbs(), c.Verb):
		return &intake.Unreadable{Code: intake.CodeUnknownVerb, Detail: fmt.Sprintf("there is no command %s; one of create, edit, delete, export", wire.Quoted(string(c.Verb)))}
	case c.ID == "":
		return malformed("it has no command id: send one in the header Nats-Msg-Id, or as the id of a CloudEvent")
	case !visible(c.ID, command.MaxCommandIDBytes):
		id := c.ID
		c.ID = "" // it cannot be part of a subject
		return malformed("its command id %s cannot be accepted: 1 to %d visible ASCII characters", wire.Quoted(id), command.MaxCommandIDBytes)
	case ceType != "" && ceType != CommandType(c.Verb):
		return malformed("it is a CloudEvent of type %s, want %s", wire.Quoted(ceType), CommandType(c.Verb))
	}
	for name, v := range map[string]string{headerCausation: c.CausationID, headerCorrelation: c.CorrelationID} {
		if v != "" && !visible(v, maxReferenceBytes) {
			return malformed("%s cannot be accepted: 1 to %d visible ASCII characters", name, maxReferenceBytes)
		}
	}
	if !wire.ValidTraceParent(c.TraceParent) {
		c.TraceParent = "" // as the specification of trace context asks
	}
	return nil
}

// visible tells whether a text is 1 to most visible ASCII characters.
func visible(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e })
}

// readBody reads what the command asks for.
func readBody(c *intake.Command, body []byte, ifMatch string) error {
	if ifMatch != "" && c.Verb != intake.Edit {
		return malformed("%s is for edits alone", headerIfMatch)
	}
	if err := readAsked(c, body, ifMatch); err != nil {
		return err
	}
	if c.Account != nil && c.Users()[0] == "" {
		return unnamed("the command")
	}
	return nil
}

// unnamed refuses what names no account. To the domain that would be one that does not exist.
func unnamed(thing string) error {
	return wire.Invalid(thing, "user_id", domain.CodeRequired, "name the account")
}

// readAsked reads the body of a verb.
func readAsked(c *intake.Command, body []byte, ifMatch string) error {
	switch c.Verb {
	case intake.Create:
		a, err := wire.DecodeAccount(body)
		if err != nil {
			return err
		}
		if err := a.RefuseReadOnly(); err != nil {
			return err
		}
		c.Account = domain.CreateAccount{App: c.App, UserID: a.UserID, Type: a.Type, Profile: a.Patch.Values}
	case intake.Edit:
		a, err := wire.DecodeAccount(body)
		if err != nil {
			return err
		}
		if err := a.RefuseImmutable(domain.FieldUserID); err != nil {
			return err
		}
		revision, err := parseIfMatch(ifMatch)
		if err != nil {
			return err
		}
		c.Account = domain.EditAccount{App: c.App, UserID: a.UserID, Patch: a.Patch, IfRevision: revision}
	case intake.Delete:
		return readDeletion(c, body)
	case intake.Export:
		spec, err := wire.DecodeExport(c.App, body)
		if err != nil {
			return err
		}
		c.Export = &spec
	}
	return nil
}

// parseIfMatch reads the revision that an account must still be at, zero for any.
func parseIfMatch(v string) (uint64, error) {
	if v == "" || v == "*" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.Trim(v, `"`), 10, 64)
	if err != nil || n == 0 {
		return 0, malformed("%s must be the revision that the account is at, such as 42", headerIfMatch)
	}
	return n, nil
}

// readDeletion reads a deletion of one account or of a batch.
func readDeletion(c *intake.Command, body []byte) error {
	var one *domain.UserID
	var many *[]domain.UserID
	err := wire.DecodeObject(body, "the deletion", map[string]wire.Setter{
		"user_id": func(v []byte) error { one = new(domain.UserID); return wire.SetString(one)(v) },
		"user_ids": func(v []byte) error {
			many = new([]domain.UserID)
			return wire.SetStrings(many, "user_ids", command.MaxDeletions)(v)
		},
	})
	switch {
	case err != nil:
		return err
	case one != nil && many != nil, one == nil && many == nil:
		return malformed("name either user_id or user_ids")
	case one != nil:
		c.Account = domain.DeleteAccount{App: c.App, UserID: *one}
		return nil
	}
	c.Batch = *many
	return wire.CheckUserIDs(c.Batch)
}

// malformed is the error of a message that is not what a command must be.
func malformed(format string, args ...any) error {
	return &intake.Unreadable{Code: intake.CodeMalformedCommand, Detail: fmt.Sprintf(format, args...)}
}

// unreadable makes a refusal of a body the reason why a message is dead.
func unreadable(err error) error {
	if r, ok := err.(*domain.Rejection); ok {
		return &intake.Unreadable{Code: r.Code, Detail: r.Detail, Fields: r.Fields}
	}
	return err
}

// precedenceOf tells what a command waits for: earlier ones on its accounts, and an export for all that were sent
// before it in its application. One that cannot be understood waits for nothing.
func precedenceOf(m jetstream.Msg) Precedence {
	c, err := readCommand(m.Subject(), m.Headers(), m.Data())
	if err != nil {
		return Precedence{}
	}
	p := Precedence{Group: string(c.App), Behind: c.Export != nil}
	for _, id := range c.Users() {
		p.Keys = append(p.Keys, string(c.App)+"/"+string(id))
	}
	// The same command twice is decided once, so that the second waits to find the outcome of the first.
	p.Keys = append(p.Keys, string(c.App)+" "+c.ID)
	return p
}
