package i18n_test

import (
	"testing"

	"rollcall/handlers/console/i18n"
)

func languages(t *testing.T) []*i18n.Language {
	t.Helper()
	all, err := i18n.Languages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheLanguageThatABrowserAsksForIsChosen(t *testing.T) {
	all := languages(t)
	for header, want := range map[string]string{
		"": "en", "ko": "ko", "ko-KR,ko;q=0.9,en-US;q=0.8": "ko", "en-GB,ko;q=0.5": "en", "fr,ko;q=0.3": "ko", "fr": "en", "%%%": "en", "*": "en",
	} {
		if got := i18n.Preferred(all, header); got.Tag != want {
			t.Errorf("%q: %s, want %s", header, got.Tag, want)
		}
	}
}

func TestATextIsFilledAndItsPluralFormChosen(t *testing.T) {
	all := languages(t)
	for _, c := range []struct {
		language *i18n.Language
		n        int
		want     string
	}{
		{all[0], 1, "1 account selected"}, {all[0], 0, "0 accounts selected"}, {all[0], 12345, "12,345 accounts selected"},
		{all[1], 1, "계정 1개 선택됨"}, {all[1], 1234567, "계정 1,234,567개 선택됨"},
	} {
		if got := c.language.Text("selection.count", "n", c.n); got != c.want {
			t.Errorf("%d: %q, want %q", c.n, got, c.want)
		}
	}
	if got := all[0].Text("list.edit_of", "user_id", "{user_id} <b>"); got != "Edit {user_id} <b>" {
		t.Errorf("a value is taken for a placeholder or escaped: %q", got)
	}
	if got := all[0].Number(-1234); got != "-1,234" {
		t.Errorf("got %q", got)
	}
}
