package console

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/console/i18n"
	"rollcall/handlers/wire"
)

const (
	languageCookie = "rollcall_language"
	themeCookie    = "rollcall_theme"

	preferenceLife = 365 * 24 * 60 * 60 // seconds
	maxForm        = 8 << 10            // bytes
)

// visit is a request on its way to a page.
type visit struct {
	h        *Handler
	w        http.ResponseWriter
	r        *http.Request
	language *i18n.Language
	theme    string // light or dark, empty for what the system says
	session  session
	who      access.Principal // the zero value for nobody, who may do nothing
	part     bool             // of a page, which a module asks for
}

func (h *Handler) visit(w http.ResponseWriter, r *http.Request) *visit {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	v := &visit{h: h, w: w, r: r, language: i18n.Preferred(h.languages, r.Header.Get("Accept-Language"))}
	if c, err := r.Cookie(languageCookie); err == nil {
		for _, l := range h.languages {
			if l.Tag == c.Value {
				v.language = l
			}
		}
	}
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		v.theme = c.Value
	}
	w.Header().Set("Vary", "Cookie, Accept-Language, Accept-Encoding")
	return v
}

// known finds out who visits and tells whether anybody is signed in.
func (v *visit) known() bool {
	s, err := v.h.sessionOf(v.r)
	if err != nil {
		return false
	}
	who, err := v.h.Tokens.Authenticate(v.r.Context(), s.token)
	if err != nil {
		return false
	}
	v.session, v.who = s, who
	return true
}

// renew prolongs the session of somebody who comes back.
func (v *visit) renew() {
	if s, worth := v.session.renewed(time.Now()); worth {
		v.h.keep(v.w, v.r, s)
	}
}

// app returns the application that the path names.
func (v *visit) app() domain.AppID { return domain.AppID(v.r.PathValue("app")) }

// may tells whether the visitor may take an action in the application that the page is about.
func (v *visit) may(a access.Action) bool {
	app := string(v.app())
	if app == "" {
		app = v.who.App
	}
	return v.who.May(a, app)
}

// guarded serves those who may take one of the actions, where the path names an application in that one.
func (v *visit) guarded(serve func(*visit) error, actions []access.Action) error {
	if app := v.app(); app != "" && !app.Valid() {
		return wire.Refuse(domain.CodeAppNotFound, "there is no application %s", wire.Quoted(string(app)))
	}
	for _, a := range actions {
		if v.may(a) {
			return serve(v)
		}
	}
	return wire.Refuse(wire.CodeForbidden, "the token does not allow this")
}

// cameByLink tells whether a link on a page of another site led here. The browser brings no session then, for its cookie is strict.
func (v *visit) cameByLink() bool {
	_, err := v.r.Cookie(sessionCookie)
	h := v.r.Header
	return err != nil && h.Get("Sec-Fetch-Site") == "cross-site" && h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Fetch-Dest") == "document"
}

// askAgain has the browser ask for the same from here, where it brings the session if there is one. Pages only show, so that a link does nothing.
func (v *visit) askAgain() {
	v.w.Header().Set("Refresh", "0")
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	icon, _ := v.h.assets.url("icon.svg")                                                                  // which loadPages has found
	_, _ = fmt.Fprintf(v.w, "<!doctype html><title>Rollcall</title><link rel=\"icon\" href=\"%s\">", icon) // a client that is gone is not told
}

// askToSignIn leads to the page for that, and from there back to here.
func (v *visit) askToSignIn() {
	target := signInPath
	if v.r.URL.RequestURI() != homePath {
		target += "?" + url.Values{"next": {v.r.URL.RequestURI()}}.Encode()
	}
	http.Redirect(v.w, v.r, target, http.StatusSeeOther)
}

// minimum returns the position that the answer must at least show.
func (v *visit) minimum() (uint64, error) {
	s := v.r.URL.Query().Get("min_position")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, wire.Invalid("the query", "min_position", domain.CodeBadValue, "must be a position")
	}
	return n, nil
}

// end answers with an error, if there is one.
func (v *visit) end(err error) {
	if err == nil {
		return
	}
	p, fault := v.h.codes.Of(v.r.Context(), err)
	if fault {
		v.h.Logger.LogAttrs(v.r.Context(), slog.LevelError, "a page of the console failed", slog.String("route", v.r.Pattern), slog.Any("error", err))
	}
	if v.part {
		v.w.Header().Set("Content-Type", wire.ProblemType)
		v.w.WriteHeader(p.Status)
		_ = json.NewEncoder(v.w).Encode(p) // a client that is gone is not told
		return
	}
	if err := v.render(p.Status, "problem", view{Title: v.text("problem.title"), Body: problemBody{Code: string(p.Code), Status: p.Status}}); err != nil {
		v.h.Logger.Error("the page of problems cannot be made", "error", err)
	}
}

type problemBody struct {
	Code   string
	Status int
}

func (v *visit) text(key string, pairs ...any) string { return v.language.Text(key, pairs...) }

// view is what a template shows.
type view struct {
	Title string
	Entry string   // the module that the page starts, empty for that of all pages
	Load  []string // modules that it will ask for, so that all come at once
	App   *domain.App
	Tab   string // the page of the application that this is
	Body  any

	*visit
}

// What templates ask of a view.
func (v view) Lang() string                { return v.language.Tag }
func (v view) Theme() string               { return v.theme }
func (v view) Who() access.Principal       { return v.who }
func (v view) SignedIn() bool              { return v.who.Role != "" }
func (v view) Version() string             { return v.h.Version }
func (v view) Languages() []*i18n.Language { return v.h.languages }
func (v view) May(a access.Action) bool    { return v.may(a) }
func (v view) Here() string                { return v.r.URL.RequestURI() }

// render answers with a page.
func (v *visit) render(status int, name string, data view) error {
	return v.answer(status, name, "layout", data)
}

// renderPart answers with a part of a page, the template part in the file name.
func (v *visit) renderPart(name, part string, data view) error {
	return v.answer(http.StatusOK, name, part, data)
}

// answer makes the whole of an answer before it sends the first byte, so that one that fails is not half of a page.
func (v *visit) answer(status int, name, define string, data view) error {
	data.visit = v
	t, ok := v.h.pages[v.language][name]
	if !ok {
		return errors.New("console: there is no template " + name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, define, data); err != nil {
		return err
	}
	header := v.w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", v.language.Tag)
	if !acceptsGzip(v.r) {
		v.w.WriteHeader(status)
		_, _ = v.w.Write(b.Bytes()) // a client that is gone is not told
		return nil
	}
	header.Set("Content-Encoding", "gzip")
	v.w.WriteHeader(status)
	z, err := gzip.NewWriterLevel(v.w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, _ = z.Write(b.Bytes())
	_ = z.Close()
	return nil
}

// nothingHere answers for paths that there are not.
func (h *Handler) nothingHere(v *visit) error {
	return wire.Refuse(wire.CodeNotFound, "there is no such page")
}

// prefer keeps a choice of language or theme, and leads back.
func (h *Handler) prefer(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return wire.Refuse(wire.CodeMalformedBody, "the form cannot be read")
	}
	for _, l := range h.languages {
		if v.r.PostForm.Get("language") == l.Tag {
			http.SetCookie(v.w, h.cookie(v.r, languageCookie, l.Tag, preferenceLife))
		}
	}
	switch theme := v.r.PostForm.Get("theme"); theme {
	case "light", "dark":
		http.SetCookie(v.w, h.cookie(v.r, themeCookie, theme, preferenceLife))
	case "system":
		http.SetCookie(v.w, h.cookie(v.r, themeCookie, "", -1))
	}
	http.Redirect(v.w, v.r, within(v.r.PostForm.Get("next")), http.StatusSeeOther)
	return nil
}

// within returns the address of a page of the console: the one given, else the first. No address leads elsewhere.
func within(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, homePath) || strings.Contains(next, "\\") || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "..") {
		return homePath
	}
	return u.RequestURI()
}
