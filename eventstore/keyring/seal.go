package keyring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"rollcall/eventstore"
)

// sealVersion is the first byte of sealed data: AES-256-GCM with a random nonce
// of 96 bits, which follows it, then the ciphertext and the tag of 16 bytes.
const sealVersion = 1

// Overhead is how many bytes sealed data is longer than what was sealed.
const Overhead = 1 + 12 + 16

// ErrSealed means that data is not what was sealed with this key and this context.
var ErrSealed = errors.New("the sealed data was altered or belongs elsewhere")

// Seal encrypts plaintext with a key and binds it to aad: only with the same
// aad can it be unsealed. Neither is kept. The result is Overhead bytes longer than plaintext. A key is good for
// 2^32 calls.
//
// Errors: eventstore.ErrKeyDestroyed, ErrKeyID, eventstore.ErrDamaged when the key is missing,
// eventstore.ErrUnavailable, ErrClosed, the context's.
func (k *Keyring) Seal(ctx context.Context, id string, plaintext, aad []byte) ([]byte, error) {
	aead, err := k.aead(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("seal with key %s: %w", id, err)
	}
	out := make([]byte, 1, Overhead+len(plaintext))
	out[0] = sealVersion
	return aead.Seal(out, nil, plaintext, aad), nil
}

// Unseal decrypts what Seal made with the same key and aad.
//
// Errors: those of Seal; when sealed is not what Seal made, one that is both ErrSealed and eventstore.ErrDamaged.
func (k *Keyring) Unseal(ctx context.Context, id string, sealed, aad []byte) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("unseal with key %s: %w", id, err) }
	aead, err := k.aead(ctx, id)
	if err != nil {
		return fail(err)
	}
	if len(sealed) < Overhead || sealed[0] != sealVersion {
		return fail(fmt.Errorf("%w: %w", ErrSealed, eventstore.ErrDamaged))
	}
	out, err := aead.Open(make([]byte, 0, len(sealed)-Overhead), nil, sealed[1:], aad)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrSealed, eventstore.ErrDamaged))
	}
	return out, nil
}

// aead returns the cipher of a key. It is made anew each time: that takes half a
// microsecond, keeping it would take 1.2 KiB for each of the 64 keys of a cached block.
func (k *Keyring) aead(ctx context.Context, id string) (cipher.AEAD, error) {
	key, err := k.key(ctx, id)
	if err != nil {
		return nil, err
	}
	defer clear(key[:])
	b, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(b)
}

// key returns a copy of a key, from the cache or from the stream.
func (k *Keyring) key(ctx context.Context, text string) ([keySize]byte, error) {
	id, err := parseKeyID(text)
	if err != nil {
		return [keySize]byte{}, err
	}
	for {
		b := k.cache.get(id.block)
		if b == nil {
			if b, err = k.load(ctx, id.block); err != nil {
				return [keySize]byte{}, err
			}
		}
		key, err := b.key(id.slot)
		switch {
		case !errors.Is(err, errWiped):
			return key, err
		case k.ctx.Err() != nil:
			return key, ErrClosed
		}
	}
}

// load is one reading of a block from the stream, shared by all who wait for it.
type load struct {
	done  chan struct{} // closed once block and err are set
	block *block
	err   error
}

// load reads a block into the cache. One caller's end does not end it for the others.
func (k *Keyring) load(ctx context.Context, id ulid.ULID) (*block, error) {
	l, err := k.startLoad(id)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.done:
		return l.block, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// startLoad returns the load of a block that is under way, or starts one.
func (k *Keyring) startLoad(id ulid.ULID) (*load, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, ErrClosed
	}
	if l, ok := k.loads[id]; ok {
		return l, nil
	}
	l := &load{done: make(chan struct{})}
	k.loads[id] = l
	k.wg.Go(func() {
		defer close(l.done)
		b, seq, err := k.store.latest(k.ctx, id)
		if err != nil {
			l.err = k.failed(err)
		} else {
			l.block = k.cache.put(b, seq)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.loads, id)
	})
	return l, nil
}
