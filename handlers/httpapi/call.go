package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/wire"
)

// Bounds of bodies in bytes. Imports have none.
const (
	maxCommandBody = 64 << 10
	maxListBody    = 1 << 20 // a body that lists ids
)

// call is a request on its way to a use case.
type call struct {
	handler   *Handler
	request   *http.Request
	writer    http.ResponseWriter
	principal access.Principal
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// check refuses what no operation can read, before anything else is looked at.
func (c *call) check(op *huma.Operation) error {
	if err := checkQuery(c.request.URL.RawQuery); err != nil {
		return err
	}
	if strings.Contains(op.Path, "{app}") {
		if app := pathValue(c.request.PathValue("app")); !domain.AppID(app).Valid() {
			return errNoApp(app)
		}
	}
	// A condition that is not understood must not be passed over.
	if _, takes := op.Metadata[takesIfMatch]; !takes && op.Method != http.MethodGet && c.request.Header.Get("If-Match") != "" {
		return wire.Invalid("the request", "If-Match", domain.CodeUnknownField, "this operation does not take it")
	}
	return nil
}

// takesIfMatch marks an operation that looks at If-Match.
const takesIfMatch = "rollcall.if-match"

// checkQuery refuses a query that could be read in more than one way.
func checkQuery(raw string) error {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return wire.Refuse(wire.CodeMalformedQuery, "the query cannot be read: it has a wrong escape or a semicolon")
	}
	var bad wire.Checks
	for name, given := range values {
		switch {
		case !utf8.ValidString(name):
			return wire.Refuse(wire.CodeMalformedQuery, "a name in the query is not valid UTF-8")
		case len(given) > 1:
			bad.Add(name, wire.CodeDuplicate, "is given %d times", len(given))
		case given[0] == "" && name != searchParam:
			bad.Add(name, domain.CodeBadValue, "has no value; leave it out")
		case !utf8.ValidString(given[0]):
			bad.Add(name, domain.CodeBadValue, "must be valid UTF-8")
		}
	}
	slices.SortFunc(bad, func(a, b domain.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return bad.Err("the query")
}

// order returns who gives the command, under which id and why. Error: a
// *domain.Rejection when the header Idempotency-Key is not an id.
func (c *call) order(maxID int) (command.Request, error) {
	req := command.Request{Actor: c.principal.Actor(), TraceParent: c.traceParent()}
	keys := c.request.Header.Values(headerIdempotencyKey)
	switch {
	case len(keys) == 0:
		req.ID = c.handler.NewID()
	case len(keys) > 1 || !visibleASCII(keys[0], maxID):
		return req, wire.Invalid("the request", headerIdempotencyKey, domain.CodeBadValue, "once, 1 to %d visible ASCII characters", maxID)
	default:
		req.ID = keys[0]
	}
	return req, nil
}

// withoutKey returns a *domain.Rejection when the header Idempotency-Key is given to what is not idempotent.
func (c *call) withoutKey(what string) error {
	if c.request.Header.Get(headerIdempotencyKey) == "" {
		return nil
	}
	return wire.Invalid("the request", headerIdempotencyKey, domain.CodeUnknownField, "%s is not idempotent; leave it out", what)
}

// traceParent returns the W3C trace context of the request, empty when there
// is none that is valid.
func (c *call) traceParent() string {
	v := c.request.Header.Get("Traceparent")
	if !wire.ValidTraceParent(v) {
		return ""
	}
	return v
}

// mediaType returns the type of the body, without its parameters, if it is
// one of those allowed. A body without a type is taken as the first.
func (c *call) mediaType(allowed ...string) (string, error) {
	v := c.request.Header.Get("Content-Type")
	if encoding := c.request.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return "", wire.Refuse(wire.CodeMediaType, "the body must not be compressed")
	}
	if v == "" {
		return allowed[0], nil
	}
	t, params, err := mime.ParseMediaType(v)
	if err != nil || !slices.Contains(allowed, t) {
		return "", wire.Refuse(wire.CodeMediaType, "the body is of type %s; send %s", wire.Quoted(v), strings.Join(allowed, " or "))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", wire.Refuse(wire.CodeMediaType, "the body must be in UTF-8, not %s", wire.Quoted(charset))
	}
	return t, nil
}

// readBody reads a JSON body of at most the given bytes.
func (c *call) readBody(most int64, types ...string) ([]byte, error) {
	if _, err := c.mediaType(append([]string{"application/json"}, types...)...); err != nil {
		return nil, err
	}
	tooLarge := wire.Refuse(wire.CodeTooLarge, "the body is larger than %d bytes", most)
	if c.request.ContentLength > most {
		return nil, tooLarge
	}
	// The deadline ends with the body; one that is not read to its end keeps it.
	_ = http.NewResponseController(c.writer).SetReadDeadline(time.Now().Add(c.handler.BodyTimeout))
	b, err := io.ReadAll(io.LimitReader(c.request.Body, most+1))
	if err != nil {
		return nil, c.bodyError(err)
	}
	if int64(len(b)) > most {
		return nil, tooLarge
	}
	return b, nil
}

// bodyError tells why a body could not be read.
func (c *call) bodyError(err error) error {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return wire.Refuse(wire.CodeTimeout, "the body did not arrive within %s", c.handler.BodyTimeout)
	case c.request.Context().Err() != nil:
		return wire.Refuse(wire.CodeClientGone, "the client went away")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return wire.Refuse(wire.CodeMalformedBody, "the body ended before its Content-Length")
	}
	return wire.Refuse(wire.CodeMalformedBody, "the body cannot be read: its encoding for transfer is wrong")
}

// searchParam is the one parameter that may be empty: a search for nothing finds all.
const searchParam = "q"

// pathValue undoes hideSlash in a value of the path.
func pathValue(v string) string {
	if v == hiddenSlash {
		return "/"
	}
	return v
}

// checkID refuses an id from the path that this service cannot have given.
func checkID(id string, thing string, code domain.Code) error {
	if _, err := ulid.ParseStrict(id); err != nil {
		return wire.Refuse(code, "there is no %s %s; the list of them shows the ids", thing, wire.Quoted(pathValue(id)))
	}
	return nil
}

// checkApp refuses a write in an application that does not exist. It is an edit of nothing:
// it writes nothing, and fails where the write would.
func (c *call) checkApp(ctx context.Context, app domain.AppID) error {
	probe := command.Request{ID: c.handler.NewID(), Actor: c.principal.Actor()}
	_, err := c.handler.Commands.Execute(ctx, probe, domain.EditApp{App: app})
	return err
}

// userID returns the account that the path names.
func (c *call) userID(app string, id string) (domain.UserID, error) {
	id = pathValue(id)
	if u := domain.UserID(id); u.Valid() {
		return u, nil
	}
	return "", &domain.Rejection{
		Code: domain.CodeAccountNotFound, Detail: fmt.Sprintf("there is no account %s in application %s", wire.Quoted(id), app),
	}
}
