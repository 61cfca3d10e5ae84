package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// configuration writes a configuration file and returns its name.
func configuration(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestEachSettingHasAPlaceOfItsOwn(t *testing.T) {
	var grammar cli
	set := &settings{env: variables(nil)}
	if _, err := kong.New(&grammar, kong.PostBuild(set.learn), kong.Bind(set)); err != nil {
		t.Fatal(err)
	}
	flags := make(map[string]string)  // name of the flag by place
	places := make(map[string]string) // place by variable
	for f, place := range set.places {
		at := dotted(place)
		if other, ok := flags[at]; ok && other != f.Name {
			t.Errorf("--%s and --%s have one place, %s", f.Name, other, at)
		}
		flags[at] = f.Name
		// The data folder is that of serve and of the commands beside it.
		if other, ok := places[variable(place)]; ok && other != at && f.Name != "data" {
			t.Errorf("%s is the variable of %s and of %s", variable(place), at, other)
		}
		places[variable(place)] = at
	}
	for at := range flags {
		for other := range flags {
			if strings.HasPrefix(other, at+".") {
				t.Errorf("%s is a setting, and a group that holds %s", at, other)
			}
		}
	}
	for name, want := range map[string]string{
		"ROLLCALL_LISTEN": "serve.listen", "ROLLCALL_EXPORTS": "serve.exports", "ROLLCALL_SERVER": "server",
		"ROLLCALL_ACCOUNTS_LIST_TYPE": "accounts.list.type", "ROLLCALL_ACCOUNTS_CREATE_TYPE": "accounts.create.type",
		"ROLLCALL_EXPORTS_CREATE_FORMAT": "exports.create.format", "ROLLCALL_BENCH_ACCOUNTS": "bench.accounts",
	} {
		if places[name] != want {
			t.Errorf("%s is the variable of %q, want %q", name, places[name], want)
		}
	}
}

func TestAConfigurationThatCannotBeMeantIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"listen": "127.0.0.1:1"}`:                    `there is no setting "listen"`,
		`{"serve": {"lisen": "127.0.0.1:1"}}`:          `there is no setting "serve.lisen"`,
		`{"serve.listen": "127.0.0.1:1"}`:              `there is no setting "serve.listen"`,
		`{"config": "other.json"}`:                     `there is no setting "config"`,
		`{"exports": "file:///srv"}`:                   `"exports" is no setting but a group`,
		`{"exports": {"format": "csv"}}`:               `there is no setting "exports.format"`,
		`{"serve": {"exports": {"format": "ndjson"}}}`: `the setting "serve.exports" takes one value`,
		`{"server": ["a", "b"]}`:                       `the setting "server" takes one value`,
		`{"exports": {"create": {"fields": {}}}}`:      `the setting "exports.create.fields" takes a text or a list of texts`,
		`{"exports": {"create": {"fields": [1]}}}`:     `the setting "exports.create.fields" takes a text or a list of texts`,
		`[]`:                                   "it must be one JSON object",
		`{"server": "http://127.0.0.1:8080",}`: "it must be one JSON object; behind 36 bytes",
	} {
		code, _, errs := rollcall(t, nil, "", "version", "--config", configuration(t, text))
		if code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d and %q, want %q", text, code, errs, want)
		}
		for _, internal := range []string{"map[", "interface", "float64", "[]any"} {
			if strings.Contains(errs, internal) {
				t.Errorf("%s: the error shows %s of the program: %q", text, internal, errs)
			}
		}
	}
}

// greeting keeps what serve prints and calls served behind the last line of its greeting.
type greeting struct {
	bytes.Buffer
	served func()
}

func (g *greeting) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "  data ") {
		g.served()
	}
	return g.Buffer.Write(p)
}

func TestServeTakesItsPartOfTheConfigurationAndAnEmptyVariableForNone(t *testing.T) {
	config := configuration(t, `{
		"data": "elsewhere", "exports": {"create": {"format": "ndjson", "fields": ["user_id", "type"]}},
		"demo": {"accounts": 400}, "serve": {"listen": "127.0.0.1:0", "nats_listen": "127.0.0.1:0", "open_metrics": true}
	}`)
	data := filepath.Join(t.TempDir(), "data")
	for what, tt := range map[string]struct {
		env     map[string]string
		without bool
	}{
		"the file alone":    {env: map[string]string{}},
		"an empty variable": {env: map[string]string{"ROLLCALL_NATS_LISTEN": ""}, without: true},
	} {
		tt.env["GOGC"] = "100" // leave the garbage collector of the tests as it is
		ctx, stop := context.WithTimeout(t.Context(), patience)
		out := &greeting{served: stop}
		var errs bytes.Buffer
		code := Run(ctx, []string{"serve", "--config", config, "--data", data}, variables(tt.env), strings.NewReader(""), out, &errs)
		stop()
		if code != exitDone {
			t.Fatalf("%s: status %d: %s", what, code, errs.String())
		}
		if got := strings.Contains(out.String(), "not served"); got != tt.without {
			t.Errorf("%s: NATS is not served: %t, want %t:\n%s", what, got, tt.without, out.String())
		}
	}
}

func TestAListInTheConfigurationIsSeveralValues(t *testing.T) {
	p, api := running(t)
	imported(t, api, 1)
	env := p.env()
	env["ROLLCALL_CONFIG"] = configuration(t, `{"exports": {"create": {"format": "ndjson", "fields": ["user_id", "type"], "wait": true}}}`)
	if out := must(t, env, "exports", "create", "--output", "json"); !strings.Contains(out, `"fields":["user_id","type"]`) || !strings.Contains(out, `"format":"ndjson"`) {
		t.Errorf("the export is %s", out)
	}
}
