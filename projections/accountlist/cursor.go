package accountlist

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"rollcall/domain"
)

// CodeInvalidCursor rejects a cursor that is broken or belongs to another list.
const CodeInvalidCursor domain.Code = "invalid_cursor"

// Key is the place of an account in every order of a list. It stays a place when the
// account is gone.
type Key struct {
	CreatedAt time.Time
	Nickname  string
	UserID    domain.UserID
}

// KeyOf returns the place of an account.
func KeyOf(a domain.Account) Key {
	return Key{CreatedAt: a.CreatedAt, Nickname: a.Profile.Nickname, UserID: a.UserID}
}

// Compare compares two places: negative when a comes first in ascending order.
// Text is compared byte by byte, which is the order of code points; accounts that are
// equal in the sort are ordered by user id. Descending order is exactly the reverse.
func Compare(sort domain.Sort, a, b Key) int {
	c := 0
	switch sort {
	case domain.SortCreatedAt:
		c = a.CreatedAt.Compare(b.CreatedAt)
	case domain.SortNickname:
		c = strings.Compare(a.Nickname, b.Nickname)
	}
	return cmp.Or(c, strings.Compare(string(a.UserID), string(b.UserID)))
}

// A cursor is, in base64url without padding: the version, a fingerprint of the list
// that it belongs to, the user id after its length, and the value that the list is sorted by.
const (
	cursorVersion    = 1
	fingerprintBytes = 8
	maxCursorChars   = 1024
)

// fingerprint tells lists apart whose pages must not be mixed.
func fingerprint(l domain.Listing) [fingerprintBytes]byte {
	h := sha256.New()
	for _, s := range []string{string(l.App), string(l.Filter.Type), l.Filter.Text, string(l.Sort), string(l.Order)} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	if l.AsOf != 0 {
		h.Write(binary.AppendUvarint(nil, l.AsOf))
	}
	return [fingerprintBytes]byte(h.Sum(nil))
}

// Cursor returns the cursor of the page that follows the account at k in the
// list l, which is normalized. Its limit and cursor do not matter.
func (k Key) Cursor(l domain.Listing) string {
	fp := fingerprint(l)
	b := append([]byte{cursorVersion}, fp[:]...)
	b = append(b, byte(len(k.UserID)))
	b = append(b, k.UserID...)
	switch l.Sort {
	case domain.SortCreatedAt:
		b = binary.BigEndian.AppendUint64(b, uint64(k.CreatedAt.UnixNano()))
	case domain.SortNickname:
		b = append(b, k.Nickname...)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// After returns the place that the page asked for comes after; ok is false for
// the first page. The listing is normalized. A cursor that is broken or belongs to another
// list is a *domain.Rejection with CodeInvalidCursor.
func After(l domain.Listing) (k Key, ok bool, err error) {
	if l.Cursor == "" {
		return Key{}, false, nil
	}
	if len(l.Cursor) > maxCursorChars {
		return Key{}, false, invalidCursor()
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(l.Cursor)
	if err != nil || strings.ContainsAny(l.Cursor, "\r\n") || len(b) < 1+fingerprintBytes+1 || b[0] != cursorVersion ||
		[fingerprintBytes]byte(b[1:]) != fingerprint(l) {
		return Key{}, false, invalidCursor()
	}
	b = b[1+fingerprintBytes:]
	n := int(b[0])
	b = b[1:]
	if n == 0 || n > domain.MaxUserIDBytes || n > len(b) {
		return Key{}, false, invalidCursor()
	}
	k.UserID = domain.UserID(b[:n])
	if !k.readSort(l.Sort, b[n:]) || !clean(string(k.UserID)) {
		return Key{}, false, invalidCursor()
	}
	return k, true, nil
}

// readSort reads the value that the list is sorted by and tells whether it can be one.
func (k *Key) readSort(sort domain.Sort, b []byte) bool {
	switch sort {
	case domain.SortCreatedAt:
		if len(b) != 8 {
			return false
		}
		k.CreatedAt = time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
		return true
	case domain.SortNickname:
		k.Nickname = string(b)
		return len(b) <= domain.MaxTextBytes && clean(k.Nickname)
	}
	return len(b) == 0
}

// clean tells whether every database takes the text.
func clean(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func invalidCursor() error {
	const detail = "take it unchanged from next_cursor of the page before, with the same type, q, sort, order and as_of; or leave it out to begin again"
	return &domain.Rejection{
		Code:   CodeInvalidCursor,
		Detail: "the cursor is broken or belongs to another list",
		Fields: []domain.FieldError{{Field: "cursor", Code: CodeInvalidCursor, Detail: detail}},
	}
}
