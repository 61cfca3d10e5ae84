package sqlite

import (
	"slices"
	"unicode/utf8"

	"rollcall/domain"
)

// gram is what the search index knows texts by: a code point, or two in a row.
// Pairs are kept of scripts with few letters, where one letter tells little; they
// would be too many in Chinese or Korean, where one character tells enough.
type gram int64

// firstIdeograph begins the blocks of scripts with thousands of characters
// (CJK and Hangul, and the emoji behind them).
const firstIdeograph = 0x2e80

func single(r rune) gram { return gram(r) }

// pair returns the gram of two code points, which differs from every single one.
func pair(a, b rune) gram { return gram(a+1)<<21 | gram(b) }

func paired(a, b rune) bool { return a < firstIdeograph && b < firstIdeograph }

// appendGrams appends every gram of a folded text.
func appendGrams(grams []gram, folded string) []gram {
	before := rune(-1)
	for _, r := range folded {
		grams = append(grams, single(r))
		if before >= 0 && paired(before, r) {
			grams = append(grams, pair(before, r))
		}
		before = r
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
	runes := []rune(folded)
	for i, r := range runes {
		after := i > 0 && paired(runes[i-1], r)
		if after {
			grams = append(grams, pair(runes[i-1], r))
		}
		if !after && (i+1 == len(runes) || !paired(r, runes[i+1])) {
			grams = append(grams, single(r))
		}
	}
	exact = len(grams) == 1 && utf8.ValidString(folded)
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
