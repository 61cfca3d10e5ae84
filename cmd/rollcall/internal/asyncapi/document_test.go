package asyncapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// root is the folder of the module.
const root = "../../../.."

// document is asyncapi.yaml.
type document struct {
	tree     map[string]any
	compiler *jsonschema.Compiler
}

// documentURL is the address under which the schemas of the document refer to each other.
const documentURL = "file:///asyncapi.json"

func load(t testing.TB) *document {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "asyncapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var inYAML any
	if err := yaml.Unmarshal(raw, &inYAML); err != nil {
		t.Fatal(err)
	}
	inJSON, err := json.Marshal(inYAML)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(inJSON))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7) // which AsyncAPI's own schemas extend
	if err := c.AddResource(documentURL, tree); err != nil {
		t.Fatal(err)
	}
	return &document{tree: tree.(map[string]any), compiler: c}
}

// at returns what is at a path of the document, following references, and fails the test when there is nothing.
func (d *document) at(t testing.TB, path ...string) any {
	t.Helper()
	here := any(d.tree)
	for i, step := range path {
		object, _ := here.(map[string]any)
		below, ok := object[step]
		if !ok {
			t.Fatalf("the document has no %s", strings.Join(path[:i+1], "/"))
		}
		here = d.follow(t, below)
	}
	return here
}

func (d *document) object(t testing.TB, path ...string) map[string]any {
	t.Helper()
	o, ok := d.at(t, path...).(map[string]any)
	if !ok {
		t.Fatalf("%s is no object", strings.Join(path, "/"))
	}
	return o
}

// follow returns what a reference leads to, and anything else as it is.
func (d *document) follow(t testing.TB, v any) any {
	t.Helper()
	ref, ok := refOf(v)
	if !ok {
		return v
	}
	return d.at(t, steps(ref)...)
}

// refOf returns the reference that a value is.
func refOf(v any) (string, bool) {
	object, _ := v.(map[string]any)
	ref, ok := object["$ref"].(string)
	return ref, ok
}

// steps splits a reference into the document.
func steps(ref string) []string {
	path := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	for i, s := range path {
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	return path
}

// schema compiles the schema at a path.
func (d *document) schema(t testing.TB, path ...string) *jsonschema.Schema {
	t.Helper()
	d.at(t, path...)
	s, err := d.compiler.Compile(documentURL + "#/" + strings.Join(path, "/"))
	if err != nil {
		t.Fatalf("schema %s: %v", strings.Join(path, "/"), err)
	}
	return s
}

// channel is one channel of the document.
type channel struct {
	name, address, stream string
	messages              []string // names below components/messages
}

// channels returns all channels that have an address.
func (d *document) channels(t testing.TB) []channel {
	t.Helper()
	var all []channel
	for _, name := range slices.Sorted(maps.Keys(d.object(t, "channels"))) {
		c := d.object(t, "channels", name)
		address, ok := c["address"].(string)
		if !ok {
			continue
		}
		stream, _ := c["x-stream"].(string)
		all = append(all, channel{name, address, stream, messageNames(t, d.object(t, "channels", name, "messages"))})
	}
	return all
}

// messageNames returns the components that the messages of a channel refer to.
func messageNames(t testing.TB, messages map[string]any) []string {
	t.Helper()
	var names []string
	for key, v := range messages {
		ref, ok := refOf(v)
		name, below := strings.CutPrefix(ref, "#/components/messages/")
		if !ok || !below {
			t.Fatalf("message %s is not among the components", key)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// pattern returns the address as a subject with wildcards.
func (c channel) pattern() string {
	tokens := strings.Split(c.address, ".")
	for i, token := range tokens {
		if strings.HasPrefix(token, "{") {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}

// covers tells whether a subject with wildcards has all of another one in it.
func covers(pattern, subject string) bool {
	wide, narrow := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range wide {
		switch {
		case token == ">":
			return len(narrow) > i
		case i >= len(narrow), token != "*" && token != narrow[i]:
			return false
		}
	}
	return len(wide) == len(narrow)
}

// walk calls visit with every value of the document and the path that leads to it.
func walk(v any, path string, visit func(path string, v any)) {
	visit(path, v)
	switch v := v.(type) {
	case map[string]any:
		for name, below := range v {
			walk(below, path+"/"+name, visit)
		}
	case []any:
		for i, below := range v {
			walk(below, fmt.Sprintf("%s/%d", path, i), visit)
		}
	}
}

// texts returns a list of texts.
func texts(t testing.TB, v any) []string {
	t.Helper()
	list, ok := v.([]any)
	if !ok {
		t.Fatalf("%v is no list", v)
	}
	out := make([]string, len(list))
	for i, e := range list {
		if out[i], ok = e.(string); !ok {
			t.Fatalf("%v is no text", e)
		}
	}
	return out
}

// same fails the test unless two sets are equal.
func same(t testing.TB, what string, documented, inCode []string) {
	t.Helper()
	for _, name := range inCode {
		if !slices.Contains(documented, name) {
			t.Errorf("%s %s is in the code and not in the document", what, name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(inCode, name) {
			t.Errorf("%s %s is in the document and not in the code", what, name)
		}
	}
	if len(inCode) == 0 {
		t.Errorf("found no %s in the code", what)
	}
}
