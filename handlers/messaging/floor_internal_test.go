package messaging

import (
	"testing"

	"pgregory.net/rapid"
)

// TestNothingBelowTheFloorIsUnsettled plays a consumer that delivers a stream with gaps, some of it in vain, and
// delivers again what was not settled.
func TestNothingBelowTheFloorIsUnsettled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64Range(1, 40).Draw(t, "size")
		exists := make(map[uint64]bool)
		for s := uint64(1); s <= size; s++ {
			if rapid.IntRange(0, 3).Draw(t, "in the stream") > 0 {
				exists[s] = true
			}
		}
		var f floor
		delivered := uint64(0) // by the consumer, in vain or not
		var open, lost []uint64
		losses := 0
		settled := make(map[uint64]bool)
		first := func() uint64 {
			for s := uint64(1); s <= size; s++ {
				if exists[s] && !settled[s] {
					return s
				}
			}
			return size + 1
		}
		deliver := func(s uint64, arrives, again bool) {
			delivered++
			if !arrives {
				lost, losses = append(lost, s), losses+1
				return
			}
			f.saw(delivered, s, again)
			open = append(open, s)
		}
		check := func() {
			if up := f.rise(); up > first() {
				t.Fatalf("the floor is at %d and %d is not settled", up, first())
			}
		}
		settle := func() {
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			settled[open[i]] = true
			f.settle(&delivery{sequence: open[i]})
			open = append(open[:i], open[i+1:]...)
		}
		for s := uint64(1); s <= size; s++ {
			if exists[s] {
				deliver(s, rapid.IntRange(0, 4).Draw(t, "arrives") > 0, false)
			}
			if len(open) > 0 && rapid.Bool().Draw(t, "settle") {
				settle()
			}
			if len(lost) > 0 && rapid.Bool().Draw(t, "again") {
				again := lost[0]
				lost = lost[1:]
				deliver(again, rapid.Bool().Draw(t, "arrives this time"), true)
			}
			check()
		}
		for _, s := range lost {
			deliver(s, true, true)
		}
		for len(open) > 0 {
			settle()
			check()
		}
		if up := f.rise(); len(exists) > 0 && losses == 0 && up <= maxKey(exists) {
			t.Fatalf("the floor stays at %d although all up to %d is settled", up, maxKey(exists))
		}
	})
}

func maxKey(m map[uint64]bool) (most uint64) {
	for k := range m {
		most = max(most, k)
	}
	return most
}
