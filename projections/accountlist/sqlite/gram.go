package sqlite

import (
	"slices"
	"unicode/utf8"

	"rollcall/domain"
)

// gram is what the search index knows texts by: a code point, two in a row, or one
// that is repeated. Pairs are kept of scripts with few letters, where one letter tells
// little; they would be too many in Chinese or Korean, where one character tells enough.
// Repetitions are kept because 99999 has but one pair, and it is that of 99.
type gram int64

// firstIdeograph begins the blocks of scripts with thousands of characters
// (CJK and Hangul, and the emoji behind them).
const firstIdeograph = 0x2e80

func single(r rune) gram { return gram(r) }

// pair returns the gram of two code points, which differs from every single one.
func pair(a, b rune) gram { return gram(a+1)<<21 | gram(b) }

func paired(a, b rune) bool { return a < firstIdeograph && b < firstIdeograph }

// maxRepeated bounds the repetitions that are told apart.
const maxRepeated = 8

// repeated returns the gram of a code point that comes n times in a row, 2 or more and at
// most maxRepeated. It differs from every single one and every pair of two.
func repeated(r rune, n int) gram {
	if n == 2 && paired(r, r) {
		return pair(r, r)
	}
	return gram(n)<<42 | gram(r)
}

// appendGrams appends every gram of a folded text.
func appendGrams(grams []gram, folded string) []gram {
	before, times := rune(-1), 0
	for _, r := range folded {
		grams = append(grams, single(r))
		switch {
		case r == before:
			if times++; times <= maxRepeated {
				grams = append(grams, repeated(r, times))
			}
			continue
		case before >= 0 && paired(before, r):
			grams = append(grams, pair(before, r))
		}
		before, times = r, 1
	}
	return grams
}

// accountGrams returns the grams that an account is found by, sorted, each
// once. The slice given is used again.
func accountGrams(grams []gram, id domain.UserID, nickname string) []gram {
	grams = appendGrams(grams[:0], domain.FoldText(string(id)))
	grams = appendGrams(grams, domain.FoldText(nickname))
	slices.Sort(grams)
	return slices.Compact(grams)
}

// maxQueryGrams bounds how many grams of a long search text are looked up.
const maxQueryGrams = 24

// queryGrams returns grams that every text has in which the folded text occurs. Exact
// tells whether the reverse holds too: that having them is to contain it.
func queryGrams(folded string) (grams []gram, exact bool) {
	exact = utf8.ValidString(folded)
	before := rune(-1)
	for rest := []rune(folded); len(rest) > 0; {
		r, times := rest[0], 1
		for times < len(rest) && rest[times] == r {
			times++
		}
		rest = rest[times:]
		after := before >= 0 && paired(before, r)
		if after {
			grams = append(grams, pair(before, r))
		}
		switch {
		case times > 1:
			grams = append(grams, repeated(r, min(times, maxRepeated)))
			exact = exact && times <= maxRepeated
		case !after && (len(rest) == 0 || !paired(r, rest[0])):
			grams = append(grams, single(r))
		}
		before = r
	}
	exact = exact && len(grams) == 1
	slices.Sort(grams)
	grams = slices.Compact(grams)
	return grams[:min(len(grams), maxQueryGrams)], exact
}

// gramChange returns the grams that only a has and those that only b has. Both
// are sorted.
func gramChange(a, b []gram) (onlyA, onlyB []gram) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			onlyA, a = append(onlyA, a[0]), a[1:]
		case a[0] > b[0]:
			onlyB, b = append(onlyB, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return append(onlyA, a...), append(onlyB, b...)
}
