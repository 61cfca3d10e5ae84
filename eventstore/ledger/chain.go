package ledger

import (
	"fmt"

	"rollcall/eventstore"
)

// chain knows which events have come, so that one that follows another of its aggregate shows when that has not.
type chain struct {
	first eventstore.Position // from which on none of an aggregate that has come is left out
	seen  positions           // that no other event has followed yet
}

// add takes note of an event. It returns a *Difference when the one that it follows is not there.
func (c *chain) add(e eventstore.Envelope) error {
	if e.Previous >= e.Position {
		return &Difference{e.Position, Altered, fmt.Sprintf("it says that it follows position %d", e.Previous)}
	}
	if e.Previous >= max(c.first, 1) && !c.seen.remove(e.Previous) {
		return &Difference{e.Previous, Dropped, fmt.Sprintf("the event of %s at position %d follows it, and it is not there", e.Aggregate, e.Position)}
	}
	c.seen.insert(e.Position)
	return nil
}

// positions is a set of positions, a bit each where there are any near. The zero value is empty.
type positions map[uint64]*[positionWords]uint64

// positionWords is how many positions, 64 a word, are near each other.
const positionWords = 32

func place(p eventstore.Position) (near uint64, word int, bit uint64) {
	return uint64(p) / (64 * positionWords), int(p / 64 % positionWords), 1 << (p % 64)
}

func (s *positions) insert(p eventstore.Position) {
	near, word, bit := place(p)
	if *s == nil {
		*s = make(positions)
	}
	words := (*s)[near]
	if words == nil {
		words = new([positionWords]uint64)
		(*s)[near] = words
	}
	words[word] |= bit
}

// remove tells whether the position was in the set.
func (s positions) remove(p eventstore.Position) bool {
	near, word, bit := place(p)
	words := s[near]
	if words == nil || words[word]&bit == 0 {
		return false
	}
	if words[word] &^= bit; *words == [positionWords]uint64{} {
		delete(s, near)
	}
	return true
}
