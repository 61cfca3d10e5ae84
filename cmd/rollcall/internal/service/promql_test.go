package service_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// seriesOf are the series that Prometheus has of each metric after it has read figures.
type seriesOf map[string][]labels.Labels

// scraped returns the series of figures.
func scraped(f figures) seriesOf {
	all := seriesOf{"up": {labels.FromStrings("job", "rollcall", "instance", "here")}}
	for name, family := range f {
		for _, m := range family.Metric {
			names := []string{name}
			if family.GetType() == dto.MetricType_HISTOGRAM || family.GetType() == dto.MetricType_SUMMARY {
				names = []string{name + "_sum", name + "_count"}
				for _, b := range m.GetHistogram().GetBucket() {
					all.add(name+"_bucket", m, "le", fmt.Sprint(b.GetUpperBound()))
				}
				for _, q := range m.GetSummary().GetQuantile() {
					all.add(name, m, "quantile", fmt.Sprint(q.GetQuantile()))
				}
			}
			for _, n := range names {
				all.add(n, m)
			}
		}
	}
	return all
}

// add adds a series, with more labels as names and values.
func (s seriesOf) add(name string, m *dto.Metric, more ...string) {
	b := labels.NewBuilder(labels.FromStrings(append(more, "job", "rollcall", "instance", "here")...))
	for _, l := range m.Label {
		b.Set(l.GetName(), l.GetValue())
	}
	s[name] = append(s[name], b.Labels())
}

// labelsOf returns the names of the labels of a metric.
func (s seriesOf) labelsOf(metric string) set {
	all := set{}
	for _, one := range s[metric] {
		one.Range(func(l labels.Label) { all[l.Name] = true })
	}
	return all
}

type set map[string]bool

func (s set) String() string { return strings.Join(slices.Sorted(maps.Keys(s)), ", ") }

// rare are labels whose values need not have come up, such as the status of an answer that the service should never give.
var rare = set{"status": true}

// check returns the labels of what an expression gives, or what is wrong with it: that it is none, or asks for a metric, a label or a
// value that the service does not have.
func (s seriesOf) check(expression string) (set, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expression, err)
	}
	given, err := s.labels(expr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", expression, err)
	}
	return given, nil
}

// labels returns the labels of what an expression gives.
func (s seriesOf) labels(expr parser.Expr) (set, error) {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return s.selected(e)
	case *parser.MatrixSelector:
		return s.labels(e.VectorSelector)
	case *parser.SubqueryExpr:
		return s.labels(e.Expr)
	case *parser.ParenExpr:
		return s.labels(e.Expr)
	case *parser.AggregateExpr:
		return s.aggregated(e)
	case *parser.Call:
		return s.called(e)
	case *parser.BinaryExpr:
		left, err := s.labels(e.LHS)
		if err != nil {
			return nil, err
		}
		right, err := s.labels(e.RHS)
		if e.Op == parser.LOR {
			maps.Copy(left, right)
		}
		return left, err
	case *parser.NumberLiteral:
		return set{}, nil
	}
	return nil, fmt.Errorf("the test does not know %T", expr)
}

func (s seriesOf) selected(v *parser.VectorSelector) (set, error) {
	had := s.labelsOf(v.Name)
	if len(s[v.Name]) == 0 {
		return nil, fmt.Errorf("there is no metric %q", v.Name)
	}
	for _, m := range v.LabelMatchers {
		if m.Name != model.MetricNameLabel && !had[m.Name] {
			return nil, fmt.Errorf("%s has no label %s but %s", v.Name, m.Name, had)
		}
	}
	matches := func(one labels.Labels) bool {
		return !slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool {
			return m.Name != model.MetricNameLabel && !rare[m.Name] && !m.Matches(one.Get(m.Name))
		})
	}
	if !slices.ContainsFunc(s[v.Name], matches) {
		return nil, fmt.Errorf("no series of %s is like %s", v.Name, v)
	}
	return had, nil
}

func (s seriesOf) aggregated(a *parser.AggregateExpr) (set, error) {
	had, err := s.labels(a.Expr)
	if err != nil {
		return nil, err
	}
	grouped := set{}
	for _, name := range a.Grouping {
		if !had[name] {
			return nil, fmt.Errorf("%s groups by %s, there are %s", a.Op, name, had)
		}
		grouped[name] = true
	}
	switch {
	case a.Op == parser.TOPK || a.Op == parser.BOTTOMK:
		return had, nil
	case a.Without:
		maps.DeleteFunc(had, func(name string, _ bool) bool { return grouped[name] })
		return had, nil
	}
	return grouped, nil
}

func (s seriesOf) called(c *parser.Call) (set, error) {
	given := set{}
	for _, arg := range c.Args {
		had, err := s.labels(arg)
		if err != nil {
			return nil, err
		}
		maps.Copy(given, had)
	}
	if c.Func.Name == "histogram_quantile" {
		if !given["le"] {
			return nil, fmt.Errorf("histogram_quantile needs the label le, there are %s", given)
		}
		delete(given, "le")
	}
	return given, nil
}

// inBraces finds the names of labels in a text that is filled in with their values.
var inBraces = regexp.MustCompile(`{{\s*(?:\$labels\.)?([a-z_]+)\s*}}`)

// checkText tells which label of a text is not among those that there are.
func checkText(text string, given set) error {
	for _, found := range inBraces.FindAllStringSubmatch(text, -1) {
		if !given[found[1]] {
			return fmt.Errorf("%q names the label %s, there are %s", text, found[1], given)
		}
	}
	return nil
}
