package service_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// deployed reads a file of deployments/.
func deployed(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "deployments", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// query is an expression, with a text that is filled in with labels of what it gives.
type query struct{ where, expr, text string }

// dashboardQueries returns the queries of the dashboard, as Grafana sends them.
func dashboardQueries(t *testing.T) (all []query) {
	t.Helper()
	var board struct {
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(deployed(t, "grafana/rollcall.json"), &board); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*")
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			inner, found := strings.CutPrefix(q["query"].(string), "label_values(")
			at := strings.LastIndex(inner, ",")
			if !found || at < 0 {
				t.Fatalf("the variable %s is not filled from label_values", v.Name)
			}
			all = append(all, query{"variable " + v.Name, fill.Replace(inner[:at]), "{{" + strings.Trim(inner[at:], ", )") + "}}"})
		}
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, query{"panel " + p.Title, fill.Replace(target.Expr), target.LegendFormat})
		}
	}
	return all
}

// rule is an alert.
type rule struct {
	Alert, Expr         string
	For                 string            `yaml:"for"`
	Labels, Annotations map[string]string `yaml:",omitempty"`
}

func alerts(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	in := yaml.NewDecoder(bytes.NewReader(deployed(t, "prometheus/alerts.yml")))
	in.KnownFields(true)
	if err := in.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func TestTheDashboardAndTheAlertsAskForWhatTheServiceTells(t *testing.T) {
	t.Parallel()
	s := used(t)
	defer stop(t, s)
	series := scraped(read(t, s))
	queries := dashboardQueries(t)
	for _, a := range alerts(t) {
		for _, text := range a.Annotations {
			queries = append(queries, query{"alert " + a.Alert, a.Expr, text})
		}
	}
	const least = 80
	if len(queries) < least {
		t.Errorf("only %d queries were found, want at least %d", len(queries), least)
	}
	for _, q := range queries {
		given, err := series.check(q.expr)
		if err == nil {
			err = checkText(q.text, given)
		}
		if err != nil {
			t.Errorf("%s: %v", q.where, err)
		}
	}
	for expr, want := range map[string]string{
		`sum(rollcall_redy)`:                                                           "no metric",
		`rollcall_stream_messages{name="DEAD"}`:                                        "no label name",
		`rollcall_stream_messages{stream="DEATH"}`:                                     "no series",
		`sum by (app) (rollcall_commands_total)`:                                       "groups by app",
		`histogram_quantile(0.9, sum(rate(rollcall_commit_events_bucket[5m])))`:        "needs the label le",
		`sum(rate(rollcall_commands_total[5m])`:                                        "unclosed left parenthesis",
		`sum by (door) (sum by (verb) (rate(rollcall_commands_total[5m]))) > bool 0.5`: "groups by door",
	} {
		if _, err := series.check(expr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the check finds %v, want: %s", expr, err, want)
		}
	}
}

// runbooks are the headings of runbooks.md that alerts lead to.
var runbooks = []string{"projection-halted", "lag", "dead-commands", "queue-fills-up", "log-unavailable", "append-slow", "no-leader", "proof-fails"}

func TestEachAlertSaysWhatHasHappenedAndWhatToDo(t *testing.T) {
	t.Parallel()
	led := set{}
	names := set{}
	for _, a := range alerts(t) {
		anchor, found := strings.CutPrefix(a.Annotations["runbook"], "deployments/runbooks.md#")
		if !found || !slices.Contains(runbooks, anchor) {
			t.Errorf("%s leads to %q, which is no runbook", a.Alert, a.Annotations["runbook"])
		}
		led[anchor] = true
		if a.Annotations["summary"] == "" || a.Annotations["action"] == "" || !slices.Contains([]string{"page", "ticket"}, a.Labels["severity"]) {
			t.Errorf("%s lacks a summary, an action or a severity", a.Alert)
		}
		if names[a.Alert] || !strings.HasPrefix(a.Alert, "Rollcall") {
			t.Errorf("%s is there twice, or does not say whose it is", a.Alert)
		}
		names[a.Alert] = true
	}
	if len(led) != len(runbooks) {
		t.Errorf("alerts lead to %s only", led)
	}
}

func TestPrometheusIsSetUpAsTheDashboardAndTheAlertsExpect(t *testing.T) {
	t.Parallel()
	var file struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName     string `yaml:"job_name"`
			MetricsPath string `yaml:"metrics_path"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(deployed(t, "prometheus/prometheus.yml"), &file); err != nil {
		t.Fatal(err)
	}
	for _, name := range file.RuleFiles {
		deployed(t, filepath.Join("prometheus", name))
	}
	if len(file.RuleFiles) != 1 || len(file.ScrapeConfigs) != 1 || file.ScrapeConfigs[0].JobName != "rollcall" || file.ScrapeConfigs[0].MetricsPath != "/metrics" {
		t.Errorf("it is %+v", file)
	}
}

// row is one of the table of metrics.
var row = regexp.MustCompile("(?m)^\\| `(rollcall_[a-z_]+)` \\| ([^|]*)\\| [^|]+ \\|$")

func TestEveryMetricIsInTheTable(t *testing.T) {
	t.Parallel()
	s := used(t)
	defer stop(t, s)
	written := make(map[string]string)
	for _, found := range row.FindAllStringSubmatch(string(deployed(t, "metrics.md")), -1) {
		names := strings.FieldsFunc(found[2], func(r rune) bool { return r == ' ' || r == '`' })
		slices.Sort(names)
		written[found[1]] = strings.Join(names, ", ")
	}
	told := make(map[string]string)
	for name, family := range read(t, s) {
		if !strings.HasPrefix(name, "rollcall_") {
			continue
		}
		all := set{}
		for _, m := range family.Metric {
			for _, l := range m.Label {
				all[l.GetName()] = true
			}
		}
		told[name] = all.String()
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		if got, ok := written[name]; !ok || got != told[name] {
			t.Errorf("%s has the labels [%s]; deployments/metrics.md has it: %t, with [%s]", name, told[name], ok, got)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if _, ok := told[name]; !ok {
			t.Errorf("deployments/metrics.md has %s, which the service does not tell", name)
		}
	}
}
