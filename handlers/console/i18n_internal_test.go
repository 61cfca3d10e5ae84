package console

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/console/i18n"
	"rollcall/handlers/export"
	"rollcall/handlers/wire"
)

// faultCodes are the codes that a field may have.
var faultCodes = []domain.Code{
	domain.CodeRequired, domain.CodeTooLong, domain.CodeBadValue, domain.CodeUnknownField, domain.CodeImmutable, wire.CodeReadOnly, wire.CodeDuplicate,
}

// computed are the keys that the console makes up from what the service says. Each must be in every catalogue.
func computed() map[string]bool {
	keys := map[string]bool{"error.network": true}
	for _, m := range wire.NewCodes("x").Meanings() {
		keys["error."+string(m.Code)] = true
	}
	for _, r := range export.Reasons() {
		keys[whyKey(r)] = true
	}
	for _, code := range faultCodes {
		keys["fault."+string(code)] = true
	}
	for f := range domain.AllFields.All() {
		keys["field."+f.String()] = true
	}
	for _, name := range eventTypes {
		keys["event."+name] = true
	}
	for group, names := range healthWords {
		for _, name := range names {
			keys[wordKey(group, name)] = true
		}
	}
	return keys
}

// uses are how a key is named: in templates, in modules and in Go.
var uses = map[string]*regexp.Regexp{
	".html": regexp.MustCompile(`\bt "([a-z_.]+)"`),
	".js":   regexp.MustCompile(`\bt\('([a-z_.]+)'`),
	".go":   regexp.MustCompile(`"((?:sign_in|apps|accounts|problem|error|health)\.[a-z_]+)"`),
}

// named returns the keys that the sources of the console name.
func named(t *testing.T) map[string]bool {
	t.Helper()
	keys := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		use := uses[filepath.Ext(path)]
		if err != nil || d.IsDir() || use == nil || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range use.FindAllStringSubmatch(string(b), -1) {
			keys[m[1]] = true
		}
		return err
	})
	if err != nil || len(keys) < 50 {
		t.Fatalf("%d keys were found: %v", len(keys), err)
	}
	return keys
}

func languages(t *testing.T) []*i18n.Language {
	t.Helper()
	all, err := i18n.Languages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryMessageThatIsUsedIsInEveryLanguage(t *testing.T) {
	needed := named(t)
	maps.Copy(needed, computed())
	delete(needed, "apps.js") // a module
	delete(needed, "accounts.js")
	delete(needed, "health.js")
	delete(needed, "health.notice") // a group
	for _, l := range languages(t) {
		for key := range needed {
			if _, ok := l.Message(key); !ok {
				t.Errorf("%s has no message %s", l.Name, key)
			}
		}
		for _, key := range l.Keys() {
			parts := strings.Split(key, ".")
			ofField := parts[0] == "fault" && len(parts) == 3 && slices.Contains(faultCodes, domain.Code(parts[2]))
			if !needed[key] && !ofField {
				t.Errorf("%s has a message %s that nothing uses", l.Name, key)
			}
		}
	}
}

func TestMessagesOfAllLanguagesHaveTheSameKeysAndPlaceholders(t *testing.T) {
	all := languages(t)
	first := all[0]
	for _, l := range all[1:] {
		if !slices.Equal(first.Keys(), l.Keys()) {
			t.Errorf("%s and %s have other keys", first.Name, l.Name)
		}
		for _, key := range first.Keys() {
			a, _ := first.Message(key)
			b, _ := l.Message(key)
			if !slices.Equal(a.Placeholders(), b.Placeholders()) {
				t.Errorf("%s: placeholders %v in %s, %v in %s", key, a.Placeholders(), first.Name, b.Placeholders(), l.Name)
			}
		}
	}
}

func TestEveryMessageSaysSomethingInItsOwnLanguage(t *testing.T) {
	hangul := regexp.MustCompile(`\p{Hangul}`)
	for _, l := range languages(t) {
		for _, key := range l.Keys() {
			m, _ := l.Message(key)
			if strings.TrimSpace(m.Other) == "" {
				t.Errorf("%s: %s is empty", l.Name, key)
			}
			if korean := hangul.MatchString(m.Other); korean != (l.Tag == "ko") && strings.Trim(m.Other, "{}abcdefghijklmnopqrstuvwxyz_–: 0123456789") != "" {
				t.Errorf("%s: %s is in another language: %s", l.Name, key, m.Other)
			}
		}
	}
}
