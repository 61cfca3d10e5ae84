package telemetry

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// unasked are the paths of what machines ask all the time. They have no spans.
var unasked = map[string]bool{"/healthz": true, "/readyz": true, "/metrics": true}

// HTTP makes a span of each request of a handler. What the handler finds in the header traceparent is the span of the
// request, so that it carries on that one. status returns the status of an answer.
func (t *Tracing) HTTP(next http.Handler, status func(http.ResponseWriter) int) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if unasked[r.URL.Path] {
			next.ServeHTTP(w, r)
			return
		}
		ctx, span, traceParent := t.begin(r.Context(), trace.SpanKindServer, r.Method, r.Header.Get(header), attribute.String("http.request.method", r.Method))
		inner := r.WithContext(ctx)
		if span.IsRecording() {
			inner.Header = r.Header.Clone()
			inner.Header.Set(header, traceParent)
		}
		defer func() {
			r.Pattern = inner.Pattern // for those around this handler
			endRequest(span, inner, status(w))
		}()
		next.ServeHTTP(w, inner)
	})
}

// endRequest ends the span of a request that has been answered. Its name is the pattern of the route, never the path, which names people.
func endRequest(span trace.Span, r *http.Request, status int) {
	if r.Pattern != "" {
		span.SetName(r.Pattern)
		span.SetAttributes(attribute.String("http.route", r.Pattern))
	}
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	end(span, status >= http.StatusInternalServerError, "")
}
