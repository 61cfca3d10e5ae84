package asyncapi_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryReferenceLeadsSomewhereAndNothingIsUnused(t *testing.T) {
	d := load(t)
	used := make(map[string]bool)
	walk(d.tree, "#", func(path string, v any) {
		ref, ok := refOf(v)
		if !ok {
			return
		}
		used[ref] = true
		if len(v.(map[string]any)) > 1 {
			t.Errorf("%s has members beside its reference, which nobody reads", path)
		}
		here := any(d.tree)
		for _, step := range steps(ref) {
			object, _ := here.(map[string]any)
			if here = object[step]; here == nil {
				t.Errorf("%s refers to %s, which is not there", path, ref)
				return
			}
		}
	})
	for _, kind := range []string{"messages", "schemas", "replies", "parameters", "securitySchemes"} {
		for name := range d.object(t, "components", kind) {
			if !used["#/components/"+kind+"/"+name] {
				t.Errorf("%s %s is used nowhere", kind, name)
			}
		}
	}
}

func TestTheDocumentIsInFormAndItsOperationsAreComplete(t *testing.T) {
	d := load(t)
	if v := d.at(t, "asyncapi"); v != "3.0.0" {
		t.Errorf("asyncapi is %v", v)
	}
	for _, member := range []string{"title", "version", "description", "license"} {
		d.at(t, "info", member)
	}
	withOperation := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(d.object(t, "operations"))) {
		operation := d.object(t, "operations", name)
		ref, _ := refOf(operation["channel"])
		key, ok := strings.CutPrefix(ref, "#/channels/")
		if !ok {
			t.Errorf("operation %s is on channel %q", name, ref)
		}
		withOperation[key] = true
		d.object(t, "channels", key)
		d.at(t, "operations", name, "summary")
		_, replies := operation["reply"]
		if action := operation["action"]; action != "send" && action != "receive" || (action == "receive") != replies {
			t.Errorf("operation %s: action %v, with a reply: %t", name, action, replies)
		}
		if replies {
			checkReply(t, d, name)
		}
	}
	for _, c := range d.channels(t) {
		if !withOperation[c.name] {
			t.Errorf("channel %s is of no operation", c.name)
		}
	}
}

// checkReply checks that a reply has messages of its channel.
func checkReply(t *testing.T, d *document, operation string) {
	t.Helper()
	reply := d.object(t, "operations", operation, "reply")
	ref, _ := refOf(reply["channel"])
	messages, _ := reply["messages"].([]any)
	if ref == "" || len(messages) == 0 {
		t.Errorf("the reply of %s is on channel %q with %d messages", operation, ref, len(messages))
	}
	for _, m := range messages {
		if of, _ := refOf(m); !strings.HasPrefix(of, ref+"/messages/") {
			t.Errorf("the reply of %s has %s, which is not of %s", operation, of, ref)
		}
	}
}

func TestEveryAddressDeclaresItsParameters(t *testing.T) {
	d := load(t)
	names := regexp.MustCompile(`\{(\w+)\}`)
	addresses := make(map[string]string)
	for _, c := range d.channels(t) {
		if other := addresses[c.address]; other != "" {
			t.Errorf("channels %s and %s have one address", c.name, other)
		}
		addresses[c.address] = c.name
		if len(c.messages) == 0 {
			t.Errorf("channel %s has no messages", c.name)
		}
		var inAddress []string
		for _, m := range names.FindAllStringSubmatch(c.address, -1) {
			inAddress = append(inAddress, m[1])
		}
		declared, _ := d.object(t, "channels", c.name)["parameters"].(map[string]any)
		if got := slices.Sorted(maps.Keys(declared)); !slices.Equal(got, slices.Sorted(slices.Values(inAddress))) {
			t.Errorf("channel %s declares %q for %s", c.name, got, c.address)
		}
	}
}

func TestEverySchemaCompilesAndEveryObjectOfRollcallIsClosed(t *testing.T) {
	d := load(t)
	for name := range d.object(t, "components", "schemas") {
		d.schema(t, "components", "schemas", name)
	}
	open := []string{"CommandHeaders", "RequestHeaders", "DeadHeaders", "CommandEvent"} // others write into them
	for name, v := range d.object(t, "components", "schemas") {
		schema := v.(map[string]any)
		if _, typed := schema["type"]; !typed && schema["const"] == nil && schema["allOf"] == nil {
			t.Errorf("schema %s has no type", name)
		}
		_, properties := schema["properties"]
		if closed := schema["additionalProperties"] == false; properties && closed == slices.Contains(open, name) {
			t.Errorf("schema %s: closed is %t", name, closed)
		}
	}
}

func TestEveryCloudEventSaysThatItIsOne(t *testing.T) {
	d := load(t)
	for name := range d.object(t, "components", "messages") {
		described := d.object(t, "components", "messages", name)
		payload, _ := described["payload"].(map[string]any)
		_, isEvent := payload["allOf"]
		if saysSo := described["contentType"] == "application/cloudevents+json"; saysSo != isEvent {
			t.Errorf("message %s: is a CloudEvent %t, says so %t", name, isEvent, saysSo)
		}
	}
}

func TestEveryExampleIsValid(t *testing.T) {
	d := load(t)
	found := 0
	for name := range d.object(t, "components", "messages") {
		for _, e := range examples(t, d, name) {
			found++
			if err := d.check(t, name, e); err != nil {
				t.Errorf("example %q of %s: %v", e.name, name, err)
			}
		}
	}
	const least = 20
	if found < least {
		t.Errorf("found %d examples, want at least %d", found, least)
	}
}
