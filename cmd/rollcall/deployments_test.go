package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"
)

// deployed returns the path of something in the folder deployments.
func deployed(t *testing.T, name ...string) string {
	t.Helper()
	return filepath.Join(append([]string{moduleRoot(t), "deployments"}, name...)...)
}

// text returns the content of a file of the folder deployments.
func text(t *testing.T, name ...string) string {
	t.Helper()
	return read(t, deployed(t, name...))
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// documents returns what a YAML file holds.
func documents(t *testing.T, file string) (all []any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for in := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var one any
		err := in.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, one)
	}
}

// at returns what is at a path in a document, nil where nothing is. A name steps into a map, a number into a list.
func at(in any, path ...any) any {
	for _, step := range path {
		switch name := step.(type) {
		case string:
			m, _ := in.(map[string]any)
			in = m[name]
		case int:
			l, _ := in.([]any)
			if name >= len(l) {
				return nil
			}
			in = l[name]
		}
	}
	return in
}

// kinds returns the objects of the Kubernetes manifests by kind and name.
func kinds(t *testing.T) map[string]any {
	t.Helper()
	objects := make(map[string]any)
	for _, name := range at(documents(t, deployed(t, "kubernetes", "kustomization.yaml"))[0], "resources").([]any) {
		if strings.HasSuffix(name.(string), ".yaml") {
			for _, o := range documents(t, deployed(t, "kubernetes", name.(string))) {
				objects[fmt.Sprint(at(o, "kind"), " ", at(o, "metadata", "name"))] = o
			}
		}
	}
	return objects
}

// variables that processes of others read, or that serve reads without a flag.
var otherVariables = []string{
	"ROLLCALL_OPERATOR_TOKEN", "ROLLCALL_MASTER_KEY", "ROLLCALL_OLD_MASTER_KEY", "ROLLCALL_NEXT_MASTER_KEY", "ROLLCALL_NATS_PASSWORD", "ROLLCALL_NATS_LEAF_PASSWORD",
	"PGPASSWORD", "GOMEMLIMIT",
}

// understood returns the variables that serve reads.
func understood(t *testing.T) []string {
	t.Helper()
	help := must(t, nil, "serve", "--help")
	var names []string
	for _, m := range regexp.MustCompile(`\(\$(ROLLCALL_[A-Z_]+)\)`).FindAllStringSubmatch(help, -1) {
		names = append(names, m[1])
	}
	if len(names) < 10 {
		t.Fatalf("serve --help tells of %d variables", len(names))
	}
	for _, name := range otherVariables[:5] {
		if !strings.Contains(help, name) {
			t.Errorf("serve --help does not tell of %s", name)
		}
	}
	return append(names, otherVariables...)
}

// ofNATS returns the variables that nats.conf reads.
func ofNATS(t *testing.T) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(text(t, "nats", "nats.conf")) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			for _, m := range regexp.MustCompile(`\$(ROLLCALL_[A-Z_]+)`).FindAllStringSubmatch(line, -1) {
				names = append(names, m[1])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkVariables compares the variables that a process gets with those that it reads.
func checkVariables(t *testing.T, who string, given, reads, needs []string) {
	t.Helper()
	for _, name := range given {
		if !slices.Contains(reads, name) {
			t.Errorf("%s is given %s, which it does not read", who, name)
		}
	}
	for _, name := range needs {
		if !slices.Contains(given, name) {
			t.Errorf("%s is not given %s", who, name)
		}
	}
}

// instanceNeeds is what an instance on a cluster cannot do without.
var instanceNeeds = []string{
	"ROLLCALL_NATS", "ROLLCALL_NATS_LEAF", "ROLLCALL_DB", "PGPASSWORD", "ROLLCALL_EXPORTS", "ROLLCALL_OPERATOR_TOKEN", "ROLLCALL_MASTER_KEY",
	"ROLLCALL_NATS_PASSWORD", "ROLLCALL_NATS_LEAF_PASSWORD", "ROLLCALL_PUBLIC_URL",
}

func TestComposeGivesEachProcessWhatItReadsAndMountsWhatExists(t *testing.T) {
	file := documents(t, deployed(t, "compose.yaml"))[0]
	services := at(file, "services").(map[string]any)
	secrets := text(t, "secrets")
	for name, s := range services {
		env, _ := at(s, "environment").(map[string]any)
		given := slices.Collect(maps.Keys(env))
		switch {
		case strings.HasPrefix(name, "nats-"):
			checkVariables(t, name, given, ofNATS(t), ofNATS(t))
			if env["ROLLCALL_NATS_NAME"] != name {
				t.Errorf("%s is named %v", name, env["ROLLCALL_NATS_NAME"])
			}
		case strings.HasPrefix(name, "rollcall-"):
			checkVariables(t, name, given, understood(t), instanceNeeds)
			if grace, stop := duration(t, at(s, "stop_grace_period")), duration(t, env["ROLLCALL_STOP_TIMEOUT"]); grace < stop+10*time.Second {
				t.Errorf("%s has %s to stop, of which requests may take %s", name, grace, stop)
			}
		}
		mounts, _ := at(s, "volumes").([]any)
		for _, m := range mounts {
			from, _, _ := strings.Cut(m.(string), ":")
			if !strings.HasPrefix(from, ".") {
				if _, ok := at(file, "volumes").(map[string]any)[from]; !ok {
					t.Errorf("%s mounts %s, which is no volume", name, from)
				}
				continue
			}
			if _, err := os.Stat(deployed(t, from)); err != nil {
				t.Errorf("%s mounts %s: %v", name, from, err)
			}
		}
	}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)[:}]`).FindAllStringSubmatch(text(t, "compose.yaml"), -1) {
		if !strings.Contains(secrets, m[1]) {
			t.Errorf("compose.yaml wants %s, which the script secrets does not make", m[1])
		}
	}
	for _, want := range []string{"nats-3", "postgres", "rollcall-2", "prometheus", "grafana"} {
		if services[want] == nil {
			t.Errorf("there is no %s", want)
		}
	}
}

// duration reads a time such as 45s.
func duration(t *testing.T, v any) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(fmt.Sprint(v))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestKubernetesGivesEachPodWhatItReadsAndTheTimeToStop(t *testing.T) {
	objects := kinds(t)
	secret := at(documents(t, deployed(t, "kubernetes", "secret-example.yaml"))[0], "stringData").(map[string]any)
	for _, c := range []struct {
		object       string
		reads, needs []string
		paths        []string // that the probes may ask
	}{
		{"Deployment rollcall", understood(t), instanceNeeds, []string{"/healthz", "/readyz"}},
		{"StatefulSet nats", ofNATS(t), ofNATS(t), []string{"/healthz?js-server-only=true", "/healthz?js-enabled-only=true"}},
	} {
		pod := at(objects[c.object], "spec", "template", "spec")
		container := at(pod, "containers", 0)
		var given []string
		for _, e := range at(container, "env").([]any) {
			given = append(given, at(e, "name").(string))
			if key := at(e, "valueFrom", "secretKeyRef", "key"); key != nil && secret[key.(string)] == nil {
				t.Errorf("%s wants %v, which secret-example.yaml does not hold", c.object, key)
			}
		}
		checkVariables(t, c.object, given, c.reads, c.needs)
		for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
			if path := fmt.Sprint(at(container, probe, "httpGet", "path")); !slices.Contains(c.paths, path) {
				t.Errorf("%s: the %s asks %s", c.object, probe, path)
			}
		}
		for _, hard := range []struct {
			in   any
			path []any
		}{
			{pod, []any{"securityContext", "runAsNonRoot"}}, {container, []any{"securityContext", "readOnlyRootFilesystem"}},
			{container, []any{"resources", "limits", "memory"}}, {container, []any{"resources", "requests", "cpu"}},
		} {
			if v := at(hard.in, hard.path...); v == nil || v == false {
				t.Errorf("%s: %v is %v", c.object, hard.path, v)
			}
		}
		kind, name, _ := strings.Cut(c.object, " ")
		if objects["PodDisruptionBudget "+name] == nil || objects["NetworkPolicy "+name] == nil || objects["Service "+name] == nil {
			t.Errorf("%s %s lacks a budget of disruptions, a network policy or a service", kind, name)
		}
	}
	pod := at(objects["Deployment rollcall"], "spec", "template", "spec")
	grace := at(pod, "terminationGracePeriodSeconds").(int)
	wait := at(pod, "containers", 0, "lifecycle", "preStop", "sleep", "seconds").(int)
	stop := 0
	for _, e := range at(pod, "containers", 0, "env").([]any) {
		if at(e, "name") == "ROLLCALL_STOP_TIMEOUT" {
			stop = int(duration(t, at(e, "value")).Seconds())
		}
	}
	if stop == 0 || grace < wait+stop+10 {
		t.Errorf("a pod has %d s to stop, of which it waits %d and requests may take %d", grace, wait, stop)
	}
}

func TestEveryImageHasAVersionAndThatOfNATSIsTheOneTested(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(moduleRoot(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`nats-server/v2 v([0-9.]+)`).FindStringSubmatch(string(mod))[1]
	images := 0
	err = filepath.WalkDir(deployed(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range regexp.MustCompile(`(?m)^\s*(?:image:|FROM) *([^\s]+)`).FindAllStringSubmatch(string(b), -1) {
			images++
			name, tag, _ := strings.Cut(m[1], ":")
			if name != "scratch" && (tag == "" || strings.HasPrefix(tag, "latest")) {
				t.Errorf("%s: the image %s has no version", path, m[1])
			}
			if name == "nats" && tag != version+"-alpine" {
				t.Errorf("%s: %s is deployed, %s is tested", path, m[1], version)
			}
		}
		return nil
	})
	if err != nil || images < 8 {
		t.Errorf("%d images were found (%v)", images, err)
	}
}

func TestTheUnitsOfSystemdRunWhatExists(t *testing.T) {
	for unit, wants := range map[string][]string{
		"rollcall.service": {"ExecStart=/usr/local/bin/rollcall serve --config /etc/rollcall/rollcall.json", "EnvironmentFile=/etc/rollcall/secrets.env"},
		"nats.service":     {"ExecStart=/usr/local/bin/nats-server --config /etc/nats/nats.conf", "EnvironmentFile=/etc/nats/nats.env"},
	} {
		content := text(t, "systemd", unit)
		for _, want := range append(wants, "DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "StateDirectory="+strings.TrimSuffix(unit, ".service")) {
			if !strings.Contains(content, "\n"+want+"\n") {
				t.Errorf("%s lacks %s", unit, want)
			}
		}
	}
	for _, sample := range []string{"rollcall.json", "rollcall-cluster.json"} {
		if code, _, errs := rollcall(t, nil, "", "version", "--config", deployed(t, sample)); code != exitDone {
			t.Errorf("%s is not understood: %s", sample, errs)
		}
		var c struct {
			Serve struct {
				Data        string
				StopTimeout string `json:"stop_timeout"`
			}
		}
		if err := json.Unmarshal([]byte(text(t, sample)), &c); err != nil {
			t.Fatal(err)
		}
		grace := regexp.MustCompile(`TimeoutStopSec=(\w+)`).FindStringSubmatch(text(t, "systemd", "rollcall.service"))[1]
		if c.Serve.Data != "/var/lib/rollcall" || duration(t, grace) < duration(t, c.Serve.StopTimeout)+10*time.Second {
			t.Errorf("%s does not go with the unit: %+v, %s to stop", sample, c.Serve, grace)
		}
	}
}

func TestTheConfigurationOfNATSIsUnderstoodWithTheSampleOfItsEnvironment(t *testing.T) {
	given := make(map[string]string)
	for line := range strings.Lines(text(t, "systemd", "nats.env.example")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			given[name] = strings.Trim(value, `"`)
			t.Setenv(name, given[name])
		}
	}
	checkVariables(t, "nats.env.example", slices.Collect(maps.Keys(given)), ofNATS(t), ofNATS(t))
	opts, err := server.ProcessConfigFile(deployed(t, "nats", "nats.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !opts.SyncAlways || !opts.JetStream || len(opts.Routes) != 3 || opts.HTTPHost != "127.0.0.1" {
		t.Errorf("a server writes at once: %t, has JetStream: %t, %d routes, and tells how it is at %s", opts.SyncAlways, opts.JetStream, len(opts.Routes), opts.HTTPHost)
	}
}

func TestSecretsAreMadeAnewAndAccepted(t *testing.T) {
	values := func() map[string]string {
		out, err := exec.CommandContext(t.Context(), deployed(t, "secrets")).Output()
		if err != nil {
			t.Fatal(err)
		}
		all := make(map[string]string)
		for line := range strings.Lines(string(out)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			all[name] = value
		}
		return all
	}
	first, second := values(), values()
	for name, value := range first {
		if second[name] == value || len(value) < 40 {
			t.Errorf("%s is %d characters, and the same again: %t", name, len(value), second[name] == value)
		}
	}
	p := serve(t, t.TempDir(), "ROLLCALL_OPERATOR_TOKEN="+first["ROLLCALL_OPERATOR_TOKEN"], "ROLLCALL_MASTER_KEY="+first["ROLLCALL_MASTER_KEY"])
	p.stop(t)
}

func TestHealthAndTheProbesAreAnsweredAndDescribed(t *testing.T) {
	p := serve(t, t.TempDir())
	for _, path := range []string{"/healthz", "/readyz"} {
		if !strings.Contains(describedPaths(t, p), `"`+path+`"`) {
			t.Errorf("%s is not in the description of the API", path)
		}
	}
	must(t, nil, "health", "--server", p.url)
	must(t, map[string]string{"ROLLCALL_SERVER": p.url}, "health", "--alive")
	p.stop(t)
	if code, _, errs := rollcall(t, nil, "", "health", "--server", p.url); code != exitFailed || !strings.Contains(errs, "refused") {
		t.Errorf("of a service that has stopped, health tells %d: %s", code, errs)
	}
}

// describedPaths returns the description of the API.
func describedPaths(t *testing.T, p *process) string {
	t.Helper()
	res, err := http.Get(p.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryAlertLeadsToItsPlaceInTheRunbooksWhoseCommandsExist(t *testing.T) {
	runbooks := text(t, "runbooks.md")
	var anchors []string
	for _, m := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(runbooks, -1) {
		anchors = append(anchors, strings.ReplaceAll(strings.ToLower(m[1]), " ", "-"))
	}
	links := regexp.MustCompile(`(?:runbooks\.md|\()#([a-z-]+)`).FindAllStringSubmatch(text(t, "prometheus", "alerts.yml")+runbooks, -1)
	if len(links) < 8 {
		t.Fatalf("only %d links lead to the runbooks", len(links))
	}
	for _, link := range links {
		if !slices.Contains(anchors, link[1]) {
			t.Errorf("a link leads to #%s of the runbooks, which is not there; there are %v", link[1], anchors)
		}
	}
	commands := regexp.MustCompile(`bin/rollcall ([a-z ]+)([^\x60#\n]*)`).FindAllStringSubmatch(runbooks, -1)
	if len(commands) < 12 {
		t.Fatalf("only %d commands were found in the runbooks", len(commands))
	}
	for _, c := range commands {
		words := strings.Fields(c[1])
		code, help, errs := rollcall(t, nil, "", append(words, "--help")...)
		if code != exitDone || !strings.Contains(help, "Usage: rollcall "+strings.Join(words, " ")) {
			t.Errorf("rollcall %s: %d %s", c[1], code, errs)
		}
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(c[2], -1) {
			if !strings.Contains(help, flag) {
				t.Errorf("rollcall %s has no %s", c[1], flag)
			}
		}
	}
}

func TestWhatTheDocumentationLinksToExists(t *testing.T) {
	for file, content := range map[string]string{
		"README.md": read(t, filepath.Join(moduleRoot(t), "README.md")), "deployments/runbooks.md": text(t, "runbooks.md"), "deployments/scaling.md": text(t, "scaling.md"),
	} {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(content, -1) {
			if _, err := os.Stat(filepath.Join(moduleRoot(t), filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			}
		}
	}
}
