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
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// masterKeySize is the length of a master key in bytes: one AES-256 key.
const masterKeySize = 32

// maxMasterKeyFile is more than any file of a master key is long.
const maxMasterKeyFile = 16 << 10

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
	fail := func(err error) (string, error) { return "", fmt.Errorf("load master key: %w", err) }
	// What is not a file might block when opened.
	info, err := os.Stat(path)
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() {
		return fail(fmt.Errorf("%w: %s is not a file", ErrMasterKey, path))
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	// The file that was opened counts, not the one that had the name before.
	if info, err = f.Stat(); err != nil {
		return fail(err)
	}
	// Windows has no such bits.
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return fail(fmt.Errorf("%w: others may access %s (mode %04o): run chmod 600 on it, "+
			"and replace the key if it may have been read",
			ErrMasterKey, path, perm))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxMasterKeyFile))
	if err != nil {
		return fail(err)
	}
	return string(text), nil
}

// CreateMasterKey makes a new master key and writes it to a new file that only
// its owner may read. When it returns, the key is on disk. A file that is there already is left alone, with an error that is
// fs.ErrExist: of several callers one creates the key, and the others load it. The file never
// holds a part of a key, not even after a crash.
func CreateMasterKey(path string) (MasterKey, error) {
	var m MasterKey
	rand.Read(m.secret[:]) // never fails, see crypto/rand
	if err := writeNewFile(path, []byte(hex.EncodeToString(m.secret[:])+"\n")); err != nil {
		return MasterKey{}, fmt.Errorf("create master key: %w", err)
	}
	return m, nil
}

// writeNewFile creates a file with its whole content at once, or fails with fs.ErrExist.
func writeNewFile(path string, content []byte) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	dir := filepath.Dir(path)
	// CreateTemp opens with O_EXCL and mode 0600.
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close() // a second close after success; its error says nothing
		err = errors.Join(err, os.Remove(f.Name()))
	}()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces a file.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
