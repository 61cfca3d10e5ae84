package keyring

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/oklog/ulid/v2"

	"rollcall/eventstore"
)

const (
	keySize      = 32 // AES-256
	maxBlockSize = 1024

	// wrapVersion is the first byte of a wrapped block.
	wrapVersion = 1
	// wrapHead is what a wrapped block begins with in clear: the version and the id of the master key.
	wrapHead = 1 + len(masterID{})
)

// block is one version of a block of keys, unwrapped. It is safe for concurrent use.
//
// Its plain form is the number of slots (2 bytes, big endian), a bit per slot that is
// set once the slot's key is destroyed (slot 0 is the lowest bit of the first byte), and
// 32 bytes per slot, zero where the key is destroyed.
type block struct {
	id ulid.ULID

	mu        sync.Mutex
	plain     []byte
	destroyed []byte // part of plain
	keys      []byte // part of plain; nil once wiped
}

// newBlock makes a block of n random keys.
func newBlock(n int) (*block, error) {
	id, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the id of a block: %w", err)
	}
	plain := make([]byte, plainSize(n))
	binary.BigEndian.PutUint16(plain, uint16(n))
	b := blockOf(id, plain, n)
	rand.Read(b.keys) // never fails, see crypto/rand
	return b, nil
}

// bitmapSize returns the length of the bitmap of n slots in bytes.
func bitmapSize(n int) int { return (n + 7) / 8 }

func plainSize(n int) int { return 2 + bitmapSize(n) + n*keySize }

func blockOf(id ulid.ULID, plain []byte, n int) *block {
	bits := 2 + bitmapSize(n)
	return &block{id: id, plain: plain, destroyed: plain[2:bits], keys: plain[bits:]}
}

// errWiped means that a block was wiped while it was in use: a newer version has taken its
// place, or the keyring was closed.
var errWiped = errors.New("the block of keys was wiped from memory")

// errMalformed means that an unwrapped block is not of the form that blocks have.
var errMalformed = errors.New("it does not have the form of a block of keys")

// parseBlock takes over plain.
func parseBlock(id ulid.ULID, plain []byte) (*block, error) {
	if len(plain) < 2 {
		return nil, errMalformed
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n < 1 || n > maxBlockSize || len(plain) != plainSize(n) {
		return nil, errMalformed
	}
	return blockOf(id, plain, n), nil
}

// key copies the key of a slot.
func (b *block) key(slot int) ([keySize]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.keys == nil:
		return [keySize]byte{}, errWiped
	case slot >= len(b.keys)/keySize:
		return [keySize]byte{}, fmt.Errorf("%w: block %s has no slot %d", ErrKeyID, b.id, slot)
	case b.isDestroyed(slot):
		return [keySize]byte{}, eventstore.ErrKeyDestroyed
	}
	return [keySize]byte(b.keys[slot*keySize:]), nil
}

func (b *block) isDestroyed(slot int) bool { return b.destroyed[slot/8]&(1<<(slot%8)) != 0 }

// destroy forgets the keys of the slots and tells whether that changed anything.
func (b *block) destroy(slots []int) (changed bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keys == nil {
		return false, errWiped
	}
	for _, slot := range slots {
		if slot >= len(b.keys)/keySize {
			return false, fmt.Errorf("%w: block %s has no slot %d", ErrKeyID, b.id, slot)
		}
	}
	for _, slot := range slots {
		changed = changed || !b.isDestroyed(slot)
		b.destroyed[slot/8] |= 1 << (slot % 8)
		clear(b.keys[slot*keySize:][:keySize])
	}
	return changed, nil
}

// wipe forgets all keys, in memory only.
func (b *block) wipe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.plain)
	b.keys = nil
}

// wrapper seals blocks with one master key, and opens those that any of several has sealed.
type wrapper struct {
	master masterID                 // that seals
	aeads  map[masterID]cipher.AEAD // each puts a random nonce of 96 bits first
}

// newWrapper returns what seals with m.
func newWrapper(m MasterKey, others ...MasterKey) (wrapper, error) {
	w := wrapper{master: m.id(), aeads: make(map[masterID]cipher.AEAD, 1+len(others))}
	for _, key := range append([]MasterKey{m}, others...) {
		if key.IsZero() {
			return wrapper{}, fmt.Errorf("%w: it is empty", ErrMasterKey)
		}
		aead, err := key.aead()
		if err != nil {
			return wrapper{}, fmt.Errorf("%w: %w", ErrMasterKey, err)
		}
		w.aeads[key.id()] = aead
	}
	return w, nil
}

// wrap returns the bytes of a block as the stream keeps them: version, id of the
// master key, nonce, sealed plain form. All before the nonce, and the block's id, are authenticated.
func (w wrapper) wrap(b *block) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keys == nil {
		return nil, errWiped
	}
	aead := w.aeads[w.master]
	out := make([]byte, 0, wrapHead+len(b.plain)+aead.Overhead())
	out = append(append(out, wrapVersion), w.master[:]...)
	return aead.Seal(out, nil, b.plain, aad(w.master, b.id)), nil
}

// unwrap reads what wrap wrote. Errors: ErrWrongMasterKey when a master key that is
// not known wrapped the block, eventstore.ErrDamaged when it was altered.
func (w wrapper) unwrap(id ulid.ULID, wrapped []byte) (*block, error) {
	damaged := func(why error) (*block, error) {
		return nil, fmt.Errorf("block %s of keys in stream %s: %w: restore the backup of the keys: %w",
			id, StreamName, why, eventstore.ErrDamaged)
	}
	by, err := wrappedBy(wrapped)
	switch {
	case errors.Is(err, errMalformed):
		return damaged(errors.New("it was cut short"))
	case err != nil:
		return nil, fmt.Errorf("block %s of keys in stream %s %w", id, StreamName, err)
	}
	aead, known := w.aeads[by]
	if !known {
		return nil, fmt.Errorf("block %s of keys in stream %s was wrapped with master key %s, this is master key %s: %w",
			id, StreamName, by, w.master, ErrWrongMasterKey)
	}
	plain, err := aead.Open(nil, nil, wrapped[wrapHead:], aad(by, id))
	if err != nil {
		return damaged(errors.New("it was altered"))
	}
	b, err := parseBlock(id, plain)
	if err != nil {
		return damaged(err)
	}
	return b, nil
}

// minWrapped is less than any wrapped block is long: its head, a nonce and a tag.
const minWrapped = wrapHead + 12 + 16

// wrappedBy returns the id of the master key that wrapped a block.
func wrappedBy(wrapped []byte) (masterID, error) {
	switch {
	case len(wrapped) < minWrapped:
		return masterID{}, errMalformed
	case wrapped[0] != wrapVersion:
		return masterID{}, fmt.Errorf("has format %d, this program knows format %d: use the newer program that wrote it", wrapped[0], wrapVersion)
	}
	return masterID(wrapped[1:wrapHead]), nil
}

// aad is what a wrapped block is bound to.
func aad(by masterID, id ulid.ULID) []byte {
	aad := append([]byte("rollcall block of keys"), wrapVersion)
	aad = append(aad, by[:]...)
	return append(aad, id[:]...)
}
