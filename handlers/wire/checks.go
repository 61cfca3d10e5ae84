package wire

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"rollcall/domain"
)

// Checks collects what is wrong with the fields of a body.
type Checks []domain.FieldError

// Add says what is wrong with a field.
func (c *Checks) Add(field string, code domain.Code, format string, args ...any) {
	*c = append(*c, domain.FieldError{Field: PublicName(field), Code: code, Detail: fmt.Sprintf(format, args...)})
}

// PublicName shortens a name that came from outside, so that an answer does not
// grow with it.
func PublicName(name string) string {
	const most = 64
	if len(name) <= most {
		return name
	}
	cut := most
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + "…"
}

// Err refuses the thing if anything is wrong with its fields. Error: *domain.Rejection.
func (c Checks) Err(thing string) error {
	if len(c) == 0 {
		return nil
	}
	return &domain.Rejection{Code: domain.CodeInvalid, Detail: thing + " has fields that cannot be accepted", Fields: c}
}

// Invalid refuses one field.
func Invalid(thing, field string, code domain.Code, format string, args ...any) error {
	return &domain.Rejection{
		Code: domain.CodeInvalid, Detail: thing + " has fields that cannot be accepted",
		Fields: []domain.FieldError{{Field: field, Code: code, Detail: fmt.Sprintf(format, args...)}},
	}
}

// Refuse is an error of a code, such as those that only transports give.
func Refuse(code domain.Code, format string, args ...any) error {
	return &domain.Rejection{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Quoted writes a name from outside for people.
func Quoted(name string) string { return strconv.Quote(PublicName(strings.ToValidUTF8(name, "�"))) }
