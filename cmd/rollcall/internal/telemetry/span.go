package telemetry

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// header is the name of the header, and of the attribute of an event, that carries a trace context.
const header = "traceparent"

// parse returns the span that a trace context names, the zero value for none.
func parse(traceParent string) trace.SpanContext {
	if traceParent == "" {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{header: traceParent}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// format returns the trace context that names a span.
func format(span trace.SpanContext) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), span), carrier)
	return carrier[header]
}

// maxAppends is how many appends of one request have spans of their own: an import has millions.
const maxAppends = 128

type appendsKey struct{}

// begin begins a span for what somebody asks for, below the span that the trace context names. It returns the trace context that
// goes on from here: that of the span or, when it is not recorded, the one that came, so that what comes after is not below something that nobody
// will find.
func (t *Tracing) begin(ctx context.Context, kind trace.SpanKind, name, traceParent string, attrs ...attribute.KeyValue) (context.Context, trace.Span, string) {
	if parent := parse(traceParent); parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	ctx, span := t.work.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	if !span.IsRecording() {
		return ctx, span, traceParent
	}
	return context.WithValue(ctx, appendsKey{}, new(atomic.Int64)), span, format(span.SpanContext())
}

// end ends a span, as failed when there is an error. What the error says stays out of it, for it may be about a person.
func end(span trace.Span, failed bool, code string) {
	if code != "" {
		span.SetAttributes(attribute.String("rollcall.outcome", code))
	}
	if failed {
		span.SetStatus(codes.Error, code)
	}
	span.End()
}
