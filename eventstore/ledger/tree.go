package ledger

import (
	"crypto/sha256"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A tile is tileWidth neighbouring hashes of a level. Level 0 has the leaves, and each hash of the level above is the root of a
// whole tile of the one below, as in C2SP tlog-tiles.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// Span is neighbouring hashes of a level, from the beginning of a tile on.
type Span struct {
	Level  int
	Start  uint64 // index of the first hash in its level, a multiple of tileWidth
	Hashes []Hash
}

// count returns how many hashes a level has in a tree of a size.
func count(size uint64, level int) uint64 { return size >> (tileHeight * level) }

// levels returns how many levels a tree of a size has.
func levels(size uint64) int { return (bits.Len64(size) + tileHeight - 1) / tileHeight }

// edge is the right edge of a tree that grows: of each level the hashes behind its last whole tile, and those that have not been kept.
type edge struct {
	size  uint64
	spans []Span
}

// add appends a leaf.
func (e *edge) add(h Hash) {
	e.size++
	for level := 0; ; level++ {
		if level == len(e.spans) {
			e.spans = append(e.spans, Span{Level: level})
		}
		s := &e.spans[level]
		s.Hashes = append(s.Hashes, h)
		if len(s.Hashes)%tileWidth != 0 {
			return
		}
		h = tileRoot(s.Hashes[len(s.Hashes)-tileWidth:])
	}
}

// trim forgets whole tiles, once they are kept.
func (e *edge) trim() {
	for i := range e.spans {
		s := &e.spans[i]
		whole := len(s.Hashes) &^ (tileWidth - 1)
		s.Start += uint64(whole)
		s.Hashes = slices.Clone(s.Hashes[whole:])
	}
}

// root returns the hash of the tree.
func (e *edge) root() Hash {
	if e.size == 0 {
		return sha256.Sum256(nil)
	}
	var root Hash
	found := false
	for _, s := range e.spans { // from the smallest subtrees, on the right, to the greatest
		partial := s.Hashes[len(s.Hashes)&^(tileWidth-1):]
		for len(partial) > 0 {
			width := 1 << bits.TrailingZeros(uint(len(partial)))
			sub := tileRoot(partial[len(partial)-width:])
			partial = partial[:len(partial)-width]
			if found {
				sub = tlog.NodeHash(sub, root)
			}
			root, found = sub, true
		}
	}
	return root
}

// tileRoot returns the root of a whole subtree over hashes, whose number is a power of two.
func tileRoot(hashes []Hash) Hash {
	var row [tileWidth]Hash
	n := copy(row[:], hashes)
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
	}
	return row[0]
}
