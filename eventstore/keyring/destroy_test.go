package keyring_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"rollcall/eventstore"
	"rollcall/eventstore/keyring"
)

// wrappedBlocks returns the blocks of some keys as the stream holds them now.
func wrappedBlocks(t testing.TB, js jetstream.JetStream, ids ...string) [][]byte {
	t.Helper()
	stream, err := js.Stream(t.Context(), keyring.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, block := range blocksOf(ids) {
		msg, err := stream.GetLastMsgForSubject(t.Context(), "accounts.key."+block)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, msg.Data)
	}
	return out
}

// blocksOf returns the blocks that hold the keys.
func blocksOf(ids []string) []string {
	var blocks []string
	for _, id := range ids {
		block, _, _ := strings.Cut(id, ".")
		blocks = append(blocks, block)
	}
	slices.Sort(blocks)
	return slices.Compact(blocks)
}

// pieces cuts what was wrapped into parts, so that a part that is left on disk is found as well. The
// first bytes of a block are the same in all its versions.
func pieces(wrapped [][]byte) [][]byte {
	var out [][]byte
	for _, w := range wrapped {
		out = slices.AppendSeq(out, slices.Chunk(w[16:], 64))
	}
	return slices.DeleteFunc(out, func(p []byte) bool { return len(p) < 16 })
}

// checkOneVersion wants the stream to hold one version of each block.
func checkOneVersion(t testing.TB, js jetstream.JetStream) {
	t.Helper()
	stream, err := js.Stream(t.Context(), keyring.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if s := stream.CachedInfo().State; s.Msgs != s.NumSubjects {
		t.Errorf("%d versions of %d blocks are in the stream, want one of each", s.Msgs, s.NumSubjects)
	}
}

func TestDestroyLeavesNothingOfAKeyInAnyFile(t *testing.T) {
	n := newNode(t)
	js := n.connect(t)
	m := newMaster(t)
	a, b := open(t, js, m, keyring.Options{}), open(t, n.connect(t), m, keyring.Options{})
	ids := newKeys(t, a, 3*keyring.DefaultBlockSize)
	sealed := sealAll(t, a, ids)
	checkKeys(t, b, sealed)
	old := pieces(wrappedBlocks(t, js, ids...))
	if len(filesWith(t, n.opts.StoreDir, old...)) == 0 {
		t.Fatal("the search does not find the blocks before they are destroyed")
	}

	// Both instances destroy some keys of each block, one of them in common.
	dead := []string{ids[0], ids[1], ids[70], ids[71], ids[191]}
	var wg sync.WaitGroup
	for i, id := range append(slices.Clone(dead), ids[0], ids[71]) {
		k := []*keyring.Keyring{a, b}[i%2]
		wg.Go(func() {
			if err := k.Destroy(t.Context(), id, id); err != nil {
				t.Errorf("destroy: %v", err)
			}
		})
	}
	wg.Wait()

	if found := filesWith(t, n.opts.StoreDir, old...); len(found) > 0 {
		t.Errorf("while the server runs, old blocks are left in %v", found)
	}
	checkOneVersion(t, js)
	n.stop()
	if found := filesWith(t, n.opts.StoreDir, old...); len(found) > 0 {
		t.Errorf("once the server has stopped, old blocks are left in %v", found)
	}
	n.start(t)
	if found := filesWith(t, n.opts.StoreDir, old...); len(found) > 0 {
		t.Errorf("once the server has started again, old blocks are left in %v", found)
	}
	checkKeys(t, open(t, n.connect(t), m, keyring.Options{}), sealed, dead...)
}

func TestDestroyedKeyIsGoneFromMemoryToo(t *testing.T) {
	k := open(t, newNode(t).connect(t), newMaster(t), keyring.Options{})
	ids := newKeys(t, k, 100)
	sealed := sealAll(t, k, ids)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 { // others seal with keys of the same blocks meanwhile
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := k.Seal(t.Context(), ids[50], []byte("x"), nil); err != nil {
					t.Errorf("seal meanwhile: %v", err)
					return
				}
			}
		})
	}
	if err := k.Destroy(t.Context(), ids[:50]...); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	checkKeys(t, k, sealed, ids[:50]...)
}

func TestAnotherInstanceLosesTheKeySoon(t *testing.T) {
	n := newNode(t)
	m := newMaster(t)
	a, b := open(t, n.connect(t), m, keyring.Options{BlockSize: 2}), open(t, n.connect(t), m, keyring.Options{})
	ids := newKeys(t, a, 4)
	sealed := sealAll(t, a, ids)
	checkKeys(t, b, sealed)
	if err := a.Destroy(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, err := b.Seal(t.Context(), ids[0], nil, nil)
		if errors.Is(err, eventstore.ErrKeyDestroyed) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the key of another instance: %v, want %v", err, eventstore.ErrKeyDestroyed)
		}
	}
	checkKeys(t, b, sealed, ids[0])
}

func TestDestroyOfAMalformedIDDoesNothing(t *testing.T) {
	k := open(t, newNode(t).connect(t), newMaster(t), keyring.Options{})
	ids := newKeys(t, k, 2)
	sealed := sealAll(t, k, ids)
	for _, bad := range []string{"", "x", ids[1] + "0000", ids[1] + ".1", strings.ToLower(ids[1]), blocksOf(ids)[0] + ".64"} {
		if err := k.Destroy(t.Context(), ids[0], bad); !errors.Is(err, keyring.ErrKeyID) {
			t.Errorf("destroy %q: %v, want ErrKeyID", bad, err)
		}
	}
	checkKeys(t, k, sealed)
	if err := k.Destroy(t.Context()); err != nil {
		t.Errorf("destroy nothing: %v", err)
	}
}

func TestMissingBlockIsDamageAndNotDestruction(t *testing.T) {
	n := newNode(t)
	js := n.connect(t)
	m := newMaster(t)
	ids := newKeys(t, open(t, js, m, keyring.Options{BlockSize: 1}), 2)
	stream, err := js.Stream(t.Context(), keyring.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), "accounts.key."+blocksOf(ids[:1])[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), msg.Sequence); err != nil {
		t.Fatal(err)
	}
	k := open(t, js, m, keyring.Options{})
	never := ulid.Make().String() + ".0"
	for _, id := range []string{ids[0], never} {
		if _, err := k.Unseal(t.Context(), id, make([]byte, 64), nil); !errors.Is(err, eventstore.ErrDamaged) || errors.Is(err, eventstore.ErrKeyDestroyed) {
			t.Errorf("unseal: %v, want ErrDamaged", err)
		}
	}
	// What is there is destroyed all the same.
	if err := k.Destroy(t.Context(), ids...); !errors.Is(err, eventstore.ErrDamaged) || errors.Is(err, eventstore.ErrKeyDestroyed) {
		t.Errorf("destroy: %v, want ErrDamaged", err)
	}
	if _, err := k.Seal(t.Context(), ids[1], nil, nil); !errors.Is(err, eventstore.ErrKeyDestroyed) {
		t.Errorf("seal with the other key: %v, want ErrKeyDestroyed", err)
	}
}

func TestAKeyringOpensThoughTheNewestVersionOfABlockIsGone(t *testing.T) {
	n := newNode(t)
	js := n.connect(t)
	m := newMaster(t)
	newKeys(t, open(t, js, m, keyring.Options{BlockSize: 1}), 2)
	stream, err := js.Stream(t.Context(), keyring.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), stream.CachedInfo().State.LastSeq); err != nil {
		t.Fatal(err)
	}
	if keys := open(t, js, m, keyring.Options{}).MasterKeys(); len(keys) != 1 || keys[0].Blocks == 0 {
		t.Errorf("the master keys are %v", keys)
	}
}

// errCut is what stands for the crash of a process between two requests.
var errCut = errors.New("cut off")

// cutJetStream reaches the server for everything but the erasing of a message.
type cutJetStream struct{ jetstream.JetStream }

func (js cutJetStream) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := js.JetStream.Stream(ctx, name)
	return cutStream{s}, err
}

type cutStream struct{ jetstream.Stream }

func (cutStream) SecureDeleteMsg(context.Context, uint64) error { return errCut }

func TestInterruptedDestroyIsFinished(t *testing.T) {
	type finisher func(t *testing.T, js jetstream.JetStream, m keyring.MasterKey, before *keyring.Keyring, dead []string)
	for name, finish := range map[string]finisher{
		"by the next Open": func(t *testing.T, js jetstream.JetStream, m keyring.MasterKey, _ *keyring.Keyring, _ []string) {
			open(t, js, m, keyring.Options{})
		},
		"by another instance that destroys the keys again": func(t *testing.T, _ jetstream.JetStream, _ keyring.MasterKey, before *keyring.Keyring, dead []string) {
			if err := before.Destroy(t.Context(), dead...); err != nil {
				t.Errorf("destroy again: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			js := n.connect(t)
			m := newMaster(t)
			k := open(t, js, m, keyring.Options{BlockSize: 8})
			ids := newKeys(t, k, 24)
			sealed := sealAll(t, k, ids)
			old := pieces(wrappedBlocks(t, js, ids...))
			dead := []string{ids[0], ids[9], ids[17]}

			cut, err := keyring.Open(t.Context(), cutJetStream{js}, m, keyring.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer cut.Close()
			for _, ids := range [][]string{dead[:1], dead, dead} { // up to three versions are left of a block
				if err := cut.Destroy(t.Context(), ids...); !errors.Is(err, errCut) || !errors.Is(err, eventstore.ErrUnavailable) {
					t.Fatalf("destroy: %v, want it cut off", err)
				}
			}
			if err := cut.Destroy(t.Context(), ids[1]); !errors.Is(err, errCut) {
				t.Fatalf("destroy: %v, want it cut off", err)
			}
			if len(filesWith(t, n.opts.StoreDir, old...)) == 0 {
				t.Fatal("the interruption left nothing to finish")
			}

			finish(t, js, m, k, dead)
			checkOneVersion(t, js)
			if found := filesWith(t, n.opts.StoreDir, old...); len(found) > 0 {
				t.Errorf("old blocks are left in %v", found)
			}
			checkKeys(t, open(t, n.connect(t), m, keyring.Options{}), sealed, append(dead, ids[1])...)
		})
	}
}

func TestOpenErasesNothingOfABlockWhoseNewestVersionIsUnreadable(t *testing.T) {
	js := newNode(t).connect(t)
	m := newMaster(t)
	k := open(t, js, m, keyring.Options{BlockSize: 1})
	first := newKeys(t, k, 1)
	if _, err := js.Publish(t.Context(), "accounts.key."+blocksOf(first)[0], []byte("not a block")); err != nil {
		t.Fatal(err)
	}
	newKeys(t, k, 20) // Open looks at the newest block of all before it looks for what was interrupted
	if _, err := keyring.Open(t.Context(), js, m, keyring.Options{}); !errors.Is(err, eventstore.ErrDamaged) {
		t.Errorf("open: %v, want ErrDamaged", err)
	}
	stream, err := js.Stream(t.Context(), keyring.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if s := stream.CachedInfo().State; s.Msgs != s.NumSubjects+1 {
		t.Errorf("%d versions of %d blocks are left, want one more than blocks", s.Msgs, s.NumSubjects)
	}
}
