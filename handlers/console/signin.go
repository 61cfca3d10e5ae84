package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"rollcall/handlers/access"
	"rollcall/handlers/wire"
)

// signInBody is what the page to sign in shows.
type signInBody struct {
	Next string
	Link bool   // the page is that of a link, which asks for no token
	Code string // of what went wrong, empty at first
}

func (h *Handler) signInPage(v *visit) error {
	next := within(v.r.URL.Query().Get("next"))
	if v.who.Role != "" {
		http.Redirect(v.w, v.r, next, http.StatusSeeOther)
		return nil
	}
	return v.render(http.StatusOK, "signin", view{Title: v.text("sign_in.title"), Body: signInBody{Next: next}})
}

// signIn begins the session of a token.
func (h *Handler) signIn(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return wire.Refuse(wire.CodeMalformedBody, "the form cannot be read")
	}
	next := within(v.r.PostForm.Get("next"))
	token := strings.TrimSpace(v.r.PostForm.Get("token"))
	if problem := h.greet(v, token); problem != "" {
		return v.render(http.StatusUnauthorized, "signin", view{Title: v.text("sign_in.title"), Body: signInBody{Next: next, Code: problem}})
	}
	http.Redirect(v.w, v.r, next, http.StatusSeeOther)
	return nil
}

// greet begins a session if the token is good, and otherwise returns the message that says why not.
func (h *Handler) greet(v *visit, token string) (problem string) {
	_, err := h.Tokens.Authenticate(v.r.Context(), token)
	switch {
	case errors.Is(err, access.ErrUnauthenticated):
		return "sign_in.refused"
	case err != nil:
		return "error.unavailable"
	}
	h.keep(v.w, v.r, begin(token, time.Now()))
	return ""
}

// linkPage shows a button and uses nothing up: programs that look at links to preview them press none.
func (h *Handler) linkPage(v *visit) error {
	return v.render(http.StatusOK, "signin", view{Title: v.text("sign_in.title"), Body: signInBody{Link: true}})
}

func (h *Handler) signInByLink(v *visit) error {
	problem := "sign_in.link_used"
	if token, ok := h.links.take(v.r.PathValue("code"), time.Now()); ok {
		problem = h.greet(v, token)
	}
	if problem != "" {
		return v.render(http.StatusUnauthorized, "signin", view{Title: v.text("sign_in.title"), Body: signInBody{Next: homePath, Code: problem}})
	}
	http.Redirect(v.w, v.r, homePath, http.StatusSeeOther)
	return nil
}

// signOut ends the session at this browser. Revoking the token ends it everywhere.
func (h *Handler) signOut(v *visit) error {
	h.drop(v.w, v.r)
	http.Redirect(v.w, v.r, signInPath, http.StatusSeeOther)
	return nil
}
