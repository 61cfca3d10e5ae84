package telemetry

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"rollcall/eventstore"
)

// Store makes spans of appends to a log, below what asks for them.
func (t *Tracing) Store(log eventstore.Store) eventstore.Store {
	if t == nil {
		return log
	}
	return &store{Store: log, tracer: t.work}
}

type store struct {
	eventstore.Store
	tracer trace.Tracer
}

// Append implements eventstore.Store.
func (s *store) Append(ctx context.Context, proposals ...eventstore.Proposal) ([]eventstore.Position, error) {
	// An append that nobody is known to ask for, and one of too many, has no span.
	made, asked := ctx.Value(appendsKey{}).(*atomic.Int64)
	if !asked || len(proposals) == 0 || made.Add(1) > maxAppends {
		return s.Store.Append(ctx, proposals...)
	}
	types := make([]string, len(proposals))
	for i, p := range proposals {
		types[i] = p.Event.Type
	}
	ctx, span := s.tracer.Start(ctx, "append", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("rollcall.app", proposals[0].Event.Aggregate.App),
		attribute.String("rollcall.command_id", proposals[0].Event.CommandID),
		attribute.StringSlice("rollcall.event_types", types),
	))
	positions, err := s.Store.Append(ctx, proposals...)
	if err == nil {
		span.SetAttributes(attribute.Int64("rollcall.position", int64(positions[len(positions)-1])))
	}
	outcome := AppendOutcome(err)
	end(span, err != nil && outcome != AppendConflict, outcome) // after a conflict the command is decided anew
	return positions, err
}

// What becomes of an append.
const (
	AppendOK          = "ok"
	AppendConflict    = "conflict"
	AppendUnknown     = "unknown"
	AppendUnavailable = "unavailable"
	AppendFailed      = "failed"
)

// AppendOutcome tells what became of an append by its error.
func AppendOutcome(err error) string {
	switch {
	case err == nil:
		return AppendOK
	case errors.Is(err, eventstore.ErrUnknownOutcome):
		return AppendUnknown
	case errors.Is(err, eventstore.ErrConflict):
		return AppendConflict
	case errors.Is(err, eventstore.ErrUnavailable):
		return AppendUnavailable
	}
	return AppendFailed
}
