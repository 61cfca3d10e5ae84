package domain

import (
	"fmt"
	"strings"
)

// Code is the stable name of a reason to refuse a command. It is an error, so
// that errors.Is(err, domain.CodeAccountExists) tells the reason of a Rejection.
type Code string

// The codes of rejections.
const (
	CodeInvalid           Code = "validation_failed"
	CodeImmutable         Code = "immutable_field"
	CodeAccountExists     Code = "account_exists"
	CodeAccountNotFound   Code = "account_not_found"
	CodeAdminLimitReached Code = "admin_limit_reached"
	CodeRevisionMismatch  Code = "revision_mismatch"
	CodeAppExists         Code = "app_exists"
	CodeAppNotFound       Code = "app_not_found"
	CodeAdminsOverLimit   Code = "admins_over_limit"

	// Codes of a single field.
	CodeRequired     Code = "required"
	CodeTooLong      Code = "too_long"
	CodeBadValue     Code = "invalid_value"
	CodeUnknownField Code = "unknown_field"
)

func (c Code) Error() string { return string(c) }

// FieldError tells what is wrong with one field.
type FieldError struct {
	Field  string // public name
	Code   Code
	Detail string // for people: what is expected
}

// Rejection is the error of a command that is refused. A refused command
// leaves nothing behind.
type Rejection struct {
	Code   Code
	Detail string // for people: what happened, to which thing, what to do
	Fields []FieldError
}

func (r *Rejection) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", r.Code, r.Detail)
	for _, f := range r.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Field, f.Detail)
	}
	return b.String()
}

// Unwrap returns the code, for errors.Is.
func (r *Rejection) Unwrap() error { return r.Code }

func reject(code Code, format string, args ...any) error {
	return &Rejection{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// checks collects what is wrong with the fields of a command.
type checks []FieldError

func (c *checks) add(f string, code Code, format string, args ...any) {
	*c = append(*c, FieldError{Field: f, Code: code, Detail: fmt.Sprintf(format, args...)})
}

// err returns nil when nothing is wrong.
func (c checks) err(thing string) error {
	if len(c) == 0 {
		return nil
	}
	return &Rejection{Code: CodeInvalid, Detail: thing + " has fields that cannot be accepted", Fields: c}
}
