package httpapi

import (
	"net/http"

	"rollcall/domain"
	"rollcall/handlers/wire"
)

// answer is a problem on its way to the client, as RFC 9457 describes it.
type answer struct {
	*wire.Problem
	headers http.Header
}

// GetStatus returns the status of the answer.
func (a *answer) GetStatus() int { return a.Status }

// GetHeaders returns headers that the answer carries.
func (a *answer) GetHeaders() http.Header { return a.headers }

// ContentType returns the media type of RFC 9457.
func (a *answer) ContentType(string) string { return wire.ProblemType }

// problem makes an answer of a code.
func (h *Handler) problem(code domain.Code, detail string) *answer {
	return answerOf(h.codes.Problem(code, detail))
}

// answerOf gives a problem the headers that belong to its status.
func answerOf(p *wire.Problem) *answer {
	a := &answer{Problem: p}
	switch p.Status {
	case http.StatusUnauthorized:
		a.headers = http.Header{"Www-Authenticate": {`Bearer realm="rollcall"`}}
	case http.StatusServiceUnavailable:
		a.headers = http.Header{"Retry-After": {"1"}}
	}
	return a
}
