package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// leafOf returns the n-th leaf of a tree for tests.
func leafOf(n int) Hash { return tlog.RecordHash(binary.BigEndian.AppendUint64(nil, uint64(n))) }

// TestATreeIsThatOfRFC6962 compares every size with golang.org/x/mod's own way, across the borders of tiles of two levels.
func TestATreeIsThatOfRFC6962(t *testing.T) {
	var stored []Hash
	hashes := tlog.HashReaderFunc(func(indexes []int64) ([]Hash, error) {
		list := make([]Hash, len(indexes))
		for i, index := range indexes {
			list[i] = stored[index]
		}
		return list, nil
	})
	e := &edge{}
	if e.root() != sha256.Sum256(nil) {
		t.Error("the root of an empty tree is not the hash of nothing")
	}
	const last = tileWidth*tileWidth + 3*tileWidth + 5
	for n := range last {
		more, err := tlog.StoredHashesForRecordHash(int64(n), leafOf(n), hashes)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		e.add(leafOf(n))
		if n%977 == 0 {
			e.trim()
		}
		if n > 1200 && n%1009 != 0 && n < last-600 {
			continue
		}
		want, err := tlog.TreeHash(int64(n+1), hashes)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.root(); got != want {
			t.Fatalf("the root at size %d is %v, want %v", n+1, got, want)
		}
	}
	if got := levels(last); got != 3 {
		t.Errorf("a tree of size %d has %d levels, want 3", last, got)
	}
}
