// Package ledger keeps a Merkle tree over every event of the log, signs what it is at, and proves by it that nothing in the log was
// altered, dropped, inserted or written anew.
//
// It owns the form of leaves, the tree and where its hashes are kept, signed checkpoints, proofs and their verification. It must
// never write to the log, never sign a tree that is not kept, and never pass an event that it has not hashed.
//
// The tree is that of RFC 6962 by golang.org/x/mod/sumdb/tlog: the leaf of the event at position p has index p-1, so that a tree of
// size n covers the positions 1 to n. Checkpoints have the form of C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint), the hashes
// that of the tiles of C2SP tlog-tiles (https://c2sp.org/tlog-tiles).
package ledger

import (
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"rollcall/eventstore"
)

// Hash is a SHA-256 hash in the tree.
type Hash = tlog.Hash

// recordVersion begins every record. Another form of records is another version, and another tree.
const recordVersion = "rollcall/record/v1"

// AppendRecord appends the record of an event: everything that the log says of it, in a form that is hashed. It is five lines, of the
// version, the position, the time at which the log took the event in (in nanoseconds since 1970, UTC), the subject and the
// aggregate's revision before it, and behind them the bytes that the log keeps. Personal data in those is sealed, so that the
// record stays what it is when the data is erased.
func AppendRecord(dst []byte, e eventstore.Envelope) []byte {
	dst = append(dst, recordVersion+"\n"...)
	dst = append(strconv.AppendUint(dst, uint64(e.Position), 10), '\n')
	dst = append(strconv.AppendInt(dst, e.Recorded.UnixNano(), 10), '\n')
	dst = append(append(dst, e.Aggregate.Subject()...), '\n')
	dst = append(strconv.AppendUint(dst, uint64(e.Previous), 10), '\n')
	return append(dst, e.Stored...)
}

// hasher makes leaves. It is used by one goroutine at a time.
type hasher struct{ record []byte }

// leaf returns the hash of an event, which must have been read from the log.
func (h *hasher) leaf(e eventstore.Envelope) (Hash, error) {
	if e.Position == 0 || len(e.Stored) == 0 {
		return Hash{}, fmt.Errorf("%w: an event at position %d that was not read from the log has no leaf", eventstore.ErrInvalid, e.Position)
	}
	h.record = AppendRecord(h.record[:0], e)
	return tlog.RecordHash(h.record), nil
}

// Leaf returns the hash of an event that was read from the log: RFC 6962's leaf hash of its record.
func Leaf(e eventstore.Envelope) (Hash, error) { return new(hasher).leaf(e) }
