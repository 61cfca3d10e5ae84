package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"rollcall/eventstore/keyfile"
)

// ErrKey means that a text or a file holds no usable key of a ledger.
var ErrKey = errors.New("not a usable key of a ledger")

// Key signs checkpoints. It is kept outside NATS. However it is printed or logged, only its public part shows. The zero value is no key.
type Key struct {
	signer note.Signer
	public string
}

// keyOf returns the key of a seed. Its name, which is the origin of the checkpoints, is made of the public key, so that no two ledgers
// have the same.
func keyOf(seed []byte) (Key, string, error) {
	private := ed25519.NewKeyFromSeed(seed)
	public := private.Public().(ed25519.PublicKey)
	sum := sha256.Sum256(public)
	name := "rollcall/ledger/" + hex.EncodeToString(sum[:8])
	verifier, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		return Key{}, "", err
	}
	hash := strings.Split(verifier, "+")[1]
	const ed25519Algorithm = 1
	text := "PRIVATE+KEY+" + name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(append([]byte{ed25519Algorithm}, seed...))
	signer, err := note.NewSigner(text)
	return Key{signer: signer, public: verifier}, text, err
}

// DeriveKey returns the key of a secret of 32 bytes, such as one that all instances on a cluster share.
func DeriveKey(seed []byte) (Key, error) {
	if len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("%w: a seed has %d bytes", ErrKey, ed25519.SeedSize)
	}
	key, _, err := keyOf(seed)
	return key, err
}

// ParseKey reads a key in the form of a signer of golang.org/x/mod/sumdb/note, as it is in the file that LoadOrCreateKey makes. Any other
// text is ErrKey; the error does not repeat it.
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	signer, err := note.NewSigner(text)
	parts := strings.SplitN(text, "+", 5)
	if err != nil || len(parts) != 5 {
		return Key{}, fmt.Errorf("%w: it is not of the form PRIVATE+KEY+name+hash+key", ErrKey)
	}
	secret, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(secret) != 1+ed25519.SeedSize {
		return Key{}, fmt.Errorf("%w: it holds no Ed25519 key", ErrKey)
	}
	public, err := note.NewEd25519VerifierKey(signer.Name(), ed25519.NewKeyFromSeed(secret[1:]).Public().(ed25519.PublicKey))
	if err != nil {
		return Key{}, fmt.Errorf("%w: its name cannot be used", ErrKey)
	}
	return Key{signer: signer, public: public}, nil
}

// NewKey makes a key. The text is the key as ParseKey reads it, which is secret.
func NewKey() (key Key, text string, err error) {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails, see crypto/rand
	return keyOf(seed)
}

// LoadOrCreateKey returns the key in a file, which is made, for its owner alone, where there is none: of several callers one makes it. A file
// that others may access is ErrKey.
func LoadOrCreateKey(path string) (Key, error) {
	key, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key, text, err := NewKey()
	if err == nil {
		err = keyfile.Create(path, text+"\n")
	}
	if errors.Is(err, fs.ErrExist) {
		return LoadKey(path)
	}
	if err != nil {
		return Key{}, fmt.Errorf("make the key of the ledger: %w", err)
	}
	return key, nil
}

// LoadKey returns the key in a file. A file that is not there is fs.ErrNotExist, one that others may access is ErrKey.
func LoadKey(path string) (Key, error) {
	text, err := keyfile.Read(path, ErrKey)
	if err != nil {
		return Key{}, fmt.Errorf("read the key of the ledger: %w", err)
	}
	key, err := ParseKey(text)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w: restore the file from its backup", path, err)
	}
	return key, nil
}

// IsPublicKey tells whether a text is a public key as Key.Public returns it.
func IsPublicKey(text string) bool {
	_, err := note.NewVerifier(strings.TrimSpace(text))
	return err == nil
}

// IsZero tells whether it is no key.
func (k Key) IsZero() bool { return k.signer == nil }

// Public returns the public part, name+hash+key, by which anyone verifies checkpoints.
func (k Key) Public() string { return k.public }

// Format keeps the key out of every verb of fmt.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.public) }

// LogValue keeps the key out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.public) }
