package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"rollcall/domain"
	"rollcall/handlers/intake"
	"rollcall/handlers/wire"
)

// Request begins a span of a request over NATS, as messaging.RPCConfig.Observe asks.
func (t *Tracing) Request(ctx context.Context, verb, traceParent string) (context.Context, string, func(domain.Code)) {
	if t == nil {
		return ctx, traceParent, func(domain.Code) {}
	}
	ctx, span, traceParent := t.begin(ctx, trace.SpanKindServer, "request "+verb, traceParent,
		attribute.String("messaging.system", "nats"), attribute.String("rollcall.verb", verb))
	return ctx, traceParent, func(code domain.Code) {
		end(span, code == wire.CodeInternal || code == wire.CodeUnavailable, string(code))
	}
}

// Decide makes a span of each attempt to decide a command of the stream, below the span of who published it. The
// command carries it on.
func (t *Tracing) Decide(next func(context.Context, intake.Command) error) func(context.Context, intake.Command) error {
	if t == nil {
		return next
	}
	return func(ctx context.Context, c intake.Command) error {
		ctx, span, traceParent := t.begin(ctx, trace.SpanKindConsumer, "decide "+string(c.Verb), c.TraceParent,
			attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "process"),
			attribute.String("rollcall.verb", string(c.Verb)), attribute.String("rollcall.app", string(c.App)), attribute.String("rollcall.command_id", c.ID))
		c.TraceParent = traceParent
		err := next(ctx, c)
		var dead *intake.Unreadable
		switch {
		case errors.As(err, &dead):
			end(span, false, string(dead.Code))
		case err != nil:
			end(span, true, "tried again")
		default:
			end(span, false, "")
		}
		return err
	}
}
