// Package i18n is every word that the console says, in Korean and English.
//
// It owns the catalogue and the choice of a language. A message is a text, with {placeholders}, or one text for each plural
// form of its language, chosen by the placeholder n. It knows nothing of pages.
package i18n

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"
)

//go:embed en.json ko.json
var catalogues embed.FS

// Message is a text, or its plural forms.
type Message struct {
	Other string `json:"other"`
	One   string `json:"one,omitempty"` // where n is 1, in languages that tell one from many
}

// UnmarshalJSON reads a text, or an object of plural forms.
func (m *Message) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &m.Other)
	}
	type forms Message
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode((*forms)(m))
}

// Language is the catalogue of one language. It is safe for concurrent use.
type Language struct {
	Tag      string // BCP 47, as in the attribute lang
	Name     string // in the language itself
	messages map[string]Message
	source   []byte
}

// Languages returns all languages; the first is for those who read none of them.
func Languages() ([]*Language, error) {
	all := []*Language{{Tag: "en", Name: "English"}, {Tag: "ko", Name: "한국어"}}
	for _, l := range all {
		b, err := catalogues.ReadFile(l.Tag + ".json")
		if err != nil {
			return nil, fmt.Errorf("read the catalogue of %s: %w", l.Name, err)
		}
		if err := json.Unmarshal(b, &l.messages); err != nil {
			return nil, fmt.Errorf("read the catalogue of %s: %w", l.Name, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, b); err != nil {
			return nil, fmt.Errorf("read the catalogue of %s: %w", l.Name, err)
		}
		l.source = compact.Bytes()
	}
	return all, nil
}

// Preferred returns the language that suits the header Accept-Language best. all is not empty.
func Preferred(all []*Language, acceptLanguage string) *Language {
	tags := make([]language.Tag, len(all))
	for i, l := range all {
		tags[i] = language.Make(l.Tag)
	}
	wanted, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil || len(wanted) == 0 {
		return all[0]
	}
	_, i, _ := language.NewMatcher(tags).Match(wanted...)
	return all[i]
}

// Keys returns the keys of all messages, sorted.
func (l *Language) Keys() []string { return slices.Sorted(maps.Keys(l.messages)) }

// Message returns the message of a key.
func (l *Language) Message(key string) (Message, bool) {
	m, ok := l.messages[key]
	return m, ok
}

// Source returns the catalogue as JSON, for scripts.
func (l *Language) Source() []byte { return l.source }

// Text returns the message of a key, its placeholders filled from pairs of name and value. A number is written as the
// language writes it. A key that does not exist is returned itself: tests see to it that none is used.
func (l *Language) Text(key string, pairs ...any) string {
	m, ok := l.messages[key]
	if !ok {
		return key
	}
	text := m.Other
	values := make([]string, 0, len(pairs))
	for i := 0; i+1 < len(pairs); i += 2 {
		name := fmt.Sprint(pairs[i])
		if name == "n" && m.One != "" && fmt.Sprint(pairs[i+1]) == "1" {
			text = m.One
		}
		values = append(values, "{"+name+"}", l.value(pairs[i+1]))
	}
	return strings.NewReplacer(values...).Replace(text)
}

func (l *Language) value(v any) string {
	switch n := v.(type) {
	case int:
		return l.Number(n)
	case uint64:
		return l.Count(n)
	}
	return fmt.Sprint(v)
}

// Count is Number for what is counted without a sign.
func (l *Language) Count(n uint64) string { return l.Number(int(min(n, math.MaxInt))) }

// Number writes a whole number with its thousands apart, as both languages do it.
func (l *Language) Number(n int) string {
	s := strconv.Itoa(n)
	digits := strings.TrimPrefix(s, "-")
	sign := s[:len(s)-len(digits)]
	var parts []string
	for len(digits) > 3 {
		parts = append(parts, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	slices.Reverse(parts)
	return sign + strings.Join(append([]string{digits}, parts...), ",")
}

var placeholder = regexp.MustCompile(`\{([a-z_]+)\}`)

// Placeholders returns the names in a message, sorted, each once.
func (m Message) Placeholders() []string {
	names := make(map[string]bool)
	for _, text := range []string{m.Other, m.One} {
		for _, found := range placeholder.FindAllStringSubmatch(text, -1) {
			names[found[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
