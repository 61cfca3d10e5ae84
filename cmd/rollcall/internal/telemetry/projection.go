package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"rollcall/projections"
)

// maxLinks is how many traces a batch names. It may hold events of thousands.
const maxLinks = 64

// Applied makes a span of a batch that a projection has applied, or tried to, in a trace of its own with links to the spans that
// the events came from. A batch of events whose traces are not recorded has none.
func (t *Tracing) Applied(ctx context.Context, b projections.Batch) {
	if t == nil {
		return
	}
	links := linksTo(b)
	if len(links) == 0 {
		return
	}
	_, span := t.batches.Start(ctx, "apply "+b.Projection, trace.WithNewRoot(), trace.WithTimestamp(b.Began), trace.WithLinks(links...),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			attribute.String("rollcall.projection", b.Projection), attribute.Int("rollcall.events", len(b.Events)),
			attribute.Int64("rollcall.position.first", int64(b.Events[0].Position)),
			attribute.Int64("rollcall.position.last", int64(b.Events[len(b.Events)-1].Position))))
	if b.Err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(b.Began.Add(b.Took)))
}

// linksTo returns links to the spans that recorded events of a batch came from, each once, the first of them only where there are many.
func linksTo(b projections.Batch) []trace.Link {
	var links []trace.Link
	seen := make(map[string]bool)
	for _, e := range b.Events {
		if e.TraceParent == "" || seen[e.TraceParent] {
			continue
		}
		seen[e.TraceParent] = true
		if from := parse(e.TraceParent); from.IsSampled() {
			links = append(links, trace.Link{SpanContext: from})
		}
		if len(links) == maxLinks {
			break
		}
	}
	return links
}
