package sqlite

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"zombiezen.com/go/sqlite"
)

// Postings tell which rows of accounts have a gram. Row ids are cut into chunks
// of chunkIDs. In one chunk the ids are kept as a sorted list of 16-bit numbers
// while there are few, else as a bitmap; a bitmap is told by its length.
const (
	chunkBits   = 14
	chunkIDs    = 1 << chunkBits
	bitmapBytes = chunkIDs / 8
	maxListed   = bitmapBytes/2 - 1
)

// chunkSet is a set of ids within one chunk.
type chunkSet [chunkIDs / 64]uint64

func (s *chunkSet) add(low uint16)      { s[low/64] |= 1 << (low % 64) }
func (s *chunkSet) remove(low uint16)   { s[low/64] &^= 1 << (low % 64) }
func (s *chunkSet) has(low uint16) bool { return s[low/64]&(1<<(low%64)) != 0 }

func (s *chunkSet) size() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// encode appends the form that the table keeps, nothing for an empty set.
func (s *chunkSet) encode(b []byte) []byte {
	if s.size() > maxListed {
		for _, w := range s {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
		return b
	}
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			b = binary.LittleEndian.AppendUint16(b, uint16(i*64+bits.TrailingZeros64(w)))
		}
	}
	return b
}

// decode adds the ids of the form that the table keeps.
func (s *chunkSet) decode(b []byte) error {
	if len(b)%2 != 0 || len(b) > bitmapBytes {
		return fmt.Errorf("%w: a posting has %d bytes", errInconsistent, len(b))
	}
	if len(b) == bitmapBytes {
		for i := range s {
			s[i] |= binary.LittleEndian.Uint64(b[8*i:])
		}
		return nil
	}
	for ; len(b) > 0; b = b[2:] {
		s.add(binary.LittleEndian.Uint16(b) % chunkIDs)
	}
	return nil
}

// postingKey is the key of a row of postings.
type postingKey struct {
	app   int64
	gram  gram
	chunk int64
}

func comparePostingKeys(a, b postingKey) int {
	return cmp.Or(cmp.Compare(a.app, b.app), cmp.Compare(a.gram, b.gram), cmp.Compare(a.chunk, b.chunk))
}

// postingChange is an id within its chunk, and whether it goes or comes.
type postingChange struct {
	low    uint16
	remove bool
}

// postingChanges collects the changes of a batch, so that each row of postings is
// written once.
type postingChanges map[postingKey]*[]postingChange

func (c postingChanges) note(app, id int64, grams []gram, remove bool) {
	change := postingChange{low: uint16(id % chunkIDs), remove: remove}
	for _, g := range grams {
		key := postingKey{app: app, gram: g, chunk: id / chunkIDs}
		list := c[key]
		if list == nil {
			list = new([]postingChange)
			c[key] = list
		}
		*list = append(*list, change)
	}
}

const (
	selectPosting = "SELECT ids FROM postings WHERE app = ?1 AND gram = ?2 AND chunk = ?3"
	upsertPosting = "INSERT INTO postings VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET ids = excluded.ids"
	deletePosting = "DELETE FROM postings WHERE app = ?1 AND gram = ?2 AND chunk = ?3"
)

// flush writes the changes in the order of the table, which keeps the writes together.
func (c postingChanges) flush(conn *sqlite.Conn) error {
	keys := make([]postingKey, 0, len(c))
	for key := range c {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, comparePostingKeys)
	buf := make([]byte, 0, bitmapBytes)
	for _, key := range keys {
		var set chunkSet
		if err := query(conn, selectPosting, func(row *sqlite.Stmt) error {
			buf = buf[:row.ColumnLen(0)]
			row.ColumnBytes(0, buf)
			return set.decode(buf)
		}, key.app, int64(key.gram), key.chunk); err != nil {
			return err
		}
		for _, change := range *c[key] {
			if change.remove {
				set.remove(change.low)
			} else {
				set.add(change.low)
			}
		}
		buf = set.encode(buf[:0])
		if err := writePosting(conn, key, buf); err != nil {
			return err
		}
	}
	return nil
}

func writePosting(conn *sqlite.Conn, key postingKey, ids []byte) error {
	if len(ids) == 0 {
		return exec(conn, deletePosting, key.app, int64(key.gram), key.chunk)
	}
	stmt, err := conn.Prepare(upsertPosting)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, key.app)
	stmt.BindInt64(2, int64(key.gram))
	stmt.BindInt64(3, key.chunk)
	stmt.BindBytes(4, ids)
	_, err = stmt.Step()
	return finish(stmt, err)
}
