package httpapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"rollcall/handlers/wire"
)

const (
	headerRequestID      = "X-Request-Id"
	headerIdempotencyKey = "Idempotency-Key"
	headerPosition       = "Rollcall-Position"

	fallbackPattern = "/"
	maxHeaderID     = 64
)

// ServeHTTP serves one request, logs it, and turns a panic into a problem.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	outer := r
	rec, r := h.newRecorder(w, r)
	id := r.Header.Get(headerRequestID)
	if !visibleASCII(id, maxHeaderID) {
		id = h.NewID()
		r.Header.Set(headerRequestID, id)
	}
	setCommonHeaders(w.Header(), id)
	defer func() {
		broken := false
		if v := recover(); v != nil {
			broken = h.recovered(rec, r, v)
		}
		rec.finish()
		outer.Pattern = r.Pattern // as ServeMux would have, for those around this handler
		h.logRequest(rec, r, time.Since(start))
		if broken {
			panic(http.ErrAbortHandler) // net/http closes the connection, or resets the stream, and is silent
		}
	}()
	path := r.URL.EscapedPath()
	if !cleanPath(path) {
		h.writeProblem(rec, h.problem(wire.CodeNotFound, "the path has an empty segment, . or .., or a NUL; write . in an id as %2E"))
		return
	}
	hideSlash(r.URL, path)
	h.mux.ServeHTTP(rec, r)
}

// hiddenSlash stands for the id "/" in a path. No path has it otherwise.
const hiddenSlash = "\x00"

// hideSlash makes the id "/" known to ServeMux, which takes a segment %2F for
// a slash at the end of the path.
func hideSlash(u *url.URL, escaped string) {
	if !strings.Contains(escaped, "/%2") {
		return
	}
	segments := strings.Split(escaped, "/")
	for i, s := range segments {
		if strings.EqualFold(s, "%2f") {
			segments[i] = "%00"
		}
	}
	u.RawPath = strings.Join(segments, "/")
	if path, err := url.PathUnescape(u.RawPath); err == nil {
		u.Path = path
	}
}

func setCommonHeaders(header http.Header, requestID string) {
	header.Set(headerRequestID, requestID)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
}

// cleanPath tells whether a path, as it came over the wire, names exactly one
// thing. ServeMux would redirect others.
func cleanPath(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return path == "*"
	}
	if strings.Contains(path, "%00") {
		return false
	}
	if path == "/" {
		return true
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path[1:], "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// visibleASCII tells whether s is 1 to most bytes of visible ASCII.
func visibleASCII(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// recovered answers a request whose handler panicked, and tells whether the answer was begun and must not seem to be a whole one.
func (h *Handler) recovered(rec *recorder, r *http.Request, v any) (broken bool) {
	if v == http.ErrAbortHandler {
		return true
	}
	if r.Context().Err() != nil {
		return false // the client went away in the middle of the answer
	}
	h.logger.LogAttrs(r.Context(), slog.LevelError, "a request made its handler panic",
		slog.String("panic", fmt.Sprint(v)), slog.String("route", r.Pattern),
		slog.String("request_id", r.Header.Get(headerRequestID)), slog.String("stack", string(debug.Stack())))
	if rec.status != 0 {
		return true
	}
	h.writeProblem(rec, h.problem(wire.CodeInternal, "the service failed; its log tells why"))
	return false
}

// recovering runs f, in a goroutine where nobody else would recover, and returns a panic as an error.
func recovering(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("it panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return f()
}

// writeProblem answers with a problem outside of an operation.
func (h *Handler) writeProblem(w http.ResponseWriter, p *answer) {
	for name, values := range p.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", wire.ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that is gone is not told
}

func (h *Handler) logRequest(rec *recorder, r *http.Request, took time.Duration) {
	if !h.logger.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	status := rec.status
	if status == 0 {
		status = wire.StatusClientGone // nothing could be answered
	}
	h.logger.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("method", r.Method), slog.String("route", r.Pattern), slog.Int("status", status),
		slog.Duration("took", took), slog.String("actor", rec.actor), slog.String("request_id", r.Header.Get(headerRequestID)))
}

// unknownRoute answers what no operation is registered for.
func (h *Handler) unknownRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := h.mux.Handler(&other); pattern != fallbackPattern {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		h.writeProblem(w, h.problem(wire.CodeNotFound, "there is nothing at this path; "+docsPath+" lists what there is"))
		return
	}
	p := h.problem(wire.CodeMethod, "this path takes "+strings.Join(allowed, ", "))
	p.headers = http.Header{"Allow": {strings.Join(slices.Compact(allowed), ", ")}}
	h.writeProblem(w, p)
}
