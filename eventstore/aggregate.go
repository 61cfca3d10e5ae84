package eventstore

import (
	"errors"
	"fmt"
	"strings"
)

// Kind tells what an aggregate is.
type Kind string

// The kinds of aggregates.
const (
	KindApp     Kind = "app"    // an application
	KindAdmins  Kind = "admins" // an application's roster of administrators
	KindAccount Kind = "u"      // one account of an application
	KindErased  Kind = "erased" // what is recorded of the erasure of one account
)

// subjectPrefix begins the subject of every event in the log.
const subjectPrefix = "accounts.evt."

// AllSubjects matches the subject of every event in the log.
const AllSubjects = subjectPrefix + ">"

// ErasedSubjects matches the subjects of what is recorded of the erasures of one application.
func ErasedSubjects(app string) string { return subjectPrefix + app + "." + string(KindErased) + ".*" }

// AppSubjects matches the subjects of the events of one application.
func AppSubjects(app string) string { return subjectPrefix + app + ".>" }

// StoredPrefix begins the subject on which the server tells of a message once it is in a stream, before the subject that the
// message was published on. What is published may still be refused; what is told of there is not.
const StoredPrefix = "stored."

// AggregateID names one aggregate: the unit that an append guards. The zero
// value names nothing and is refused by Store.Append.
type AggregateID struct {
	App  string
	Kind Kind
	Name string // the user id of an account, empty for an application and its roster
}

// Account names the aggregate of one account.
func Account(app, userID string) AggregateID {
	return AggregateID{App: app, Kind: KindAccount, Name: userID}
}

// Erased names the aggregate of what is recorded of the erasure of the accounts that had a user id. It has a subject of its own, so that
// the revision of an account that is created again is not moved by the erasure of the one before.
func Erased(app, userID string) AggregateID {
	return AggregateID{App: app, Kind: KindErased, Name: userID}
}

// Admins names the aggregate that holds an application's roster of administrators.
func Admins(app string) AggregateID { return AggregateID{App: app, Kind: KindAdmins} }

// App names the aggregate of an application.
func App(app string) AggregateID { return AggregateID{App: app, Kind: KindApp} }

// escaper writes the bytes that have a meaning in a subject as %XX.
var escaper = strings.NewReplacer("%", "%25", ".", "%2E", "*", "%2A", ">", "%3E")

// Token writes a name as one token of a subject: the bytes . * > and % become %2E, %2A, %3E and %25.
func Token(name string) string { return escaper.Replace(name) }

// Subject returns the exact subject that the aggregate's events are published
// on. It is unambiguous: ParseSubject returns the same id.
func (id AggregateID) Subject() string {
	s := subjectPrefix + id.App + "." + string(id.Kind)
	if id.Kind.named() {
		s += "." + Token(id.Name)
	}
	return s
}

func (id AggregateID) String() string {
	switch id.Kind {
	case KindAccount:
		return id.App + "/" + id.Name
	case KindErased:
		return "the erasure of " + id.App + "/" + id.Name
	}
	return id.App + "/" + string(id.Kind)
}

// named tells whether an aggregate of the kind is of one user id.
func (k Kind) named() bool { return k == KindAccount || k == KindErased }

// IsZero tells whether the id names nothing.
func (id AggregateID) IsZero() bool { return id == AggregateID{} }

// ErrSubject means that a subject names no aggregate.
var ErrSubject = errors.New("subject names no aggregate")

// ParseSubject returns the aggregate whose events are published on subject, or
// an error that is ErrSubject.
func ParseSubject(subject string) (AggregateID, error) {
	rest, ok := strings.CutPrefix(subject, subjectPrefix)
	if !ok {
		return AggregateID{}, fmt.Errorf("%w: %q", ErrSubject, subject)
	}
	app, rest, _ := strings.Cut(rest, ".")
	kind, name, named := strings.Cut(rest, ".")
	id := AggregateID{App: app, Kind: Kind(kind)}
	switch id.Kind {
	case KindApp, KindAdmins:
		if app == "" || named {
			return AggregateID{}, fmt.Errorf("%w: %q", ErrSubject, subject)
		}
	case KindAccount, KindErased:
		id.Name, ok = unescape(name)
		if app == "" || name == "" || !ok {
			return AggregateID{}, fmt.Errorf("%w: %q", ErrSubject, subject)
		}
	default:
		return AggregateID{}, fmt.Errorf("%w: %q", ErrSubject, subject)
	}
	return id, nil
}

// unescape undoes escaper and refuses any other use of %.
func unescape(s string) (string, bool) {
	if !strings.ContainsAny(s, "%.*>") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '.', '*', '>':
			return "", false
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			switch s[i : i+3] {
			case "%25":
				b.WriteByte('%')
			case "%2E":
				b.WriteByte('.')
			case "%2A":
				b.WriteByte('*')
			case "%3E":
				b.WriteByte('>')
			default:
				return "", false
			}
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}
