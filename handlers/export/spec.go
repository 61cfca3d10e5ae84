package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rollcall/domain"
)

// Spec tells which accounts of an application a file holds and how.
type Spec struct {
	App    domain.AppID
	Format Format
	// UserIDs names the accounts; those that do not exist are left out. Nil for all that the filter
	// lets through. In a list of jobs it is nil where it is long: see UserCount.
	UserIDs []domain.UserID
	Filter  domain.Filter
	// Fields are the columns in the order given, all in the order of the contract when empty.
	Fields      []domain.Field
	Compression Compression // empty for none
	// AsOf is the moment that the file shows, when it is not the present one. What is deleted since is left out.
	AsOf Moment

	// UserCount is the number of UserIDs. It is set by the service.
	UserCount int
}

// Moment is a place in the log, told by its position or by a time. The zero value is none. Of one in a job both are known that
// were told, and the position always.
type Moment struct {
	Position uint64
	Time     time.Time
}

// IsZero tells whether it names nothing.
func (m Moment) IsZero() bool { return m.Position == 0 && m.Time.IsZero() }

// same tells whether two moments were told alike.
func (m Moment) same(n Moment) bool {
	return m.Time.Equal(n.Time) && (!m.Time.IsZero() || m.Position == n.Position)
}

// normalize fills in what is left out and returns a *domain.Rejection that names
// each field that cannot be accepted.
func (s Spec) normalize() (Spec, error) {
	if len(s.Fields) == 0 {
		s.Fields = slices.Collect(domain.AllFields.All())
	}
	if s.Compression == "" {
		s.Compression = NoCompression
	}
	s.UserCount = len(s.UserIDs)
	var bad []domain.FieldError
	add := func(field string, code domain.Code, format string, args ...any) {
		bad = append(bad, domain.FieldError{Field: field, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	if s.App == "" {
		add("app", domain.CodeRequired, "name the application")
	}
	s.checkForm(add)
	s.checkUsers(add)
	if err := (domain.Selection{App: s.App, UserIDs: s.UserIDs, Filter: s.Filter}).Check(); err != nil {
		r, ok := err.(*domain.Rejection)
		if !ok {
			return Spec{}, err
		}
		bad = append(bad, r.Fields...)
	}
	if len(bad) > 0 {
		return Spec{}, &domain.Rejection{Code: domain.CodeInvalid, Detail: "the export has fields that cannot be accepted", Fields: bad}
	}
	return s, nil
}

type addError func(field string, code domain.Code, format string, args ...any)

// checkForm checks how the file is to be written.
func (s Spec) checkForm(add addError) {
	switch {
	case s.Format == "":
		add("format", domain.CodeRequired, oneOf(Formats()))
	case !slices.Contains(Formats(), s.Format):
		add("format", domain.CodeBadValue, oneOf(Formats()))
	case !slices.Contains(Compressions(), s.Compression):
		add("compression", domain.CodeBadValue, oneOf(Compressions()))
	case !s.Format.allows(s.Compression):
		add("compression", domain.CodeBadValue, "only none with %s, which is compressed already", s.Format)
	}
	var seen domain.Fields
	for _, f := range s.Fields {
		switch {
		case !domain.AllFields.Has(f):
			add("fields", domain.CodeUnknownField, "there is no field number %d", f)
		case seen.Has(f):
			add("fields", domain.CodeBadValue, "%s is named twice", f)
		}
		seen = seen.With(f)
	}
}

// checkUsers checks the form of the user ids; an account that does not exist is no error.
func (s Spec) checkUsers(add addError) {
	if s.UserIDs != nil && len(s.UserIDs) == 0 {
		add("user_ids", domain.CodeRequired, "name at least one account, or leave user_ids out for all")
	}
	for i, id := range s.UserIDs {
		if id == "" || len(id) > domain.MaxUserIDBytes || strings.ContainsFunc(string(id), func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			add("user_ids", domain.CodeBadValue, "number %d is no user id: 1 to %d bytes of printable ASCII without space", i+1, domain.MaxUserIDBytes)
			return
		}
	}
}

// equal tells whether two normalized specs ask for the same.
func (s Spec) equal(t Spec) bool {
	return s.App == t.App && s.Format == t.Format && s.Compression == t.Compression && s.AsOf.same(t.AsOf) && s.Filter == t.Filter &&
		slices.Equal(s.UserIDs, t.UserIDs) && slices.Equal(s.Fields, t.Fields)
}
