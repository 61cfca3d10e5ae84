package keyring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"rollcall/eventstore"
)

func TestKeyIDIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := keyID{slot: rapid.IntRange(0, maxBlockSize-1).Draw(t, "slot")}
		copy(id.block[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "block"))
		if got, err := parseKeyID(id.String()); err != nil || got != id {
			t.Fatalf("read %v, %v, want %v", got, err, id)
		}
	})
}

func TestWhatIsReadAsKeyIDIsWrittenTheSame(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-7][0-9A-Za-z]{25}\.[0-9+-]{1,5}`))
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "text")
		id, err := parseKeyID(s)
		if err == nil && id.String() != s {
			t.Fatalf("%q was read as %s", s, id)
		}
		if err != nil && !errors.Is(err, ErrKeyID) {
			t.Fatalf("%q: %v, want ErrKeyID", s, err)
		}
	})
}

func testWrapper(t testing.TB, hexDigit string) wrapper {
	t.Helper()
	var m MasterKey
	if _, err := hex.Decode(m.secret[:], bytes.Repeat([]byte(hexDigit), 64)); err != nil {
		t.Fatal(err)
	}
	w, err := newWrapper(m)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWrappedBlockKeepsItsKeysAndWhichAreDestroyed(t *testing.T) {
	w := testWrapper(t, "3")
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, maxBlockSize).Draw(t, "size")
		b, err := newBlock(n)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(b.keys)
		dead := rapid.SliceOfDistinct(rapid.IntRange(0, n-1), rapid.ID).Draw(t, "destroyed")
		if changed, err := b.destroy(dead); err != nil || changed != (len(dead) > 0) {
			t.Fatalf("destroy: %v, %v", changed, err)
		}
		if changed, err := b.destroy(dead); err != nil || changed {
			t.Fatalf("destroy again: %v, %v", changed, err)
		}
		wrapped, err := w.wrap(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.unwrap(b.id, wrapped)
		if err != nil {
			t.Fatal(err)
		}
		isDead := make(map[int]bool)
		for _, slot := range dead {
			isDead[slot] = true
		}
		for slot := range n {
			key, err := got.key(slot)
			switch {
			case isDead[slot]:
				if !errors.Is(err, eventstore.ErrKeyDestroyed) || !bytes.Equal(got.keys[slot*keySize:][:keySize], make([]byte, keySize)) {
					t.Fatalf("slot %d: %v, want ErrKeyDestroyed", slot, err)
				}
			case err != nil || !bytes.Equal(key[:], before[slot*keySize:][:keySize]):
				t.Fatalf("slot %d: another key, %v", slot, err)
			}
		}
		if _, err := got.key(n); !errors.Is(err, ErrKeyID) {
			t.Fatalf("a slot past the end: %v, want ErrKeyID", err)
		}
		if _, err := got.destroy([]int{0, n}); !errors.Is(err, ErrKeyID) {
			t.Fatalf("destroy a slot past the end: %v, want ErrKeyID", err)
		}
	})
}

func TestAlteredWrappedBlockIsRefused(t *testing.T) {
	w := testWrapper(t, "3")
	b, err := newBlock(DefaultBlockSize)
	if err != nil {
		t.Fatal(err)
	}
	good, err := w.wrap(b)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(good)
		switch at := rapid.IntRange(0, len(good)-1).Draw(t, "at"); rapid.SampledFrom([]string{"flip", "cut", "grow"}).Draw(t, "how") {
		case "flip":
			bad[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case "cut":
			bad = bad[:at]
		case "grow":
			bad = append(bad, byte(at))
		}
		if _, err := w.unwrap(b.id, bad); err == nil {
			t.Fatal("an altered block was unwrapped")
		}
	})
	t.Run("under another block's id", func(t *testing.T) {
		other := b.id
		other[15] ^= 1
		if _, err := w.unwrap(other, good); !errors.Is(err, eventstore.ErrDamaged) {
			t.Errorf("%v, want ErrDamaged", err)
		}
	})
	t.Run("with another master key", func(t *testing.T) {
		if _, err := testWrapper(t, "4").unwrap(b.id, good); !errors.Is(err, ErrWrongMasterKey) {
			t.Errorf("%v, want ErrWrongMasterKey", err)
		}
	})
	t.Run("with another master key of the same id", func(t *testing.T) {
		forged := testWrapper(t, "4")
		forged.aeads[w.master] = forged.aeads[forged.master]
		if _, err := forged.unwrap(b.id, good); !errors.Is(err, eventstore.ErrDamaged) {
			t.Errorf("%v, want ErrDamaged", err)
		}
	})
}

func TestOlderVersionNeverTakesThePlaceOfANewerOneInTheCache(t *testing.T) {
	older, err := newBlock(4)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := parseBlock(older.id, bytes.Clone(older.plain))
	if err != nil {
		t.Fatal(err)
	}
	c := newCache(2)
	c.put(newer, 9)
	if got := c.put(older, 3); got != newer || c.get(older.id) != newer {
		t.Error("the older version took the place of the newer one")
	}
	c.close()
	if _, err := newer.key(0); !errors.Is(err, errWiped) {
		t.Errorf("after close: %v, want a wiped block", err)
	}
}

func TestCacheForgetsTheBlockThatWasNotUsedLongest(t *testing.T) {
	c := newCache(2)
	blocks := make([]*block, 3)
	for i := range blocks {
		b, err := newBlock(1)
		if err != nil {
			t.Fatal(err)
		}
		blocks[i] = b
	}
	c.put(blocks[0], 1)
	c.put(blocks[1], 2)
	c.get(blocks[0].id)
	c.put(blocks[2], 3)
	if c.get(blocks[0].id) == nil || c.get(blocks[1].id) != nil || c.get(blocks[2].id) == nil || len(c.entries) != 2 {
		t.Error("the cache did not forget the block that was not used longest")
	}
}
