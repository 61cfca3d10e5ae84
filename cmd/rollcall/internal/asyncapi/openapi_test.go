package asyncapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// overHTTP is the description of the HTTP API.
type overHTTP map[string]any

// at returns what is at a path of the description.
func (o overHTTP) at(t *testing.T, path ...string) map[string]any {
	t.Helper()
	here := map[string]any(o)
	for i, step := range path {
		below, ok := here[step].(map[string]any)
		if !ok {
			t.Fatalf("OpenAPI has no %s", strings.Join(path[:i+1], " "))
		}
		here = below
	}
	return here
}

// body returns the schema of the body of an operation.
func (o overHTTP) body(t *testing.T, method, path string) map[string]any {
	t.Helper()
	content := o.at(t, "paths", path, method, "requestBody", "content")
	for _, name := range []string{"application/json", "application/merge-patch+json"} {
		if media, ok := content[name].(map[string]any); ok {
			return media["schema"].(map[string]any)
		}
	}
	t.Fatalf("%s %s takes no JSON", method, path)
	return nil
}

func TestBodiesOverNATSAndOverHTTPAreTheSame(t *testing.T) {
	r := newRig(t)
	api := make(overHTTP)
	call(t, r, "GET", "/openapi.json", &api)
	for _, name := range []string{"Account", "Outcome", "OutcomeItem", "Problem", "FieldError"} {
		compareSchema(t, r.document, name, api.at(t, "components", "schemas", name))
	}
	compareSchema(t, r.document, "NewAccount", api.body(t, "post", "/v1/apps/{app}/accounts"))
	compareSchema(t, r.document, "ExportOrder", api.body(t, "post", "/v1/apps/{app}/exports"))
	// Over NATS the account is named in the body, and one alone can be deleted by the same verb as a batch.
	const named = "user_id"
	compareSchema(t, r.document, "AccountEdit", api.body(t, "patch", "/v1/apps/{app}/accounts/{user_id}"), named)
	compareSchema(t, r.document, "Deletion", api.body(t, "post", "/v1/apps/{app}/accounts:delete"), named)
}

// compareSchema compares the members of an object, which of them are needed, and the values that they may have, but for those
// that are over NATS alone.
func compareSchema(t *testing.T, d *document, name string, http map[string]any, alone ...string) {
	t.Helper()
	ours := d.object(t, "components", "schemas", name)
	members := http["properties"].(map[string]any)
	shared := func(names []string) []string {
		return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(alone, n) })
	}
	same(t, "member of "+name, shared(properties(t, d, name)), slices.Sorted(maps.Keys(members)))
	if _, either := ours["oneOf"]; !either && !slices.Equal(shared(sortedTexts(t, ours["required"])), sortedTexts(t, http["required"])) {
		t.Errorf("%s needs %v, over HTTP %v", name, ours["required"], http["required"])
	}
	for member, v := range members {
		mine := facts(t, d.inline(t, d.at(t, "components", "schemas", name, "properties", member)))
		for fact, theirs := range facts(t, v) {
			if !bytes.Equal(mine[fact], theirs) {
				t.Errorf("%s.%s has %s %s, over HTTP %s", name, member, fact, mine[fact], theirs)
			}
		}
	}
}

// inline returns a schema with what its references lead to in their place.
func (d *document) inline(t *testing.T, v any) any {
	t.Helper()
	switch v := d.follow(t, v).(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, below := range v {
			out[name] = d.inline(t, below)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, below := range v {
			out[i] = d.inline(t, below)
		}
		return out
	default:
		return v
	}
}

// facts returns what a schema says that both documents say in the same way: the values of a text, the length of a
// list, the range of a number, and those of its members. Null is one of the values in OpenAPI and a schema of its own here.
func facts(t *testing.T, v any) map[string][]byte {
	t.Helper()
	found := make(map[string][]byte)
	walk(v, "", func(path string, v any) {
		object, _ := v.(map[string]any)
		path = strings.NewReplacer("/oneOf/0", "", "/allOf/0", "").Replace(path)
		for _, keyword := range []string{"enum", "minItems", "maxItems", "maximum"} {
			value, ok := object[keyword]
			if list, isList := value.([]any); isList {
				value = slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v == nil })
			}
			if b, err := json.Marshal(value); err != nil {
				t.Fatal(err)
			} else if ok {
				found[path+" "+keyword] = b
			}
		}
	})
	return found
}

func sortedTexts(t *testing.T, v any) []string {
	t.Helper()
	if v == nil {
		return nil
	}
	list := texts(t, v)
	slices.Sort(list)
	return list
}

func TestAFactThatDiffersIsFound(t *testing.T) {
	a := facts(t, map[string]any{"oneOf": []any{map[string]any{"enum": []any{"x", "y"}}, map[string]any{"type": "null"}}})
	b := facts(t, map[string]any{"enum": []any{"x", "y", nil}})
	c := facts(t, map[string]any{"enum": []any{"x"}})
	const enum = " enum"
	if !bytes.Equal(a[enum], b[enum]) || bytes.Equal(a[enum], c[enum]) {
		t.Errorf("facts are %s", fmt.Sprint(a, b, c))
	}
}
