package asyncapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// message is one message: an example of the document, or one that was heard.
type message struct {
	name    string // of an example
	subject string
	headers map[string]any
	body    []byte
}

// heard returns a message of NATS.
func heard(m *nats.Msg) message {
	headers := make(map[string]any, len(m.Header))
	for name, values := range m.Header {
		headers[name] = values[0]
	}
	return message{subject: m.Subject, headers: headers, body: m.Data}
}

// examples returns the examples of a message.
func examples(t testing.TB, d *document, name string) []message {
	t.Helper()
	list, _ := d.object(t, "components", "messages", name)["examples"].([]any)
	all := make([]message, len(list))
	for i, v := range list {
		example := v.(map[string]any)
		body, err := json.Marshal(example["payload"])
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := example["payload"].(string); ok {
			body = []byte(text)
		}
		all[i] = message{body: body}
		all[i].name, _ = example["name"].(string)
		all[i].headers, _ = example["headers"].(map[string]any)
	}
	return all
}

// check tells why a message is not what the document says of the one with a name.
func (d *document) check(t testing.TB, name string, m message) error {
	t.Helper()
	described := d.object(t, "components", "messages", name)
	path := []string{"components", "messages", name}
	var errs []error
	headers := m.headers
	if headers == nil {
		headers = map[string]any{}
	}
	if _, ok := described["headers"]; ok {
		errs = append(errs, d.schema(t, append(slices.Clone(path), "headers")...).Validate(headers))
	} else if len(headers) > 0 {
		errs = append(errs, fmt.Errorf("it has headers: %v", headers))
	}
	contentType, _ := described["contentType"].(string)
	_, hasPayload := described["payload"]
	switch {
	case hasPayload && strings.HasPrefix(contentType, "text/"):
		errs = append(errs, d.schema(t, append(slices.Clone(path), "payload")...).Validate(string(m.body)))
	case hasPayload:
		body, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.body))
		if err == nil {
			err = d.schema(t, append(slices.Clone(path), "payload")...).Validate(body)
		}
		errs = append(errs, err)
	case contentType == "" && len(m.body) > 0:
		errs = append(errs, fmt.Errorf("it has a body: %s", m.body))
	}
	return errors.Join(errs...)
}

// which returns the one of several messages that a message is, and fails the test when it is none or more than one.
func (d *document) which(t testing.TB, among []string, m message) string {
	t.Helper()
	names, why := d.fitting(t, among, m)
	if len(names) != 1 {
		t.Errorf("%s %v %s fits %q of %q: %v", m.subject, m.headers, m.body, names, among, why)
		return ""
	}
	return names[0]
}

func (d *document) fitting(t testing.TB, among []string, m message) (names []string, why error) {
	t.Helper()
	for _, name := range among {
		if err := d.check(t, name, m); err != nil {
			why = errors.Join(why, fmt.Errorf("not %s: %w", name, err))
		} else {
			names = append(names, name)
		}
	}
	return names, why
}

// on returns the channel of a subject.
func (d *document) on(t testing.TB, subject string) channel {
	t.Helper()
	for _, c := range d.channels(t) {
		if covers(c.pattern(), subject) {
			return c
		}
	}
	t.Fatalf("no channel is on %s", subject)
	return channel{}
}

// replies returns the messages that an operation on a channel is answered with.
func (d *document) replies(t testing.TB, c channel) []string {
	t.Helper()
	var names []string
	for operation := range d.object(t, "operations") {
		if ref, _ := refOf(d.object(t, "operations", operation)["channel"]); ref != "#/channels/"+c.name {
			continue
		}
		for _, m := range d.object(t, "operations", operation, "reply")["messages"].([]any) {
			ref, _ := refOf(m)
			names = append(names, ref[strings.LastIndex(ref, "/")+1:])
		}
	}
	return names
}

// spoilt returns copies of a JSON object, in each of which another object in it has a member that is not described.
func spoilt(t testing.TB, body []byte) (all [][]byte) {
	t.Helper()
	var tree any
	if err := json.Unmarshal(body, &tree); err != nil {
		t.Fatal(err)
	}
	const undocumented = "undocumented"
	walk(tree, "", func(_ string, v any) {
		object, ok := v.(map[string]any)
		if !ok {
			return
		}
		object[undocumented] = true
		b, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		delete(object, undocumented)
		all = append(all, b)
	})
	return all
}
