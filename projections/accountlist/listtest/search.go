package listtest

import (
	"fmt"
	"testing"
	"time"

	"rollcall/domain"
)

// testLiteralSearch searches for texts that databases give a meaning to, in
// several scripts, of one, two, three and more characters.
func testLiteralSearch(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	nicknames := []string{
		"김민준", "김하늘", "이서연", "민준", "왕소명", "王小明", "小明王", "龘", "محمد علي", "😀😀 smile", "👨‍👩‍👧 family", "ひろし",
		"100%", "1000", "a_b", "acb", `back\slash`, `quo"te`, "o'brien", "a*", "ab", "x AND y", "x OR y", "NEAR(a b)", "-minus", "col:umn",
		"aaa", "AAAAaaaaa", "aaaaaaaaaa", "ㅋㅋㅋㅋ", "하하 하", "^caret", "{brace}", "semi;colon", "Straße", "STRASSE", "ÉCOLE", "école", "ΣΊΣΥΦΟΣ", "İstanbul", "", " ", "line\nbreak", "tab\there",
	}
	for i, n := range nicknames {
		w.Apply(t, NewAccount("app", domain.UserID(fmt.Sprintf("User_%02d.x%%", i)), n, time.Duration(i)))
	}
	texts := []string{
		"김", "민", "준", "민준", "김민준", "하늘", "소", "왕소", "王", "小明", "王小明", "明王", "龘", "م", "مح", "محمد", "علي", "😀", "😀😀", "😀😀 smile", "👨", "\u200d", "ひ", "ろし",
		"%", "0%", "_", "a_b", "_b", `\`, `"`, `e"t`, "'", "o'b", "*", "a*", "AND", "x and", "OR", "NEAR(", "(", ")", "-", "-m", ":", "l:u", "^", "{", "}", ";",
		"strasse", "STRASSE", "straße", "STRAßE", "é", "É", "éc", "ÉCOLE", "σ", "ς", "σίσυφος", "ΣΊΣΥΦΟΣ", "İ", "i", "istanbul", " ", "\n", "e\nb", "\t", "user", "USER_0", "_1", ".x%", "x%", "r_3", "zzz", "aa", "aaa", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaaaa", "ㅋㅋ", "ㅋㅋㅋㅋ", "ㅋㅋㅋㅋㅋ", "하하", "00.x", "김준", "명소", "a b", "100%0",
	}
	for _, text := range texts {
		for _, l := range Listings("app", text, 3) {
			w.CheckPages(t, l)
		}
	}
}

// wideAccounts is enough for every way to search that depends on how many there are.
const wideAccounts = 2400

// testWideSearch searches among thousands of accounts for texts that most, many,
// few and none of them have, spread over the list and at its end.
func testWideSearch(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	surnames := []string{"김", "이", "박", "최", "정", "강", "조", "윤"}
	given := []string{"민준", "서연", "하늘", "지우", "도윤"}
	var events []domain.Event
	for i := range wideAccounts {
		name := surnames[i%len(surnames)] + given[i%len(given)]
		if i%600 == 7 {
			name = "rare " + name
		}
		if i >= wideAccounts-1100 {
			name = "late " + name
		}
		a := NewAccount("app", domain.UserID(fmt.Sprintf("user_%05d", (i*7919)%wideAccounts)), name, time.Duration(i/3))
		if i%300 == 3 {
			a.Type = domain.TypeAdmin
		}
		events = append(events, a)
	}
	w.Apply(t, events...)
	for _, text := range []string{"user", "김", "박민준", "rare", "late", "late 윤하늘", "_0199", "000", "3", "없음"} {
		for _, l := range Listings("app", text, 200) {
			w.CheckPages(t, l)
		}
	}
}
