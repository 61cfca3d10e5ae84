package console

import (
	"reflect"
	"testing"
)

func TestCharactersThatCannotBeSeenAreNamed(t *testing.T) {
	for text, want := range map[string][]piece{
		"":                         {{Text: ""}},
		"김민준":                      {{Text: "김민준"}},
		"a\u200bb":                 {{Text: "a"}, {Mark: "ZWSP"}, {Text: "b"}},
		"user\u202egnp.exe":        {{Text: "user"}, {Mark: "RLO"}, {Text: "gnp.exe"}},
		"\u3164":                   {{Mark: "HF"}},
		"a\x00b\n":                 {{Text: "a"}, {Mark: "U+0000"}, {Text: "b"}, {Mark: "LF"}},
		"\U000e0041":               {{Mark: "U+E0041"}},
		"a\u200db":                 {{Text: "a"}, {Mark: "ZWJ"}, {Text: "b"}},
		"👨\u200d👩\u200d👧":          {{Text: "👨\u200d👩\u200d👧"}},
		"❤\ufe0f\u200d🔥":           {{Text: "❤\ufe0f\u200d🔥"}},
		"می\u200cخواهم":            {{Text: "می\u200cخواهم"}},
		"bad \xff\u200b":           {{Text: "bad \ufffd"}, {Mark: "ZWSP"}},
		"\u200d":                   {{Mark: "ZWJ"}},
		"a b":                      {{Text: "a b"}},
		"  \u3000":                 {{Mark: "SPACE×3"}},
		"two\u00a0words":           {{Text: "two"}, {Mark: "NBSP"}, {Text: "words"}},
		"\ufeff\u2060\u00ad\u180e": {{Mark: "BOM"}, {Mark: "WJ"}, {Mark: "SHY"}, {Mark: "U+180E"}},
	} {
		if got := pieces(text); !reflect.DeepEqual(got, want) && !(text == "" && len(got) <= 1) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func FuzzNoTextLosesWhatCanBeSeen(f *testing.F) {
	f.Add("a\u200bb\u202e\xff👨\u200d👩")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range pieces(s) {
			if p.Mark != "" && p.Text != "" {
				t.Errorf("%q: %+v is both", s, p)
			}
			if p.Mark == "" && !isPlain(p.Text) && len(p.Text) < 3 {
				t.Errorf("%q: %q cannot be seen", s, p.Text)
			}
		}
	})
}

func TestAPictureIsLoadedOnlyFromAnAddressOfTheWeb(t *testing.T) {
	for address, want := range map[string]string{
		"https://img.example/1.png": "https://img.example/1.png", "http://img.example": "http://img.example",
		"javascript:alert(1)": "", "data:image/svg+xml,<svg/>": "", "//img.example/1.png": "", "/local": "", "https://": "", "ftp://a/b": "", "https://a b/": "", "": "",
	} {
		if got := picture(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func TestALetterStandsInForAPicture(t *testing.T) {
	for _, c := range []struct{ nickname, id, want string }{
		{"김민준", "minjun", "김"}, {"", "boss", "B"}, {"\u200b\u202e", "x1", "X"}, {"<b>", "q", "B"}, {"", "!!", "?"}, {"🦊", "fox", "🦊"},
	} {
		if got := initial(c.nickname, c.id); got != c.want {
			t.Errorf("%q %q: %q, want %q", c.nickname, c.id, got, c.want)
		}
	}
}
