package keyring_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/eventstore/keyring"
)

// blocksUnder returns how many blocks a master key wraps, by what a keyring knows, and what the key is to it.
func blocksUnder(k *keyring.Keyring, m keyring.MasterKey) (int, keyring.Role) {
	for _, use := range k.MasterKeys() {
		if use.ID == m.ID() {
			return use.Blocks, use.Role
		}
	}
	return 0, ""
}

// awaitRotation waits until a keyring knows of no block under a master key.
func awaitRotation(t *testing.T, k *keyring.Keyring, from keyring.MasterKey) {
	t.Helper()
	eventually(t, "no block is under the old master key", func() bool {
		n, _ := blocksUnder(k, from)
		return n == 0
	})
}

func TestTwoInstancesWrapAllKeysAnewAndEraseWhatTheOldMasterKeyWrapped(t *testing.T) {
	n := newNode(t)
	from, to := newMaster(t), newMaster(t)
	first := open(t, n.connect(t), from, keyring.Options{BlockSize: 4})
	ids := newKeys(t, first, 100)
	sealed := sealAll(t, first, ids)
	dead := []string{ids[0], ids[50]}
	if err := first.Destroy(t.Context(), dead...); err != nil {
		t.Fatal(err)
	}
	if got, role := blocksUnder(first, from); got < 25 || role != keyring.Current {
		t.Errorf("%d blocks are under the %s master key", got, role)
	}
	first.Close()
	js := n.connect(t)
	old := pieces(wrappedBlocks(t, js, ids...))
	if len(filesWith(t, n.opts.StoreDir, old...)) == 0 {
		t.Fatal("the search does not find the blocks before they are wrapped anew")
	}

	// Without the old one nothing starts, and nothing is touched.
	_, err := keyring.Open(t.Context(), n.connect(t), to, keyring.Options{})
	if !errors.Is(err, keyring.ErrWrongMasterKey) || !strings.Contains(err.Error(), from.ID()) {
		t.Errorf("without the old master key: %v", err)
	}
	a := open(t, n.connect(t), to, keyring.Options{Old: []keyring.MasterKey{from}})
	b := open(t, n.connect(t), to, keyring.Options{Old: []keyring.MasterKey{from}})
	for _, k := range []*keyring.Keyring{a, b} {
		awaitRotation(t, k, from)
		checkKeys(t, k, sealed, dead...)
		if got, role := blocksUnder(k, to); got < 25 || role != keyring.Current {
			t.Errorf("%d blocks are under the %s master key", got, role)
		}
	}
	eventually(t, "the old versions are gone", func() bool { return len(filesWith(t, n.opts.StoreDir, old...)) == 0 })
	a.Close()
	b.Close()
	checkOneVersion(t, js)
	if _, err := keyring.Open(t.Context(), n.connect(t), from, keyring.Options{}); !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("with the old master key alone: %v, want ErrWrongMasterKey", err)
	}
	checkKeys(t, open(t, n.connect(t), to, keyring.Options{}), sealed, dead...)
}

func TestARotationThatIsInterruptedIsResumed(t *testing.T) {
	n := newNode(t)
	from, to := newMaster(t), newMaster(t)
	k := open(t, n.connect(t), from, keyring.Options{BlockSize: 1})
	ids := newKeys(t, k, 150)
	sealed := sealAll(t, k, ids)
	k.Close()
	old := pieces(wrappedBlocks(t, n.connect(t), ids...))
	half := 0
	for done := false; !done; {
		k := open(t, n.connect(t), to, keyring.Options{Old: []keyring.MasterKey{from}})
		had, _ := blocksUnder(k, from)
		eventually(t, "some blocks are wrapped anew", func() bool {
			left, _ := blocksUnder(k, from)
			return left == 0 || left < had
		})
		if left, _ := blocksUnder(k, from); left > 0 {
			half++
		}
		k.Close() // in the midst of it
		k, err := keyring.Open(t.Context(), n.connect(t), to, keyring.Options{})
		switch done = err == nil; {
		case done:
			k.Close()
		case !errors.Is(err, keyring.ErrWrongMasterKey) || !strings.Contains(err.Error(), "master key "+from.ID()):
			t.Fatalf("in the midst of the rotation, without the old master key: %v", err)
		}
	}
	if half == 0 {
		t.Error("the rotation was never interrupted in its midst")
	}
	checkKeys(t, open(t, n.connect(t), to, keyring.Options{}), sealed)
	checkOneVersion(t, n.connect(t))
	if found := filesWith(t, n.opts.StoreDir, old...); len(found) > 0 {
		t.Errorf("old blocks are left in %v", found)
	}
}

// TestInstancesThatGoOnToAnotherMasterKeyOneByOneReadEachOthersKeys has one instance that knows the next key and one that has gone on
// to it make, use and destroy keys side by side.
func TestInstancesThatGoOnToAnotherMasterKeyOneByOneReadEachOthersKeys(t *testing.T) {
	n := newNode(t)
	from, to := newMaster(t), newMaster(t)
	before := open(t, n.connect(t), from, keyring.Options{BlockSize: 2, Next: []keyring.MasterKey{to}})
	sealed := sealAll(t, before, newKeys(t, before, 20))
	after := open(t, n.connect(t), to, keyring.Options{BlockSize: 2, Old: []keyring.MasterKey{from}})
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		dead []string
	)
	for i, k := range []*keyring.Keyring{before, after, before, after} {
		wg.Go(func() {
			other := []*keyring.Keyring{after, before}[i%2]
			for j := range 8 {
				mine := sealAll(t, k, newKeys(t, k, 2))
				checkKeys(t, other, mine)
				ids := slices.Sorted(maps.Keys(mine))
				if err := other.Destroy(t.Context(), ids[j%2]); err != nil {
					t.Errorf("destroy: %v", err)
				}
				mu.Lock()
				maps.Copy(sealed, mine)
				dead = append(dead, ids[j%2])
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if _, role := blocksUnder(before, to); role != keyring.Next {
		t.Errorf("to the instance of before, the next master key is %q", role)
	}
	before.Close()
	awaitRotation(t, after, from)
	after.Close()
	checkKeys(t, open(t, n.connect(t), to, keyring.Options{}), sealed, dead...)
}

// BenchmarkOpen tells what it costs at a start to learn which master keys wrap the blocks of so many accounts.
func BenchmarkOpen(b *testing.B) {
	const blocks = 16_000 // of a million accounts
	n := newNode(b)
	n.stop()
	n.opts.SyncAlways = false
	n.start(b)
	m := newMaster(b)
	k := open(b, n.connect(b), m, keyring.Options{BlockSize: 64})
	for range blocks {
		newKeys(b, k, 64)
	}
	k.Close()
	b.Run(fmt.Sprint(blocks, "-blocks"), func(b *testing.B) {
		for b.Loop() {
			k, err := keyring.Open(b.Context(), n.connect(b), m, keyring.Options{})
			if err != nil {
				b.Fatal(err)
			}
			k.Close()
		}
	})
}
