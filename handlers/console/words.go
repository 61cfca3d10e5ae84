package console

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// piece is a part of a text: what can be seen, or in Mark the name of a character that cannot.
type piece struct {
	Text, Mark string
}

// invisibles are characters that show nothing, or change what others show, besides those of Unicode's categories Cc, Cf, Zl and Zp.
var invisibles = map[rune]string{
	0x00a0: "NBSP", 0x034f: "CGJ", 0x115f: "HCF", 0x1160: "HJF", 0x17b4: "KIV", 0x17b5: "KIV", 0x2800: "BRAILLE", 0x3164: "HF", 0xffa0: "HHF",
}

var markNames = map[rune]string{
	0x00ad: "SHY", 0x061c: "ALM", 0x200b: "ZWSP", 0x200c: "ZWNJ", 0x200d: "ZWJ", 0x200e: "LRM", 0x200f: "RLM", 0x2028: "LS", 0x2029: "PS",
	0x202a: "LRE", 0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO", 0x2060: "WJ", 0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI",
	0xfeff: "BOM", '\t': "TAB", '\n': "LF", '\r': "CR",
}

// pieces takes a text apart, so that characters that cannot be seen are shown by their names, and no longer do what they do. Joiners are left
// where writing needs them: within emoji, and between letters of scripts that join.
func pieces(s string) []piece {
	s = strings.ToValidUTF8(s, "\ufffd")
	if isPlain(s) {
		if n := utf8.RuneCountInString(s); n > 0 && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.Is(unicode.Zs, r) }) {
			return []piece{{Mark: fmt.Sprintf("SPACE×%d", n)}} // alone they are nothing to see, or to click
		}
		return []piece{{Text: s}}
	}
	var all []piece
	var seen strings.Builder
	flush := func() {
		if seen.Len() > 0 {
			all = append(all, piece{Text: seen.String()})
			seen.Reset()
		}
	}
	var before rune
	for i, r := range s {
		after, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
		if name := markOf(r, before, after); name != "" {
			flush()
			all = append(all, piece{Mark: name})
		} else {
			seen.WriteRune(r)
		}
		before = r
	}
	flush()
	return all
}

func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return markOf(r, 0, 0) != "" })
}

// markOf returns the name of a character that cannot be seen between two others, nothing for one that can.
func markOf(r, before, after rune) string {
	if name, ok := invisibles[r]; ok {
		return name
	}
	if !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
		return ""
	}
	if (r == 0x200c || r == 0x200d) && joins(before) && joins(after) {
		return ""
	}
	if name, ok := markNames[r]; ok {
		return name
	}
	return fmt.Sprintf("U+%04X", r)
}

// joins tells whether a joiner beside the character has a meaning.
func joins(r rune) bool {
	return unicode.In(r, unicode.So, unicode.Sk, unicode.Variation_Selector, unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Devanagari,
		unicode.Bengali, unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Gujarati, unicode.Gurmukhi, unicode.Oriya, unicode.Khmer)
}

// initial returns what stands for a picture: the first character of the nickname that can be seen, else of the id.
func initial(texts ...string) string {
	for _, s := range texts {
		for _, r := range s {
			if unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.So, r) {
				if markOf(r, 0, 0) == "" {
					return string(unicode.ToUpper(r))
				}
			}
		}
	}
	return "?"
}

// hue returns one of twelve colours that an id always has.
func hue(id string) int {
	sum := 0
	for i := range len(id) {
		sum = sum*31 + int(id[i])
	}
	return (sum%12 + 12) % 12
}

// picture returns the address of a picture that a page may load, empty for none.
func picture(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return ""
	}
	return u.String()
}
