package httpapi

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
)

// Problem is the answer to a request that was not fulfilled, as RFC 9457
// describes it, with a stable code and the fields that are wrong.
type Problem struct {
	Type   string       `json:"type" doc:"Where the code is explained"`
	Title  string       `json:"title" doc:"What the code means, the same each time"`
	Status int          `json:"status" doc:"The status of the answer"`
	Detail string       `json:"detail,omitempty" doc:"What happened, to which thing, and what to do"`
	Code   domain.Code  `json:"code" doc:"Stable name of the problem, for programs"`
	Errors []FieldError `json:"errors,omitempty" doc:"The fields that cannot be accepted"`

	headers http.Header
}

// FieldError tells what is wrong with one field or parameter.
type FieldError struct {
	Field  string      `json:"field" doc:"Public name of the field, parameter or header"`
	Code   domain.Code `json:"code" doc:"Stable name of what is wrong, for programs"`
	Detail string      `json:"detail" doc:"What is expected"`
}

// Error makes a Problem an error that a handler may return.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus returns the status of the answer.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders returns headers that the answer carries.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType returns the media type of RFC 9457.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// Codes that only the HTTP API gives. Those of the domain and the use cases come
// as they are.
const (
	codeMalformedBody   domain.Code = "malformed_body"
	codeMalformedQuery  domain.Code = "malformed_query"
	codeMalformedHeader domain.Code = "malformed_header"
	codeInvalidCursor   domain.Code = "invalid_cursor"
	codeUnauthenticated domain.Code = "unauthenticated"
	codeForbidden       domain.Code = "forbidden"
	codeNotFound        domain.Code = "not_found"
	codeMethod          domain.Code = "method_not_allowed"
	codeTimeout         domain.Code = "request_timeout"
	codeTooLarge        domain.Code = "body_too_large"
	codeMediaType       domain.Code = "unsupported_media_type"
	codeClientGone      domain.Code = "client_gone"
	codeInternal        domain.Code = "internal"
	codeNotCaughtUp     domain.Code = "not_caught_up"
	codeUnavailable     domain.Code = "unavailable"
	codeOutcomeUnknown  domain.Code = "outcome_unknown"
	codeStopping        domain.Code = "stopping"
	codeMalformedRow    domain.Code = "malformed_row"

	// Codes of downloads, which package files answers with.
	codeInvalidSignature domain.Code = "invalid_signature"
	codeURLExpired       domain.Code = "url_expired"
	codeExportExpired    domain.Code = "export_expired"
	codeStoreUnavailable domain.Code = "store_unavailable"

	// Codes of a single field.
	codeReadOnly  domain.Code = "read_only"
	codeDuplicate domain.Code = "duplicate"
)

// meaning is what a code says in general.
type meaning struct {
	Code   domain.Code `json:"code"`
	Status int         `json:"status"`
	Title  string      `json:"title"`
}

// statusClientGone is for the request log only: nobody is there to read it.
const statusClientGone = 499

// meanings returns every code that a problem may have, in alphabetical order. The
// documentation shows it.
func meanings() []meaning {
	all := []meaning{
		{codeMalformedBody, 400, "The body cannot be read"},
		{codeMalformedRow, 400, "A row of an import cannot be read"},
		{codeMalformedQuery, 400, "The query cannot be read"},
		{codeMalformedHeader, 400, "A header cannot be read"},
		{codeInvalidCursor, 400, "The cursor is not one that this list gave"},
		{codeUnauthenticated, 401, "A valid token is needed"},
		{codeForbidden, 403, "The token does not allow this"},
		{codeInvalidSignature, 403, "The URL is not one that was given out"},
		{codeURLExpired, 403, "The URL has expired"},
		{codeNotFound, 404, "There is nothing at this path"},
		{domain.CodeAppNotFound, 404, "There is no such application"},
		{domain.CodeAccountNotFound, 404, "There is no such account"},
		{export.CodeNotFound, 404, "There is no such export"},
		{access.CodeTokenNotFound, 404, "There is no such token"},
		{codeMethod, 405, "The path does not take this method"},
		{codeTimeout, 408, "The body did not arrive in time"},
		{domain.CodeAppExists, 409, "The application exists already"},
		{domain.CodeAccountExists, 409, "The account exists already"},
		{domain.CodeAdminLimitReached, 409, "The application has all of its administrators"},
		{domain.CodeAdminsOverLimit, 409, "The application has more administrators than that"},
		{command.CodeCommandIDReused, 409, "The Idempotency-Key belongs to another command"},
		{export.CodeFinished, 409, "The export is over"},
		{codeExportExpired, 410, "The file of the export has been removed"},
		{domain.CodeRevisionMismatch, 412, "The account has changed"},
		{codeTooLarge, 413, "The body is too large"},
		{codeMediaType, 415, "The body is of a type that is not understood"},
		{domain.CodeInvalid, 422, "Fields cannot be accepted"},
		{domain.CodeImmutable, 422, "A field never changes"},
		{codeClientGone, statusClientGone, "The client went away"},
		{codeInternal, 500, "The service failed"},
		{codeNotCaughtUp, 503, "The list has not reached the position yet"},
		{codeUnavailable, 503, "The service cannot do this now"},
		{codeOutcomeUnknown, 503, "It is not known whether the command was executed"},
		{codeStoreUnavailable, 503, "The file cannot be read now"},
		{codeStopping, 503, "The service is stopping"},
	}
	slices.SortFunc(all, func(a, b meaning) int { return cmp.Compare(a.Code, b.Code) })
	return all
}

// meaningOf finds the meaning of a code. A code that is not listed means a
// refusal, or that something was not found if it says so.
func (c codes) meaningOf(code domain.Code) meaning {
	if m, ok := c[code]; ok {
		return m
	}
	if strings.HasSuffix(string(code), "_not_found") {
		return meaning{Code: code, Status: http.StatusNotFound, Title: "There is no such thing"}
	}
	return meaning{Code: code, Status: http.StatusConflict, Title: "The request is refused"}
}

// codes holds the meanings by code.
type codes map[domain.Code]meaning

func newCodes() codes {
	c := make(codes)
	for _, m := range meanings() {
		c[m.Code] = m
	}
	return c
}

// problem makes a Problem of a code.
func (c codes) problem(code domain.Code, detail string, fields ...FieldError) *Problem {
	m := c.meaningOf(code)
	p := &Problem{Type: docsPath + "#" + string(code), Title: m.Title, Status: m.Status, Detail: detail, Code: code, Errors: fields}
	switch m.Status {
	case http.StatusUnauthorized:
		p.headers = http.Header{"Www-Authenticate": {`Bearer realm="rollcall"`}}
	case http.StatusServiceUnavailable:
		p.headers = http.Header{"Retry-After": {"1"}}
	}
	return p
}
