package files

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// PathPrefix begins the path of every download.
const PathPrefix = "/exports/files/"

// MinSecretBytes is the least length of a secret.
const MinSecretBytes = 32

// Why a URL is refused.
var (
	errSignature  = errors.New("the signature does not fit the URL")
	errURLExpired = errors.New("the URL has expired")
)

// signer makes and checks signed URLs.
type signer struct {
	secret []byte
	accept [][]byte // secrets whose signatures are as good
	base   string   // scheme, host and perhaps a path, without a slash at its end
}

func newSigner(secret []byte, base string, accept ...[]byte) (*signer, error) {
	if len(secret) < MinSecretBytes {
		return nil, fmt.Errorf("the secret that signs download URLs has %d bytes; it needs at least %d", len(secret), MinSecretBytes)
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the base of download URLs is %q; want one such as http://127.0.0.1:8080", base)
	}
	return &signer{secret: secret, accept: accept, base: strings.TrimSuffix(base, "/")}, nil
}

// sign returns the signature of a file until a second of Unix time. The fields cannot
// hold a line break, so that no two files share what is signed.
func (s *signer) sign(n export.FileName, expires string) []byte {
	return signWith(s.secret, n, expires)
}

func signWith(secret []byte, n export.FileName, expires string) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, part := range [...]string{"rollcall export download v1", string(n.App), n.Job, n.Name, expires} {
		mac.Write([]byte(part))
		mac.Write([]byte{'\n'})
	}
	return mac.Sum(nil)
}

// url returns the URL that serves a file until a time, to the second.
func (s *signer) url(n export.FileName, until time.Time) string {
	expires := strconv.FormatInt(until.Unix(), 10)
	return s.base + PathPrefix + url.PathEscape(string(n.App)) + "/" + url.PathEscape(n.Job) + "/" + url.PathEscape(n.Name) +
		"?expires=" + expires + "&signature=" + base64.RawURLEncoding.EncodeToString(s.sign(n, expires))
}

// verify returns the file that a URL stands for: errSignature unless it was signed with the
// secret, then errURLExpired when its time has passed.
func (s *signer) verify(u *url.URL, now time.Time) (export.FileName, error) {
	// What goes before the prefix is the base's and was perhaps cut off on the way.
	_, path, ok := strings.Cut(u.Path, PathPrefix)
	parts := strings.Split(path, "/")
	if !ok || len(parts) != 3 || strings.Contains(u.Path, "\n") {
		return export.FileName{}, errSignature
	}
	n := export.FileName{App: domain.AppID(parts[0]), Job: parts[1], Name: parts[2]}
	q := u.Query()
	expires := q.Get("expires")
	given, err := base64.RawURLEncoding.DecodeString(q.Get("signature"))
	if err != nil || !s.accepts(given, n, expires) {
		return export.FileName{}, errSignature
	}
	until, err := strconv.ParseInt(expires, 10, 64)
	if err != nil {
		return export.FileName{}, errSignature
	}
	if now.Unix() >= until {
		return export.FileName{}, errURLExpired
	}
	return n, nil
}

// accepts tells whether a signature is good.
func (s *signer) accepts(given []byte, n export.FileName, expires string) bool {
	good := hmac.Equal(given, s.sign(n, expires))
	for _, secret := range s.accept {
		good = hmac.Equal(given, signWith(secret, n, expires)) || good
	}
	return good
}

// LoadSecret reads the secret kept in a file, which it creates with mode 0600 and a new
// random secret when absent.
func LoadSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createSecret(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the secret of download URLs: %w", err)
	}
	if len(secret) < MinSecretBytes {
		return nil, fmt.Errorf("the secret of download URLs in %s has %d bytes, at least %d are needed; remove the file for a new one", path, len(secret), MinSecretBytes)
	}
	return secret, nil
}

// createSecret writes a whole file under another name first, so that neither a crash nor a loss of
// power leaves a short secret.
func createSecret(path string) ([]byte, error) {
	secret := make([]byte, MinSecretBytes)
	rand.Read(secret) // never fails
	draft := path + ".new"
	err := writeDurably(draft, secret)
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("keep a new secret of download URLs: %w", err)
	}
	return secret, nil
}

// writeDurably writes a file that is on disk when it returns.
func writeDurably(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, ownerOnly)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
