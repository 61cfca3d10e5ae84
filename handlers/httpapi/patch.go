package httpapi

import (
	"context"
	"strconv"
	"strings"

	"rollcall/domain"
	"rollcall/handlers/command"
	"rollcall/handlers/wire"
)

// mergePatchType is the media type of RFC 7396.
const mergePatchType = "application/merge-patch+json"

func (h *Handler) editAccount(ctx context.Context, in *struct {
	AccountParam
	WriteParams
	IfMatch string `header:"If-Match" doc:"Entity tag of the revision that the account must still be at, or *: 412 revision_mismatch when it is not"`
}) (*accountOutput, error) {
	c := callOf(ctx)
	req, err := c.order(command.MaxCommandIDBytes)
	if err != nil {
		return nil, err
	}
	cond, err := parseIfMatch(c.request.Header.Values("If-Match"))
	if err != nil {
		return nil, err
	}
	b, err := c.readBody(maxCommandBody, mergePatchType)
	if err != nil {
		return nil, err
	}
	body, err := wire.DecodeAccount(b)
	if err != nil {
		return nil, err
	}
	if err := body.RefuseImmutable(); err != nil {
		return nil, err
	}
	id, err := c.userID(string(in.App), in.UserID)
	if err != nil {
		return nil, err
	}
	cmd := domain.EditAccount{App: in.App, UserID: id, Patch: body.Patch, IfRevision: cond.revision}
	if cond.never {
		return nil, wire.Refuse(domain.CodeRevisionMismatch, "If-Match names no revision that account %s could be at; read it again and repeat the edit", id)
	}
	res, err := h.Commands.Execute(ctx, req, cmd)
	if err != nil {
		return nil, err
	}
	return &accountOutput{WriteHeaders: h.wrote(res), ETag: etag(res.Account.Revision), Body: wire.AccountOf(res.Account)}, nil
}

// condition is what If-Match asks for. The zero value asks for nothing but that
// the account exists, which an edit asks for anyway.
type condition struct {
	revision uint64
	never    bool // a well-formed tag that no revision has
}

// parseIfMatch reads If-Match (RFC 9110, section 13.1.1): *, or one entity tag.
func parseIfMatch(values []string) (condition, error) {
	if len(values) == 0 {
		return condition{}, nil
	}
	malformed := wire.Refuse(wire.CodeMalformedHeader, `If-Match must be one entity tag, such as "42" with its quotes, or *`)
	v := strings.Trim(values[0], " \t")
	if v == "*" && len(values) == 1 {
		return condition{}, nil
	}
	weak := strings.HasPrefix(v, "W/")
	tag, ok := unquoteTag(strings.TrimPrefix(v, "W/"))
	if !ok || len(values) > 1 {
		return condition{}, malformed
	}
	revision, ok := parseRevision(tag)
	// A weak tag never matches here: the comparison is the strong one.
	return condition{revision: revision, never: weak || !ok}, nil
}

// noneMatch tells whether If-None-Match (RFC 9110, section 13.1.2) names the
// revision. What cannot be read matches nothing, so that the account is sent.
func noneMatch(header string, revision uint64) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	for v := range strings.SplitSeq(header, ",") {
		tag, ok := unquoteTag(strings.TrimPrefix(strings.TrimSpace(v), "W/"))
		if r, isRevision := parseRevision(tag); ok && isRevision && r == revision {
			return true
		}
	}
	return false
}

// unquoteTag returns what is between the quotes of an entity tag.
func unquoteTag(v string) (string, bool) {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' || strings.Contains(v[1:len(v)-1], `"`) {
		return "", false
	}
	return v[1 : len(v)-1], true
}

// parseRevision reads a tag as etag writes it.
func parseRevision(tag string) (uint64, bool) {
	n, err := strconv.ParseUint(tag, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatUint(n, 10) == tag
}
