package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
)

// MaxNameLength bounds the name of a token, in characters.
const MaxNameLength = 64

// Token is a credential without its secret.
type Token struct {
	ID        string // ULID
	Name      string // for people, 1 to MaxNameLength characters
	Role      Role
	App       string // empty for an operator
	CreatedAt time.Time
	CreatedBy string    // actor
	RevokedAt time.Time // zero while the token is good
	RevokedBy string    // actor
}

// Revoked tells whether the token has been revoked, which is forever.
func (t Token) Revoked() bool { return !t.RevokedAt.IsZero() }

func (t Token) principal() Principal {
	return Principal{TokenID: t.ID, Name: t.Name, Role: t.Role, App: t.App}
}

// Hash is the SHA-256 of a token's secret. A secret has 130 random bits, so
// that a plain hash cannot be reversed by guessing.
type Hash [sha256.Size]byte

// Record is a token as it is stored. The hash of a revoked token is zero.
type Record struct {
	Token
	Hash Hash
}

// merge returns what is known of a token from two records of it. Nothing of a
// token changes but that it is revoked, once and forever; so records may arrive late, twice and in
// any order.
func (r Record) merge(other Record) Record {
	if r.ID == "" {
		return other
	}
	if other.Revoked() && !r.Revoked() {
		r.RevokedAt, r.RevokedBy, r.Hash = other.RevokedAt, other.RevokedBy, Hash{}
	}
	return r
}

// matches tells whether the secret with the given hash is that of the token.
func (r Record) matches(h Hash) bool {
	return !r.Revoked() && r.Hash != Hash{} && subtle.ConstantTimeCompare(r.Hash[:], h[:]) == 1
}

// A secret is rct_<id>_<random>: the prefix lets scanners find a leaked one, the id finds its record.
const (
	secretPrefix   = "rct_"
	secretLength   = len(secretPrefix) + ulid.EncodedSize + 1 + randomLength
	randomLength   = 26 // of crypto/rand.Text
	maxSecretBytes = 512
)

func newSecret(id string) string { return secretPrefix + id + "_" + rand.Text() }

// tokenID returns the id in a secret.
func tokenID(secret string) (string, bool) {
	if len(secret) != secretLength || !strings.HasPrefix(secret, secretPrefix) {
		return "", false
	}
	id := secret[len(secretPrefix):][:ulid.EncodedSize]
	return id, secret[len(secretPrefix)+ulid.EncodedSize] == '_'
}

// hashOf returns the hash of a secret of at most maxSecretBytes. It does not allocate.
func hashOf(secret string) Hash {
	var b [maxSecretBytes]byte
	return sha256.Sum256(b[:copy(b[:], secret)])
}

// check returns a *domain.Rejection that names every field of a new token that
// cannot be accepted.
func (t Token) check() error {
	var bad []domain.FieldError
	add := func(field string, code domain.Code, format string, args ...any) {
		bad = append(bad, domain.FieldError{Field: field, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	switch n := utf8.RuneCountInString(t.Name); {
	case n == 0:
		add("name", domain.CodeRequired, "1 to %d characters", MaxNameLength)
	case n > MaxNameLength:
		add("name", domain.CodeTooLong, "at most %d characters, this has %d", MaxNameLength, n)
	case !utf8.ValidString(t.Name):
		add("name", domain.CodeBadValue, "must be valid UTF-8")
	case strings.ContainsFunc(t.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		add("name", domain.CodeBadValue, "only characters that can be printed")
	case t.Name == operatorID:
		add("name", domain.CodeBadValue, "%q is the name of the token that the service was started with", operatorID)
	}
	switch {
	case t.Role == "":
		add("role", domain.CodeRequired, "one of %s", roleNames())
	case !slices.Contains(Roles(), t.Role):
		add("role", domain.CodeBadValue, "one of %s", roleNames())
	case t.Role == Operator && t.App != "":
		add("app", domain.CodeBadValue, "an operator's token is not bound to an application; leave it empty")
	case t.Role != Operator:
		bad = append(bad, checkApp(t.App)...)
	}
	if len(bad) == 0 {
		return nil
	}
	return &domain.Rejection{Code: domain.CodeInvalid, Detail: "the token has fields that cannot be accepted", Fields: bad}
}

// checkApp returns what is wrong with the id of an application. The domain
// has the rules; it tells them when an application is created.
func checkApp(app string) []domain.FieldError {
	_, err := domain.Decide(domain.State{}, domain.CreateApp{App: domain.AppID(app)})
	if r, ok := err.(*domain.Rejection); ok {
		return r.Fields
	}
	return nil
}

func roleNames() string {
	var names []string
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}
