package wire

import (
	"context"
	"errors"
	"strings"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/query"
)

// DocsPath is the page of the HTTP API that explains each code.
const DocsPath = "/docs"

// ProblemType is the media type of a Problem, of RFC 9457.
const ProblemType = "application/problem+json"

// Problem is the answer to a request that was not fulfilled, as RFC 9457
// describes it, with a stable code and the fields that are wrong.
type Problem struct {
	Type   string       `json:"type" doc:"Where the code is explained"`
	Title  string       `json:"title" doc:"What the code means, the same each time"`
	Status int          `json:"status" doc:"The status of the answer"`
	Detail string       `json:"detail,omitempty" doc:"What happened, to which thing, and what to do"`
	Code   domain.Code  `json:"code" doc:"Stable name of the problem, for programs"`
	Errors []FieldError `json:"errors,omitempty" doc:"The fields that cannot be accepted"`
}

// FieldError tells what is wrong with one field or parameter.
type FieldError struct {
	Field  string      `json:"field" doc:"Public name of the field, parameter or header"`
	Code   domain.Code `json:"code" doc:"Stable name of what is wrong, for programs"`
	Detail string      `json:"detail" doc:"What is expected"`
}

// Error makes a Problem an error that a handler may return.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// Problem makes a Problem of a code.
func (c Codes) Problem(code domain.Code, detail string, fields ...FieldError) *Problem {
	m := c.MeaningOf(code)
	return &Problem{Type: DocsPath + "#" + string(code), Title: m.Title, Status: m.Status, Detail: detail, Code: code, Errors: fields}
}

// Rejected turns a refusal into a Problem.
func (c Codes) Rejected(r *domain.Rejection) *Problem {
	return c.Problem(r.Code, r.Detail, c.fieldErrors(r.Fields)...)
}

// fieldErrors gives the fields the names that they have in the transport.
func (c Codes) fieldErrors(fields []domain.FieldError) []FieldError {
	out := make([]FieldError, len(fields))
	for i, f := range fields {
		if f.Field == "command_id" {
			f.Field = c.commandID
		}
		out[i] = FieldError{Field: f.Field, Code: f.Code, Detail: f.Detail}
	}
	return out
}

// Of turns the error of a use case into a Problem. What is not expected is told to nobody; ctx is
// that of the request, whose end is no fault.
//
// A fault is for the operators of the service to know: log err with it. It is an error of this
// program when its code is CodeInternal, else something that the service needs cannot be reached.
func (c Codes) Of(ctx context.Context, err error) (p *Problem, fault bool) {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p, false
	}
	if r, ok := errors.AsType[*domain.Rejection](err); ok {
		return c.Rejected(r), false
	}
	if u, ok := errors.AsType[*query.UnreadyError](err); ok {
		return c.Problem(CodeNotCaughtUp, u.Error()), false
	}
	switch {
	case errors.Is(err, access.ErrForbidden):
		return c.Problem(CodeForbidden, ForbiddenDetail(err)), false
	case errors.Is(err, access.ErrUnavailable):
		return c.Problem(CodeUnavailable, "the tokens cannot be reached; repeat the request in a moment"), true
	case errors.Is(err, eventstore.ErrUnknownOutcome):
		return c.Problem(CodeOutcomeUnknown, "the log did not answer, so the command may or may not have been executed; repeat it with the same "+c.commandID+" to find out"), false
	case errors.Is(err, query.ErrHalted):
		return c.Problem(CodeNotCaughtUp, "the list has halted before min_position, and goes on once an operator has seen to it; /readyz says where it stands and why"), false
	case errors.Is(err, query.ErrNotCaughtUp):
		return c.Problem(CodeNotCaughtUp, "the list has not reached min_position in time; read again in a moment"), false
	case errors.Is(err, audit.ErrNotReached):
		return c.Problem(CodeNotCaughtUp, "the log has not reached min_position in time; read again in a moment"), false
	case errors.Is(err, query.ErrUnavailable):
		return c.Problem(CodeUnavailable, "the account list cannot be reached; repeat the request in a moment"), true
	case errors.Is(err, eventstore.ErrConflict):
		return c.Problem(CodeUnavailable, "too many writers at once changed the same thing; nothing was written, repeat the command"), false
	case ctx.Err() != nil && errors.Is(err, ctx.Err()), errors.Is(err, context.Canceled):
		return c.Problem(CodeClientGone, "the request was given up"), false
	case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return c.Problem(CodeUnavailable, "the log cannot be reached; nothing was written, repeat the request in a moment"), true
	}
	return c.Problem(CodeInternal, "the service failed; its log tells why"), true
}

// ForbiddenDetail tells what an error of package access says that a token does not allow.
func ForbiddenDetail(err error) string {
	return strings.TrimPrefix(err.Error(), access.ErrForbidden.Error()+": ")
}
