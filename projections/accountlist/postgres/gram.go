package postgres

import (
	"hash/fnv"
	"slices"

	"rollcall/domain"
)

// Accounts are searched by grams of the user id and the nickname, as searches compare them:
// each character, and each two in a row. An array of them has a GIN index, which gives the
// accounts that have all grams of a search text; the text itself is compared afterwards. One and
// two characters of any script are one gram each. pg_trgm does neither, and does not see
// beyond ASCII where the database's locale is C.
//
// A gram is a hash of 32 bits in which the application takes part, so that what an
// application's search reads is its own. Two grams with one hash only cost a comparison.

// sampleBits tells the samples: an account is in each of those in which so many of
// the low bits of a hash of its user id are zero. A sample is a gram like any other, so that the
// accounts of a sample that match a search are found by the same index.
var sampleBits = [...]int{4, 8, 12}

// sampleGram begins the samples, above all pairs of code points.
const sampleGram = 1 << 50

// hashed returns the hash of a gram of an application.
func hashed(app int32, gram uint64) int32 {
	// The finalizer of SplitMix64, which spreads every bit of its input over the result.
	x := gram ^ uint64(uint32(app))<<32*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int32(x ^ x>>31)
}

// appendGrams appends every gram of a folded text.
func appendGrams(grams []int32, app int32, folded string) []int32 {
	before := rune(-1)
	for _, r := range folded {
		grams = append(grams, hashed(app, uint64(r)))
		if before >= 0 {
			grams = append(grams, hashed(app, pair(before, r)))
		}
		before = r
	}
	return grams
}

// pair returns the gram of two code points, which differs from every single one.
func pair(a, b rune) uint64 { return uint64(a+1)<<21 | uint64(b) }

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

// queryGrams returns grams that every text has in which the folded text occurs.
func queryGrams(app int32, folded string) (grams []int32) {
	before := rune(-1)
	for _, r := range folded {
		if before >= 0 {
			grams = append(grams, hashed(app, pair(before, r)))
		}
		before = r
	}
	if len(grams) == 0 {
		return []int32{hashed(app, uint64(before))}
	}
	slices.Sort(grams)
	grams = slices.Compact(grams)
	return grams[:min(len(grams), maxQueryGrams)]
}
