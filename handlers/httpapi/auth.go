package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/wire"
)

// admit lets a request through to its operation when its token permits that
// and its query can be read. An operation without a rule lets nobody through.
func (h *Handler) admit(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	who, _ := ctx.Operation().Metadata[ruleKey].(rule)
	c := &call{handler: h, request: r, writer: w}
	if err := h.authorize(c, who, ctx.Param("app")); err != nil {
		h.writeProblem(w, h.problemOf(r.Context(), err))
		return
	}
	if err := c.check(ctx.Operation()); err != nil {
		h.writeProblem(w, h.problemOf(r.Context(), err))
		return
	}
	r.Header.Del("Accept") // every answer has one form; there is nothing to negotiate
	next(huma.WithContext(ctx, context.WithValue(r.Context(), callKey{}, c)))
}

// authorize finds out who gives the request and whether they may.
func (h *Handler) authorize(c *call, who rule, app string) error {
	if who.scope == public {
		return nil
	}
	p, err := h.authenticate(c.request)
	if err != nil {
		return err
	}
	c.principal = p
	if rec, ok := c.writer.(*recorder); ok {
		rec.actor = p.Actor()
	}
	switch who.scope {
	case inApp:
	case inOwnApp:
		app = p.App
	case inInstance:
		app = ""
	default:
		return wire.Refuse(wire.CodeForbidden, "nobody may do this: the operation does not say who may")
	}
	if who.or != "" && p.Authorize(who.or, app) == nil {
		return nil
	}
	if err := p.Authorize(who.action, app); err != nil {
		return wire.Refuse(wire.CodeForbidden, "%s", wire.ForbiddenDetail(err))
	}
	return nil
}

func (h *Handler) authenticate(r *http.Request) (access.Principal, error) {
	secret, err := h.secretOf(r)
	if err != nil {
		return access.Principal{}, err
	}
	p, err := h.Tokens.Authenticate(r.Context(), secret)
	switch {
	case errors.Is(err, access.ErrUnauthenticated):
		return access.Principal{}, wire.Refuse(wire.CodeUnauthenticated, "the token is unknown or has been revoked")
	case err != nil:
		return access.Principal{}, err
	}
	return p, nil
}

// secretOf returns the token that a request is given with: that of its header, else that of its session.
func (h *Handler) secretOf(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return h.sessionSecret(r)
	}
	scheme, secret, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", wire.Refuse(wire.CodeUnauthenticated, "the header Authorization must be: Bearer, a space, and a token")
	}
	return strings.TrimSpace(secret), nil
}

// sessionSecret returns the token of a request's session. A browser sends the session along whoever made the page
// that gives the request, so one that changes something must come from a page of this service.
func (h *Handler) sessionSecret(r *http.Request) (string, error) {
	if h.Session != nil {
		if secret, ok := h.Session(r); ok {
			if err := h.crossOrigin.Check(r); err != nil {
				return "", wire.Refuse(wire.CodeForbidden, "a page of another origin gives this request; send a token in the header Authorization: Bearer")
			}
			return secret, nil
		}
	}
	return "", wire.Refuse(wire.CodeUnauthenticated, "send a token in the header Authorization: Bearer")
}

// guard protects a handler that is no operation.
func (h *Handler) guard(who rule, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.authorize(&call{handler: h, request: r, writer: w}, who, ""); err != nil {
			h.writeProblem(w, h.problemOf(r.Context(), err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// errNoApp is the answer for a name that no application can have.
func errNoApp(app string) error {
	return &domain.Rejection{Code: domain.CodeAppNotFound, Detail: "there is no application " + wire.Quoted(app) + "; create it first"}
}
