package console

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"path"
	"reflect"
	"strings"
	"time"

	"rollcall/domain"
	"rollcall/handlers/console/i18n"
)

//go:embed templates
var templateFiles embed.FS

// shared are the templates that every page has: the frame, and parts such as names and pictures of accounts.
var shared = []string{"templates/layout.html", "templates/parts.html", "templates/events.html", "templates/icons.html"}

// loadPages reads the templates, once for each language: a file a page, by name.
func loadPages(a *assets, languages []*i18n.Language) (map[*i18n.Language]map[string]*template.Template, error) {
	entries, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("embed the pages: %w", err)
	}
	all := make(map[*i18n.Language]map[string]*template.Template, len(languages))
	for _, l := range languages {
		base, err := template.New("").Funcs(functions(a, l)).ParseFS(templateFiles, shared...)
		if err != nil {
			return nil, fmt.Errorf("read the pages: %w", err)
		}
		all[l] = make(map[string]*template.Template, len(entries))
		for _, e := range entries {
			t, err := base.Clone()
			if err == nil {
				t, err = t.ParseFS(templateFiles, path.Join("templates", e.Name()))
			}
			if err != nil {
				return nil, fmt.Errorf("read the page %s: %w", e.Name(), err)
			}
			all[l][strings.TrimSuffix(e.Name(), ".html")] = t
		}
	}
	return all, nil
}

// functions are what templates may call. t is the message of a key.
func functions(a *assets, l *i18n.Language) template.FuncMap {
	return template.FuncMap{
		"t":       l.Text,
		"number":  l.Number,
		"asset":   a.url,
		"pieces":  func(s any) []piece { return pieces(fmt.Sprint(s)) },
		"initial": func(texts ...any) string { return initial(asStrings(texts)...) },
		"hue":     func(id any) int { return hue(fmt.Sprint(id)) },
		"picture": picture,
		"instant": func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"moment":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"date":    isoDate,
		"json":    asJSON,
		"account": accountURL,
		"count":   func(n any) string { return l.Count(reflect.ValueOf(n).Uint()) }, // positions too
		"word":    func(group, name string) string { return word(l, group, name) },
		"excerpt": excerpt,
		"span":    func(d time.Duration) string { return span(l, d) },
		"size":    func(n uint64) string { return size(int64(n)) },
		"set":     func(n domain.Number) string { return optionalNumber(n) },
		"list":    func(items ...any) []any { return items },
		"dict":    dict,
	}
}

func asStrings(all []any) []string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = fmt.Sprint(v)
	}
	return texts
}

// isoDate writes YYYYMMDD as a date field of a form takes it.
func isoDate(d uint32) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%04d-%02d-%02d", d/10000, d/100%100, d%100)
}

func optionalNumber(n domain.Number) string {
	if !n.Set {
		return ""
	}
	return fmt.Sprint(n.Value)
}

// asJSON writes a value for an attribute that a module reads.
func asJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// dict makes what a template hands to another.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict takes pairs, not %d values", len(pairs))
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m, nil
}
