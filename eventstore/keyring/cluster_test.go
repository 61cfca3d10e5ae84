package keyring_test

import (
	"path/filepath"
	"sync"
	"testing"

	"rollcall/eventstore/keyring"
)

func TestKeyringOnThreeReplicas(t *testing.T) {
	nodes := newCluster(t)
	m := newMaster(t)
	rings := make([]*keyring.Keyring, len(nodes))
	for i, n := range nodes {
		rings[i] = open(t, n.connect(t), m, keyring.Options{Replicas: 3, BlockSize: 16})
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		sealed = make(map[string][]byte)
		ids    []string
	)
	for i := range 48 {
		wg.Go(func() {
			for range 4 {
				k := rings[i%len(rings)]
				id, err := k.NewKey(t.Context())
				if err != nil {
					t.Errorf("new key: %v", err)
					return
				}
				s, err := k.Seal(t.Context(), id, []byte(id), aad)
				if err != nil {
					t.Errorf("seal: %v", err)
					return
				}
				mu.Lock()
				sealed[id], ids = s, append(ids, id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, k := range rings {
		checkKeys(t, k, sealed)
	}

	// All instances destroy the same keys at once, and then keys of their own in the same blocks.
	js := nodes[0].connect(t)
	dead := ids[:len(ids)/2]
	old := pieces(wrappedBlocks(t, js, dead...)) // of the blocks that are to change
	keyFiles := func(n *node) []string {
		return filesWith(t, filepath.Join(n.opts.StoreDir, "jetstream", "$G", "streams", keyring.StreamName), old...)
	}
	for _, n := range nodes {
		eventually(t, "the replica has the blocks", func() bool { return len(keyFiles(n)) > 0 })
	}
	for i, k := range rings {
		wg.Go(func() {
			if err := k.Destroy(t.Context(), dead...); err != nil {
				t.Errorf("destroy: %v", err)
			}
		})
		wg.Go(func() {
			if err := k.Destroy(t.Context(), ids[len(ids)-1-i]); err != nil {
				t.Errorf("destroy: %v", err)
			}
		})
	}
	wg.Wait()
	dead = append(dead[:len(dead):len(dead)], ids[len(ids)-3:]...)
	checkOneVersion(t, js)
	fresh := open(t, nodes[1].connect(t), m, keyring.Options{Replicas: 3})
	checkKeys(t, fresh, sealed, dead...)

	// On every replica the stream's own files are rid of the old versions soon. The servers' Raft
	// log is not looked at: they compact it minutes later.
	for _, n := range nodes {
		eventually(t, "the replica erased the old versions", func() bool { return len(keyFiles(n)) == 0 })
	}
}
