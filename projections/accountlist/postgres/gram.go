package postgres

import (
	"hash/fnv"
	"slices"

	"rollcall/domain"
)

// Accounts are searched by grams of the user id and the nickname, as searches compare them:
// each character, each two in a row and, in scripts with few letters, each three. An array of
// them has a GIN index, which gives the accounts that have all grams of a search text; the
// text itself is compared afterwards. A gram is a hash of 32 bits in which the application takes
// part, so that a search reads what is its own application's. Two grams with one hash only
// cost a comparison.
//
// pg_trgm was measured beside it on 300,000 accounts whose ids are of 12 letters and digits
// and whose nicknames are mostly Korean. Where the database's locale is C it finds no trigram in a
// Korean name, whatever the column's collation, and nowhere does it help with one character or
// two. COPY took the server 8.8 s of processor time with the index of grams, 5.7 s with
// that of pg_trgm, which held the ids alone, and 3.0 s with neither; the indexes have 33 and
// 17 MB. Without a list of pending entries the index of grams took it 45 s.

// sampleBits tells the samples: an account is in each of those in which so many of
// the low bits of a hash of its user id are zero. A sample is a gram like any other, so that the
// accounts of a sample that match a search are found by the same index.
var sampleBits = [...]int{4, 8, 12}

// Where grams of three characters and samples begin, above all pairs of code points.
const (
	tripleGram = 1 << 50
	sampleGram = 1 << 51
)

// hashed returns the hash of a gram of an application.
func hashed(app int32, gram uint64) int32 {
	// The finalizer of SplitMix64, which spreads every bit of its input over the result.
	x := gram ^ uint64(uint32(app))<<32*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int32(x ^ x>>31)
}

// firstIdeograph begins the blocks of scripts with thousands of characters
// (CJK and Hangul, and the emoji behind them). Below it two characters tell little, so that
// three in a row are a gram as well.
const firstIdeograph = 0x2e80

// appendGrams appends every gram of a folded text.
func appendGrams(grams []int32, app int32, folded string) []int32 {
	a, b := none, none
	for _, c := range folded {
		grams = append(grams, hashed(app, uint64(c)))
		if b != none {
			grams = append(grams, hashed(app, pair(b, c)))
		}
		if tripled(a, b, c) {
			grams = append(grams, hashed(app, triple(a, b, c)))
		}
		a, b = b, c
	}
	return grams
}

// none stands for no code point.
const none rune = -1

// pair returns the gram of two code points, which differs from every single one.
func pair(a, b rune) uint64 { return uint64(a+1)<<21 | uint64(b) }

func tripled(a, b, c rune) bool {
	return a != none && a < firstIdeograph && b < firstIdeograph && c < firstIdeograph
}

// triple returns the gram of three code points, which differs from every single one and pair.
func triple(a, b, c rune) uint64 { return tripleGram | uint64(a)<<28 | uint64(b)<<14 | uint64(c) }

// accountGrams returns the grams that an account is found by, sorted, each once. The slice
// given is used again.
func accountGrams(grams []int32, app int32, id domain.UserID, folded string) []int32 {
	grams = appendGrams(grams[:0], app, domain.FoldText(string(id)))
	grams = appendGrams(grams, app, folded)
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	for _, bits := range sampleBits {
		if h.Sum32()&(1<<bits-1) == 0 {
			grams = append(grams, sample(app, bits))
		}
	}
	slices.Sort(grams)
	return slices.Compact(grams)
}

// sample returns the gram of a sample.
func sample(app int32, bits int) int32 { return hashed(app, sampleGram|uint64(bits)) }

// maxQueryGrams bounds how many grams of a long search text are looked up.
const maxQueryGrams = 24

// queryGrams returns grams that every text has in which the folded text occurs: of three
// characters where they are grams, else of two, or the only one.
func queryGrams(app int32, folded string) (grams []int32) {
	text := []rune(folded)
	if len(text) == 1 {
		return []int32{hashed(app, uint64(text[0]))}
	}
	covered := false // the pair, by the triple before
	for i := range text[1:] {
		a, b, c := text[i], text[i+1], none
		if i+2 < len(text) {
			c = text[i+2]
		}
		switch {
		case c != none && tripled(a, b, c):
			grams = append(grams, hashed(app, triple(a, b, c)))
			covered = true
			continue
		case !covered:
			grams = append(grams, hashed(app, pair(a, b)))
		}
		covered = false
	}
	slices.Sort(grams)
	grams = slices.Compact(grams)
	return grams[:min(len(grams), maxQueryGrams)]
}
