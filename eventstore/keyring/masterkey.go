package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"rollcall/eventstore/keyfile"
)

// masterKeySize is the length of a master key in bytes: one AES-256 key.
const masterKeySize = 32

// ErrMasterKey means that a text or a file holds no usable master key.
var ErrMasterKey = errors.New("not a usable master key")

// masterID names a master key without telling anything about it.
type masterID [8]byte

func (id masterID) String() string { return hex.EncodeToString(id[:]) }

// MasterKey wraps the keys of all accounts. It is kept outside NATS: whoever
// has the stream of keys and the master key can read every account that has not been erased, and
// whoever loses the master key can read none of them again. However it is printed or logged, only its id shows.
//
// The zero value is no key; Open refuses it.
type MasterKey struct {
	secret [masterKeySize]byte
}

// ParseMasterKey reads a master key written as 64 hexadecimal digits; white space
// around them is ignored. Any other text is ErrMasterKey; the error does not repeat it.
func ParseMasterKey(text string) (MasterKey, error) {
	text = strings.TrimSpace(text)
	var m MasterKey
	if len(text) != hex.EncodedLen(masterKeySize) {
		return MasterKey{}, fmt.Errorf("%w: it has %d characters, want %d hexadecimal digits",
			ErrMasterKey, len(text), hex.EncodedLen(masterKeySize))
	}
	if _, err := hex.Decode(m.secret[:], []byte(text)); err != nil {
		return MasterKey{}, fmt.Errorf("%w: it has characters that are not hexadecimal digits", ErrMasterKey)
	}
	if m.IsZero() {
		return MasterKey{}, fmt.Errorf("%w: all its digits are zero", ErrMasterKey)
	}
	return m, nil
}

// NewMasterKey makes a master key. The text is the key as ParseMasterKey reads it, which is secret.
func NewMasterKey() (m MasterKey, text string) {
	rand.Read(m.secret[:]) // never fails, see crypto/rand
	return m, hex.EncodeToString(m.secret[:])
}

// Derive returns a secret of n bytes for another purpose, from which nothing of the master key can be told (HKDF with SHA-256, RFC
// 5869). The same purpose gives the same secret.
func (m MasterKey) Derive(purpose string, n int) ([]byte, error) {
	if m.IsZero() {
		return nil, fmt.Errorf("%w: there is none", ErrMasterKey)
	}
	return hkdf.Key(sha256.New, m.secret[:], nil, purpose, n)
}

// LoadMasterKey reads the master key that CreateMasterKey wrote to a file. Errors are those of ReadMasterKeyFile and ParseMasterKey.
func LoadMasterKey(path string) (MasterKey, error) {
	text, err := ReadMasterKeyFile(path)
	if err != nil {
		return MasterKey{}, err
	}
	m, err := ParseMasterKey(text)
	if err != nil {
		return MasterKey{}, fmt.Errorf("load master key: %s: %w: restore the file from its backup", path, err)
	}
	return m, nil
}

// ReadMasterKeyFile reads a file that holds a master key in some form. It
// refuses, with ErrMasterKey, a file that anyone but its owner may access. A file that is not there is fs.ErrNotExist.
func ReadMasterKeyFile(path string) (string, error) {
	text, err := keyfile.Read(path, ErrMasterKey)
	if err != nil {
		return "", fmt.Errorf("load master key: %w", err)
	}
	return text, nil
}

// CreateMasterKey makes a new master key and writes it to a new file that only
// its owner may read. When it returns, the key is on disk. A file that is there already is left alone, with an error that is
// fs.ErrExist: of several callers one creates the key, and the others load it. The file never
// holds a part of a key, not even after a crash.
func CreateMasterKey(path string) (MasterKey, error) {
	m, text := NewMasterKey()
	if err := keyfile.Create(path, text+"\n"); err != nil {
		return MasterKey{}, fmt.Errorf("create master key: %w", err)
	}
	return m, nil
}

// IsZero tells whether m is no key.
func (m MasterKey) IsZero() bool { return m == MasterKey{} }

// ID names the key: 16 hexadecimal digits that tell nothing about it.
func (m MasterKey) ID() string { return m.id().String() }

func (m MasterKey) id() masterID {
	h := hmac.New(sha256.New, m.secret[:])
	h.Write([]byte("rollcall master key id"))
	return masterID(h.Sum(nil))
}

// aead returns the cipher that wraps blocks of keys. It is safe for concurrent use.
func (m MasterKey) aead() (cipher.AEAD, error) {
	b, err := aes.NewCipher(m.secret[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(b)
}

func (m MasterKey) String() string {
	if m.IsZero() {
		return "no master key"
	}
	return "master key " + m.ID()
}

// Format keeps the key out of every verb of fmt, those for numbers and %#v included.
func (m MasterKey) Format(f fmt.State, _ rune) { io.WriteString(f, m.String()) }

// LogValue keeps the key out of logs.
func (m MasterKey) LogValue() slog.Value { return slog.StringValue(m.String()) }

// MarshalText keeps the key out of JSON and other encodings.
func (m MasterKey) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
