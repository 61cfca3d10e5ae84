package domain

import (
	"strings"
	"time"
)

// Sort is what a list of accounts is ordered by. Accounts that are equal in it are
// ordered by user id.
type Sort string

// The orders of a list.
const (
	SortCreatedAt Sort = "created_at"
	SortUserID    Sort = "user_id"
	SortNickname  Sort = "nickname"
)

// Order is the direction of a list.
type Order string

// The directions of a list.
const (
	Ascending  Order = "asc"
	Descending Order = "desc"
)

// Limits of a list.
const (
	DefaultListLimit   = 50
	MaxListLimit       = 1000
	MaxSearchTextBytes = 500
)

// Filter tells which accounts of an application are meant. The zero value
// means all.
type Filter struct {
	Type AccountType // empty for both
	Text string      // occurs in the user id or the nickname, in any case of letters
}

// Listing asks for one page of the accounts of an application.
type Listing struct {
	App    AppID
	Filter Filter
	Sort   Sort
	Order  Order
	Limit  int
	Cursor string // of the page before, empty for the first page
	AsOf   uint64 // the position that is shown, zero for the latest
}

// Page is one page of a list.
type Page struct {
	Accounts []Account
	Next     string // cursor of the next page, empty at the end
	// Total counts the accounts of the application that the filter lets
	// through. TotalIsEstimate is true where counting them would cost too much.
	Total           int
	TotalIsEstimate bool
	Position        uint64 // of the log that the page shows
}

// Normalize fills in what is left out and returns a *Rejection that names each
// field that is out of bounds.
func (l Listing) Normalize() (Listing, error) {
	var bad checks
	if l.Sort == "" {
		l.Sort = SortCreatedAt
	}
	if l.Order == "" {
		l.Order = Ascending
	}
	if l.Limit == 0 {
		l.Limit = DefaultListLimit
	}
	oneOf(&bad, "sort", l.Sort, SortCreatedAt, SortUserID, SortNickname)
	oneOf(&bad, "order", l.Order, Ascending, Descending)
	if l.Limit < 1 || l.Limit > MaxListLimit {
		bad.add("limit", CodeBadValue, "a number from 1 to %d", MaxListLimit)
	}
	l.Filter.check(&bad)
	return l, bad.err("the list")
}

func (f Filter) check(bad *checks) {
	oneOf(bad, "type", f.Type, TypeNormal, TypeAdmin)
	bad.text("q", f.Text, MaxSearchTextBytes)
}

// IsZero tells whether the filter lets every account through.
func (f Filter) IsZero() bool { return f == Filter{} }

// Matches tells whether the filter lets the account through. It is the meaning
// that every list implements.
func (f Filter) Matches(a Account) bool {
	if f.Type != "" && a.Type != f.Type {
		return false
	}
	if f.Text == "" {
		return true
	}
	t := FoldText(f.Text)
	return strings.Contains(FoldText(string(a.UserID)), t) || strings.Contains(FoldText(a.Profile.Nickname), t)
}

// FoldText returns text as searches compare it: in lower case by Unicode's
// simple rules.
func FoldText(s string) string { return strings.ToLower(s) }

// MaxSelectedIDs bounds the user ids that a Selection may name.
const MaxSelectedIDs = 10_000

// Selection tells which accounts of an application an export holds: those
// named, else those that the filter lets through.
type Selection struct {
	App     AppID
	UserIDs []UserID
	Filter  Filter
}

// Check returns a *Rejection that names each field that is out of bounds.
func (s Selection) Check() error {
	var bad checks
	if len(s.UserIDs) > MaxSelectedIDs {
		bad.add("user_ids", CodeTooLong, "at most %d", MaxSelectedIDs)
	}
	if len(s.UserIDs) > 0 && !s.Filter.IsZero() {
		bad.add("filter", CodeBadValue, "give user_ids or filter, not both")
	}
	s.Filter.check(&bad)
	return bad.err("the selection")
}

// Stretch asks for accounts of an application: those named, or else those that follow a place.
type Stretch struct {
	App     AppID
	UserIDs []UserID    // at most MaxStretch, in any order; After and Limit do not count then
	Type    AccountType // empty for both
	After   Place
	Limit   int // 1 to MaxStretch
}

// Place is where an account stands among those of its application: they are in the order of their creation, those of the same
// time in that of their user ids. It never changes, and stays a place when the account is gone. The zero value is the beginning.
type Place struct {
	CreatedAt time.Time
	UserID    UserID
}

// PlaceOf returns the place of an account.
func PlaceOf(a Account) Place { return Place{CreatedAt: a.CreatedAt, UserID: a.UserID} }

// IsZero tells whether it is the beginning.
func (p Place) IsZero() bool { return p.UserID == "" }

// MaxStretch bounds the accounts of a Chunk.
const MaxStretch = 2000

// Check returns a *Rejection that names each field that is out of bounds.
func (s Stretch) Check() error {
	var bad checks
	if len(s.UserIDs) > MaxStretch {
		bad.add("user_ids", CodeTooLong, "at most %d", MaxStretch)
	}
	if len(s.UserIDs) == 0 && (s.Limit < 1 || s.Limit > MaxStretch) {
		bad.add("limit", CodeBadValue, "1 to %d", MaxStretch)
	}
	Filter{Type: s.Type}.check(&bad)
	return bad.err("the stretch")
}

// Chunk is a stretch of a list as of exactly one position of the log.
type Chunk struct {
	Position uint64
	Accounts []Account // by place, those that are named by user id; fewer than the limit only at the end
	Total    int       // how many accounts the application has of the type
}
