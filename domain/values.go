package domain

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// AppID names an application: 1 to 32 of a-z, 0-9 and -, not starting with -.
type AppID string

// UserID names an account within its application: 1 to 32 bytes of printable
// ASCII without space, case-sensitive, not starting with @RBT# or @TOA#.
type UserID string

// Valid tells whether the id keeps to its form.
func (id AppID) Valid() bool {
	var c checks
	c.appID(id)
	return len(c) == 0
}

// Valid tells whether the id keeps to its form.
func (id UserID) Valid() bool {
	var c checks
	c.userID(id)
	return len(c) == 0
}

// AccountType is the type of an account. It never changes.
type AccountType string

// The types of accounts.
const (
	TypeNormal AccountType = "normal"
	TypeAdmin  AccountType = "admin"
)

// Gender is a profile's gender. The zero value is unset.
type Gender string

// AllowType tells how friend requests are verified. The zero value is unset.
type AllowType string

// AdminForbidType tells whether an administrator has forbidden the account to
// add friends. The zero value is unset.
type AdminForbidType string

// The values of the enumerations.
const (
	GenderUnknown Gender = "unknown"
	GenderFemale  Gender = "female"
	GenderMale    Gender = "male"

	AllowNeedConfirm AllowType = "need_confirm"
	AllowAny         AllowType = "allow_any"
	AllowDenyAny     AllowType = "deny_any"

	ForbidNone    AdminForbidType = "none"
	ForbidSendOut AdminForbidType = "send_out"
)

// Number is an optional 32-bit number: unset differs from zero. The zero value
// is unset.
type Number struct {
	Value uint32
	Set   bool
}

// Num returns the Number that is set to v.
func Num(v uint32) Number { return Number{Value: v, Set: true} }

// Limits of values, in bytes.
const (
	MaxAppIDBytes    = 32
	MaxUserIDBytes   = 32
	MaxTextBytes     = 500 // nickname, face_url, self_signature
	MaxLocationBytes = 16
	MaxAppNameBytes  = 200

	// DefaultMaxAdmins is an application's limit of administrators unless it sets
	// its own, at most HighestMaxAdmins.
	DefaultMaxAdmins = 10
	HighestMaxAdmins = 1000
)

func (c *checks) appID(id AppID) {
	switch {
	case id == "":
		c.add("app", CodeRequired, "name the application")
	case len(id) > MaxAppIDBytes:
		c.add("app", CodeTooLong, "at most %d characters", MaxAppIDBytes)
	case id[0] == '-' || strings.Trim(string(id), "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		c.add("app", CodeBadValue, "only a-z, 0-9 and -, not starting with -")
	}
}

func (c *checks) userID(id UserID) {
	switch {
	case id == "":
		c.add("user_id", CodeRequired, "name the account")
	case len(id) > MaxUserIDBytes:
		c.add("user_id", CodeTooLong, "at most %d bytes", MaxUserIDBytes)
	case strings.ContainsFunc(string(id), func(r rune) bool { return r < 0x21 || r > 0x7e }):
		c.add("user_id", CodeBadValue, "only printable ASCII without space")
	case strings.HasPrefix(string(id), "@RBT#") || strings.HasPrefix(string(id), "@TOA#"):
		c.add("user_id", CodeBadValue, "must not start with @RBT# or @TOA#, which are reserved")
	}
}

func (c *checks) accountType(t AccountType) {
	switch t {
	case TypeNormal, TypeAdmin:
	default:
		c.add("type", CodeBadValue, "one of normal, admin")
	}
}

func (c *checks) text(f string, s string, most int) {
	switch {
	case len(s) > most:
		c.add(f, CodeTooLong, "at most %d bytes, this has %d", most, len(s))
	case !utf8.ValidString(s):
		c.add(f, CodeBadValue, "must be valid UTF-8")
	case strings.ContainsRune(s, 0):
		c.add(f, CodeBadValue, "must not contain the character U+0000")
	}
}

func (c *checks) webURL(f string, s string) {
	before := len(*c)
	c.text(f, s, MaxTextBytes)
	if s == "" || len(*c) > before {
		return
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		c.add(f, CodeBadValue, "must be an absolute http or https URL")
	}
}

func (c *checks) date(f string, d uint32) {
	if d == 0 {
		return
	}
	year, month, day := int(d/10000), time.Month(d/100%100), int(d%100)
	if year < 1 || year > 9999 || time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Format("20060102") != formatDate(d) {
		c.add(f, CodeBadValue, "must be a real date written YYYYMMDD")
	}
}

// formatDate writes d with eight digits.
func formatDate(d uint32) string {
	var b [8]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + d%10)
		d /= 10
	}
	return string(b[:])
}

// oneOf accepts the zero value, which is unset.
func oneOf[T ~string](c *checks, f string, v T, allowed ...T) {
	if v == "" {
		return
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		if v == a {
			return
		}
		names[i] = string(a)
	}
	c.add(f, CodeBadValue, "one of %s", strings.Join(names, ", "))
}
