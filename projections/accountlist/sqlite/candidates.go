package sqlite

import (
	"math/bits"
	"slices"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
)

// candidates are the rows that may match a search text.
type candidates struct {
	chunks []candidateChunk // by number, none empty
	size   int
	exact  bool // each of them matches the text
}

type candidateChunk struct {
	number int64
	ids    chunkSet
}

// has tells whether a row is a candidate.
func (c *candidates) has(id int64) bool {
	i, ok := slices.BinarySearchFunc(c.chunks, id/chunkIDs, func(e candidateChunk, number int64) int {
		return int(e.number - number)
	})
	return ok && c.chunks[i].ids.has(uint16(id%chunkIDs))
}

// each calls f with each candidate, until it returns an error.
func (c *candidates) each(f func(id int64) error) error {
	for i := range c.chunks {
		chunk := &c.chunks[i]
		for i, w := range chunk.ids {
			for ; w != 0; w &= w - 1 {
				if err := f(chunk.number*chunkIDs + int64(i*64+bits.TrailingZeros64(w))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// spread returns up to n candidates, evenly spread over all of them.
func (c *candidates) spread(n int) (ids []int64) {
	n = min(n, c.size)
	passed := 0
	for i := range c.chunks {
		chunk := &c.chunks[i]
		for i, w := range chunk.ids {
			before := passed
			passed += bits.OnesCount64(w)
			for len(ids) < n && len(ids)*c.size/n < passed {
				for range len(ids)*c.size/n - before { // drop those before the next one
					w &= w - 1
					before++
				}
				ids = append(ids, chunk.number*chunkIDs+int64(i*64+bits.TrailingZeros64(w)))
			}
		}
	}
	return ids
}

// findCandidates reads the postings of the grams of a text.
func findCandidates(conn *sqlite.Conn, app int64, text string) (*candidates, error) {
	grams, exact := queryGrams(domain.FoldText(text))
	c := &candidates{exact: exact}
	for i, g := range grams {
		chunks, err := readChunks(conn, app, g)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			c.chunks = chunks
		} else {
			c.chunks = intersect(c.chunks, chunks)
		}
		if len(c.chunks) == 0 {
			break
		}
	}
	for i := range c.chunks {
		c.size += c.chunks[i].ids.size()
	}
	return c, nil
}

func readChunks(conn *sqlite.Conn, app int64, g gram) (chunks []candidateChunk, err error) {
	var buf []byte
	err = query(conn, "SELECT chunk, ids FROM postings WHERE app = ?1 AND gram = ?2 ORDER BY chunk", func(row *sqlite.Stmt) error {
		buf = slices.Grow(buf[:0], row.ColumnLen(1))[:row.ColumnLen(1)]
		row.ColumnBytes(1, buf)
		chunks = append(chunks, candidateChunk{number: row.ColumnInt64(0)})
		return chunks[len(chunks)-1].ids.decode(buf)
	}, app, int64(g))
	return chunks, err
}

// intersect returns the ids that are in both, in the memory of a.
func intersect(a, b []candidateChunk) []candidateChunk {
	kept := a[:0]
	for i := range a {
		for len(b) > 0 && b[0].number < a[i].number {
			b = b[1:]
		}
		if len(b) == 0 {
			break
		}
		if b[0].number != a[i].number {
			continue
		}
		for w := range a[i].ids {
			a[i].ids[w] &= b[0].ids[w]
		}
		if a[i].ids != (chunkSet{}) {
			kept = append(kept, a[i])
		}
	}
	return kept
}
