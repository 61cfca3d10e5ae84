package wire

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
	"rollcall/handlers/intake"
	"rollcall/handlers/webhook"
)

// Codes that only transports give. Those of the domain and the use cases come as they are.
const (
	CodeMalformedBody    domain.Code = "malformed_body"
	CodeMalformedQuery   domain.Code = "malformed_query"
	CodeMalformedHeader  domain.Code = "malformed_header"
	CodeInvalidCursor    domain.Code = "invalid_cursor"
	CodeUnauthenticated  domain.Code = "unauthenticated"
	CodeForbidden        domain.Code = "forbidden"
	CodeNotFound         domain.Code = "not_found"
	CodeMethod           domain.Code = "method_not_allowed"
	CodeTimeout          domain.Code = "request_timeout"
	CodeTooLarge         domain.Code = "body_too_large"
	CodeMediaType        domain.Code = "unsupported_media_type"
	CodeClientGone       domain.Code = "client_gone"
	CodeInternal         domain.Code = "internal"
	CodeNotCaughtUp      domain.Code = "not_caught_up"
	CodeUnavailable      domain.Code = "unavailable"
	CodeOutcomeUnknown   domain.Code = "outcome_unknown"
	CodeStopping         domain.Code = "stopping"
	CodeListNotFound     domain.Code = "list_not_found"
	CodeListInUse        domain.Code = "list_in_use"
	CodeListsUnsupported domain.Code = "lists_unsupported"
	CodeAsOfTooLarge     domain.Code = "as_of_too_large"
	CodeMalformedRow     domain.Code = "malformed_row"
	CodeConsumerExists   domain.Code = "consumer_exists"
	CodeConsumerLimit    domain.Code = "consumer_limit_reached"

	// Codes of downloads, which package files answers with.
	CodeInvalidSignature domain.Code = "invalid_signature"
	CodeURLExpired       domain.Code = "url_expired"
	CodeExportExpired    domain.Code = "export_expired"
	CodeStoreUnavailable domain.Code = "store_unavailable"

	// Codes of a single field.
	CodeReadOnly  domain.Code = "read_only"
	CodeDuplicate domain.Code = "duplicate"
)

// StatusClientGone is for logs only: nobody is there to read it.
const StatusClientGone = 499

// Meaning is what a code says in general. Its status is one of HTTP, which RFC 9457 makes part
// of a problem, whatever carries it.
type Meaning struct {
	Code   domain.Code `json:"code"`
	Status int         `json:"status"`
	Title  string      `json:"title"`
}

// Codes knows what codes mean, in the words of one transport. It is made by NewCodes, and safe
// for concurrent use.
type Codes struct {
	meanings  map[domain.Code]Meaning
	commandID string
}

// NewCodes returns the codes for a transport in which commandID is what a client calls the id of
// its command: the field or header that it is sent in.
func NewCodes(commandID string) Codes {
	c := Codes{meanings: make(map[domain.Code]Meaning), commandID: commandID}
	for _, m := range []Meaning{
		{CodeMalformedBody, 400, "The body cannot be read"},
		{CodeMalformedRow, 400, "A row of an import cannot be read"},
		{CodeMalformedQuery, 400, "The query cannot be read"},
		{CodeMalformedHeader, 400, "A header cannot be read"},
		{CodeInvalidCursor, 400, "The cursor is not one that this list gave"},
		{CodeUnauthenticated, 401, "A valid token is needed"},
		{CodeForbidden, 403, "The token does not allow this"},
		{CodeInvalidSignature, 403, "The URL is not one that was given out"},
		{CodeURLExpired, 403, "The URL has expired"},
		{CodeNotFound, 404, "There is nothing at this path"},
		{domain.CodeAppNotFound, 404, "There is no such application"},
		{domain.CodeAccountNotFound, 404, "There is no such account"},
		{export.CodeNotFound, 404, "There is no such export"},
		{intake.CodeNoOutcome, 404, "Nothing is known of the command"},
		{intake.CodeNoDeadLetter, 404, "There is no such dead command"},
		{access.CodeTokenNotFound, 404, "There is no such token"},
		{CodeListNotFound, 404, "There is no such account list"},
		{CodeConsumerExists, 409, "The consumer reads something else"},
		{CodeConsumerLimit, 409, "The token has all of its consumers"},
		{CodeListInUse, 409, "The account list is in use"},
		{CodeListsUnsupported, 409, "The account list cannot be built beside itself"},
		{audit.CodeNoEvent, 404, "No event is about such an account"},
		{audit.CodeErased, 410, "What the account held has been erased"},
		{CodeAsOfTooLarge, 422, "There is no room for the list as it was"},
		{audit.CodeFuture, 422, "The log has not reached that position"},
		{CodeMethod, 405, "The path does not take this method"},
		{CodeTimeout, 408, "The body did not arrive in time"},
		{domain.CodeAppExists, 409, "The application exists already"},
		{domain.CodeAccountExists, 409, "The account exists already"},
		{domain.CodeAdminLimitReached, 409, "The application has all of its administrators"},
		{domain.CodeAdminsOverLimit, 409, "The application has more administrators than that"},
		{command.CodeCommandIDReused, 409, "The " + commandID + " belongs to another command"},
		{export.CodeFinished, 409, "The export is over"},
		{export.CodeQuota, 409, "The application has all of its exports"},
		{webhook.CodeNotFound, 404, "There is no such webhook"},
		{webhook.CodeDeliveryNotFound, 404, "There is no such delivery"},
		{webhook.CodeLimit, 409, "The application has all of its webhooks"},
		{webhook.CodeDisabled, 409, "The webhook is disabled"},
		{CodeExportExpired, 410, "The file of the export has been removed"},
		{domain.CodeRevisionMismatch, 412, "The account has changed"},
		{CodeTooLarge, 413, "The body is too large"},
		{CodeMediaType, 415, "The body is of a type that is not understood"},
		{domain.CodeInvalid, 422, "Fields cannot be accepted"},
		{domain.CodeImmutable, 422, "A field never changes"},
		{CodeClientGone, StatusClientGone, "The client went away"},
		{CodeInternal, 500, "The service failed"},
		{CodeNotCaughtUp, 503, "The list has not reached the position yet"},
		{CodeUnavailable, 503, "The service cannot do this now"},
		{CodeOutcomeUnknown, 503, "It is not known whether the command was executed"},
		{intake.CodeQueueFull, 503, "Too many commands wait to be decided"},
		{CodeStoreUnavailable, 503, "The file cannot be read now"},
		{CodeStopping, 503, "The service is stopping"},
	} {
		c.meanings[m.Code] = m
	}
	return c
}

// Meanings returns every code that a problem may have, in alphabetical order. The documentation
// shows it.
func (c Codes) Meanings() []Meaning {
	return slices.SortedFunc(maps.Values(c.meanings), func(a, b Meaning) int { return cmp.Compare(a.Code, b.Code) })
}

// MeaningOf finds the meaning of a code. A code that is not listed means a refusal, or that
// something was not found if it says so.
func (c Codes) MeaningOf(code domain.Code) Meaning {
	if m, ok := c.meanings[code]; ok {
		return m
	}
	if strings.HasSuffix(string(code), "_not_found") {
		return Meaning{Code: code, Status: 404, Title: "There is no such thing"}
	}
	return Meaning{Code: code, Status: 409, Title: "The request is refused"}
}
