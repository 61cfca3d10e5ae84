package console

import (
	"net/http"
	"net/url"
	"strings"

	"rollcall/handlers/wire"
)

// dotted hands a request about the account . or .. on to the API, as it came. A browser cannot give it there: it takes both for steps of a path,
// also where they are written as %2E (https://url.spec.whatwg.org/#double-dot-path-segment).
func (h *Handler) dotted(w http.ResponseWriter, r *http.Request) {
	app, id := r.PathValue("app"), r.URL.Query().Get("user_id")
	if strings.Trim(id, ".") != "" || id == "" || len(id) > 2 {
		v := h.visit(w, r)
		v.part = true
		v.end(wire.Refuse(wire.CodeNotFound, "this is for the accounts . and .. alone"))
		return
	}
	base := "/v1/apps/" + url.PathEscape(app) + "/accounts/"
	to := r.Clone(r.Context())
	to.URL = &url.URL{Path: "/v1/apps/" + app + "/accounts/" + id, RawPath: base + strings.ReplaceAll(id, ".", "%2E")}
	to.RequestURI = to.URL.RequestURI()
	h.API().ServeHTTP(w, to)
	r.Pattern = to.Pattern
}
