package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"rollcall/eventstore"
	"rollcall/eventstore/keyring"
)

// aad stands for what binds sealed data to its place.
var aad = []byte("app/user/nickname")

// newKeys returns n keys.
func newKeys(t testing.TB, k *keyring.Keyring, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		id, err := k.NewKey(t.Context())
		if err != nil {
			t.Fatalf("new key: %v", err)
		}
		ids[i] = id
	}
	return ids
}

// sealAll seals each key's own id with it.
func sealAll(t testing.TB, k *keyring.Keyring, ids []string) map[string][]byte {
	t.Helper()
	sealed := make(map[string][]byte, len(ids))
	for _, id := range ids {
		s, err := k.Seal(t.Context(), id, []byte(id), aad)
		if err != nil {
			t.Fatalf("seal: %v", err)
		}
		sealed[id] = s
	}
	return sealed
}

// checkKeys wants the destroyed keys destroyed and all others to unseal what they sealed.
func checkKeys(t testing.TB, k *keyring.Keyring, sealed map[string][]byte, destroyed ...string) {
	t.Helper()
	dead := make(map[string]bool)
	for _, id := range destroyed {
		dead[id] = true
	}
	for id, s := range sealed {
		plain, err := k.Unseal(t.Context(), id, s, aad)
		if dead[id] {
			if !errors.Is(err, eventstore.ErrKeyDestroyed) || errors.Is(err, eventstore.ErrDamaged) {
				t.Errorf("unseal with destroyed key %s: %q, %v, want ErrKeyDestroyed", id, plain, err)
			}
			if _, err := k.Seal(t.Context(), id, nil, nil); !errors.Is(err, eventstore.ErrKeyDestroyed) {
				t.Errorf("seal with destroyed key %s: %v, want ErrKeyDestroyed", id, err)
			}
			continue
		}
		if err != nil || string(plain) != id {
			t.Errorf("unseal with key %s: %q, %v", id, plain, err)
		}
	}
}

func TestOnlyWhatWasSealedIsUnsealed(t *testing.T) {
	k := open(t, newNode(t).connect(t), newMaster(t), keyring.Options{})
	ids := newKeys(t, k, 2)
	data := rapid.SliceOfN(rapid.Byte(), 0, 300)
	rapid.Check(t, func(rt *rapid.T) {
		plain, context, ctx := data.Draw(rt, "plaintext"), data.Draw(rt, "aad"), t.Context()
		sealed, err := k.Seal(ctx, ids[0], plain, context)
		if err != nil || len(sealed) != len(plain)+keyring.Overhead {
			rt.Fatalf("seal: %d bytes of %d, %v", len(sealed), len(plain), err)
		}
		if len(plain) > 8 && bytes.Contains(sealed, plain) {
			rt.Fatal("the plaintext shows")
		}
		again, err := k.Seal(ctx, ids[0], plain, context)
		if err != nil || bytes.Equal(again, sealed) {
			rt.Fatalf("sealing twice gave the same bytes, %v", err)
		}
		if got, err := k.Unseal(ctx, ids[0], sealed, context); err != nil || !bytes.Equal(got, plain) {
			rt.Fatalf("unsealed %x, %v, want %x", got, err, plain)
		}
		refused := func(what, id string, sealed, context []byte) {
			if got, err := k.Unseal(ctx, id, sealed, context); !errors.Is(err, keyring.ErrSealed) || !errors.Is(err, eventstore.ErrDamaged) || got != nil {
				rt.Fatalf("%s: unsealed %x, %v", what, got, err)
			}
		}
		at := rapid.IntRange(0, len(sealed)-1).Draw(rt, "at")
		flipped := bytes.Clone(sealed)
		flipped[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		refused("a flipped bit", ids[0], flipped, context)
		refused("cut short", ids[0], sealed[:at], context)
		refused("grown", ids[0], append(bytes.Clone(sealed), 0), context)
		refused("another aad", ids[0], sealed, append(bytes.Clone(context), 0))
		refused("another key", ids[1], sealed, context)
	})
}

func TestNewKeysAreUniqueAndOnDiskAmongManyCallers(t *testing.T) {
	n := newNode(t)
	m := newMaster(t)
	a, b := open(t, n.connect(t), m, keyring.Options{}), open(t, n.connect(t), m, keyring.Options{BlockSize: 5})
	const callers, each = 128, 20
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen = make(map[string]bool)
	)
	for i := range 2 * callers {
		k := a
		if i%2 == 1 {
			k = b
		}
		wg.Go(func() {
			for range each {
				id, err := k.NewKey(t.Context())
				if err != nil {
					t.Errorf("new key: %v", err)
					return
				}
				mu.Lock()
				if seen[id] {
					t.Errorf("key %s was given out twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 2*callers*each {
		t.Fatalf("%d keys, want %d", len(seen), 2*callers*each)
	}
	n.stop()
	n.start(t)
	k := open(t, n.connect(t), m, keyring.Options{CacheBlocks: 2})
	for id := range seen {
		wg.Go(func() {
			if _, err := k.Seal(t.Context(), id, []byte("x"), nil); err != nil {
				t.Errorf("a key that was given out is not on disk: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestWhatASealedEventNeedsIsThereAfterReopening(t *testing.T) {
	n := newNode(t)
	m := newMaster(t)
	first := open(t, n.connect(t), m, keyring.Options{BlockSize: 4})
	ids := newKeys(t, first, 10)
	sealed := sealAll(t, first, ids)
	first.Close()
	n.stop()
	n.start(t)
	again := open(t, n.connect(t), m, keyring.Options{BlockSize: 7})
	checkKeys(t, again, sealed)
	for _, id := range newKeys(t, again, 20) {
		if sealed[id] != nil {
			t.Errorf("key %s was given out again after a restart", id)
		}
	}
}

func TestOpenRefusesAnotherMasterKey(t *testing.T) {
	n := newNode(t)
	js := n.connect(t)
	newKeys(t, open(t, js, newMaster(t), keyring.Options{}), 1)
	other := newMaster(t)
	_, err := keyring.Open(t.Context(), js, other, keyring.Options{})
	if !errors.Is(err, keyring.ErrWrongMasterKey) || !strings.Contains(err.Error(), other.ID()) {
		t.Errorf("%v, want ErrWrongMasterKey naming %s", err, other.ID())
	}
	if _, err := keyring.Open(t.Context(), js, keyring.MasterKey{}, keyring.Options{}); !errors.Is(err, keyring.ErrMasterKey) {
		t.Errorf("the zero master key: %v, want ErrMasterKey", err)
	}
}

func TestABlockThatWasCutShortIsDamagedAndBlamedOnNoMasterKey(t *testing.T) {
	js := newNode(t).connect(t)
	m := newMaster(t)
	k := open(t, js, m, keyring.Options{BlockSize: 1})
	ids := newKeys(t, k, 1)
	sealed := sealAll(t, k, ids)
	stream, err := js.Stream(t.Context(), keyring.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	block, _, _ := strings.Cut(ids[0], ".")
	whole, err := stream.GetLastMsgForSubject(t.Context(), "accounts.key."+block)
	if err == nil {
		_, err = js.Publish(t.Context(), whole.Subject, whole.Data[:20])
	}
	if err == nil {
		err = stream.SecureDeleteMsg(t.Context(), whole.Sequence)
	}
	if err != nil {
		t.Fatal(err)
	}
	newKeys(t, k, 40) // in blocks behind it
	again := open(t, js, m, keyring.Options{})
	if _, err := again.Unseal(t.Context(), ids[0], sealed[ids[0]], aad); !errors.Is(err, eventstore.ErrDamaged) {
		t.Errorf("unseal by a block that was cut short: %v, want ErrDamaged", err)
	}
	for _, use := range again.MasterKeys() {
		if use.Role != keyring.Current {
			t.Errorf("master key %+v is told of", use)
		}
	}
}

func TestOpenRefusesToReplaceAStreamOfKeysThatIsGone(t *testing.T) {
	js := newNode(t).connect(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ACCOUNTS", Subjects: []string{eventstore.AllSubjects}}); err != nil {
		t.Fatal(err)
	}
	m := newMaster(t)
	open(t, js, m, keyring.Options{}) // the log is empty: the stream of keys is created
	if _, err := js.Publish(t.Context(), eventstore.App("a").Subject(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	open(t, js, m, keyring.Options{}) // both are there
	if err := js.DeleteStream(t.Context(), keyring.StreamName); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Open(t.Context(), js, m, keyring.Options{}); !errors.Is(err, eventstore.ErrDamaged) {
		t.Errorf("%v, want ErrDamaged", err)
	}
	if _, err := js.Stream(t.Context(), keyring.StreamName); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream was created: %v", err)
	}
}

func TestOpenRefusesAStreamThatCouldLoseOrGiveAwayKeys(t *testing.T) {
	js := newNode(t).connect(t)
	m := newMaster(t)
	open(t, js, m, keyring.Options{})
	stream, err := js.Stream(t.Context(), keyring.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	good := stream.CachedInfo().Config
	for name, spoil := range map[string]func(*jetstream.StreamConfig){
		"max_age":              func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max_msgs":             func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"max_msg_size":         func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 },
		"max_msgs_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"allow_direct":         func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"compression":          func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression },
		"republish": func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "leak.>"}
		},
	} {
		cfg := good
		spoil(&cfg)
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := keyring.Open(t.Context(), js, m, keyring.Options{}); !errors.Is(err, keyring.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrConfig naming it", name, err)
		}
	}
	if _, err := js.UpdateStream(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring.Open(t.Context(), js, m, keyring.Options{Replicas: 3}); !errors.Is(err, keyring.ErrConfig) {
		t.Errorf("too few replicas: %v, want ErrConfig", err)
	}
}

func TestOpenRefusesOptionsOutOfBounds(t *testing.T) {
	js := newNode(t).connect(t)
	for _, opts := range []keyring.Options{{Replicas: 6}, {Replicas: -1}, {BlockSize: 1025}, {BlockSize: -1}, {CacheBlocks: -1}, {Timeout: -1}} {
		if _, err := keyring.Open(t.Context(), js, newMaster(t), opts); err == nil {
			t.Errorf("%+v was accepted", opts)
		}
	}
}

func TestInstancesThatStartTogetherShareTheStream(t *testing.T) {
	n := newNode(t)
	m := newMaster(t)
	var wg sync.WaitGroup
	for range 8 {
		js := n.connect(t)
		wg.Go(func() {
			k, err := keyring.Open(t.Context(), js, m, keyring.Options{})
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			defer k.Close()
			if _, err := k.NewKey(t.Context()); err != nil {
				t.Errorf("new key: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestUnreachableStreamIsUnavailableAndComesBack(t *testing.T) {
	n := newNode(t)
	n.opts.Port = port(t, n)
	m := newMaster(t)
	opts := keyring.Options{BlockSize: 1, Timeout: 100 * time.Millisecond}
	k := open(t, n.connect(t), m, opts)
	cold := open(t, n.connect(t), m, opts)
	id := newKeys(t, k, 1)[0]
	n.stop()
	if _, err := cold.Seal(t.Context(), id, nil, nil); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("seal: %v, want ErrUnavailable", err)
	}
	if _, err := cold.NewKey(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("new key: %v, want ErrUnavailable", err)
	}
	if err := cold.Destroy(t.Context(), id); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("destroy: %v, want ErrUnavailable", err)
	}
	if _, err := k.Seal(t.Context(), id, nil, nil); err != nil {
		t.Errorf("seal with a key in memory: %v", err)
	}
	n.start(t)
	eventually(t, "the keyring works again", func() bool {
		_, errNew := cold.NewKey(t.Context())
		_, errSeal := cold.Seal(t.Context(), id, nil, nil)
		return errNew == nil && errSeal == nil
	})
}

func TestClosedKeyringRefusesEverything(t *testing.T) {
	k := open(t, newNode(t).connect(t), newMaster(t), keyring.Options{})
	id := newKeys(t, k, 1)[0]
	sealed := sealAll(t, k, []string{id})[id]
	k.Close()
	k.Close()
	_, errNew := k.NewKey(t.Context())
	_, errSeal := k.Seal(t.Context(), id, nil, nil)
	_, errUnseal := k.Unseal(t.Context(), id, sealed, aad)
	for what, err := range map[string]error{"new key": errNew, "seal": errSeal, "unseal": errUnseal, "destroy": k.Destroy(t.Context(), id)} {
		if !errors.Is(err, keyring.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}

func TestEndOfACallersContextEndsItsWaitOnly(t *testing.T) {
	n := newNode(t)
	m := newMaster(t)
	id := newKeys(t, open(t, n.connect(t), m, keyring.Options{}), 1)[0]
	k := open(t, n.connect(t), m, keyring.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Seal(ctx, id, nil, nil); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("seal: %v, want context.Canceled", err)
	}
	if _, err := k.NewKey(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("new key: %v, want context.Canceled", err)
	}
	if err := k.Destroy(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("destroy: %v, want context.Canceled", err)
	}
	if _, err := k.Seal(t.Context(), id, nil, nil); err != nil {
		t.Errorf("seal afterwards: %v", err)
	}
}
