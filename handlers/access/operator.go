package access

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"rollcall/eventstore/keyfile"
)

// operatorID is the token id, name and actor of the operator's token that the
// service is started with.
const operatorID = "operator"

// MinOperatorTokenBytes is the least length of an operator's token.
const MinOperatorTokenBytes = 16

// Errors of an operator's token. Test for them with errors.Is.
var (
	// ErrWeakToken means that a token is too short, too long, or could not be sent in a header.
	ErrWeakToken = errors.New("the operator's token cannot be used")
	// ErrExposed means that others can read or change the file of the token.
	ErrExposed = errors.New("the file of the operator's token is open to others")
)

// CreateOperatorToken returns a new operator's token of 260 random bits.
func CreateOperatorToken() string { return "rco_" + rand.Text() + rand.Text() }

// CheckOperatorToken returns an error that is ErrWeakToken when a token that
// somebody chose is not 16 to 512 visible ASCII characters.
func CheckOperatorToken(token string) error {
	if n := len(token); n < MinOperatorTokenBytes || n > maxSecretBytes {
		return fmt.Errorf("%w: it has %d characters, want %d to %d", ErrWeakToken, n, MinOperatorTokenBytes, maxSecretBytes)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return fmt.Errorf("%w: it may have only visible ASCII characters, no spaces", ErrWeakToken)
	}
	return nil
}

// LoadOrCreateOperatorToken returns the operator's token in the file path. Where
// there is none it makes one and writes it, readable by its owner alone, which created tells. The
// file is complete whenever it exists, and several processes that do this at once get the same token.
//
// Errors: ErrExposed when others can read or write the file; ErrWeakToken when what
// it holds is no token; those of the file system.
func LoadOrCreateOperatorToken(path string) (token string, created bool, err error) {
	token, err = loadOperatorToken(path)
	if !errors.Is(err, os.ErrNotExist) {
		return token, false, err
	}
	token = CreateOperatorToken()
	err = keyfile.Create(path, token+"\n")
	if errors.Is(err, os.ErrExist) { // another process was faster
		token, err = loadOperatorToken(path)
		return token, false, err
	}
	if err != nil {
		return "", false, fmt.Errorf("write the operator's token to %s: %w", path, err)
	}
	return token, true, nil
}

func loadOperatorToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the operator's token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read the operator's token: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: %s is not a regular file", ErrWeakToken, path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%w: %s has the mode %04o; make a new token by removing the file, or chmod 600 it if nobody has read it", ErrExposed, path, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+2))
	if err != nil {
		return "", fmt.Errorf("read the operator's token: %w", err)
	}
	token := strings.TrimRight(string(b), "\r\n")
	if err := CheckOperatorToken(token); err != nil {
		return "", fmt.Errorf("%s: %w; remove the file to get a new token", path, err)
	}
	return token, nil
}
