// Package telemetry traces what the service does, with OpenTelemetry over OTLP, and gives lines of the log the
// ids of their trace.
//
// It owns which spans there are, what they are called and how they hang together: from the trace context that a producer
// sends, through the append, to the event that carries it on and the batch of a projection that applies it. It must never
// change what is done: without a receiver, or with one that does not answer, everything goes on as if it were not there.
// No span has a token, nor anything that is personal.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Names of this service and of what makes its spans, where the environment has no other.
const (
	serviceName = "rollcall"
	scope       = "rollcall"
)

// stopTimeout bounds how long Stop waits for the receiver.
const stopTimeout = 5 * time.Second

// Tracing makes spans and sends them. Nil is tracing that is off: its methods return what they are given. It is safe for
// concurrent use.
type Tracing struct {
	work     trace.Tracer // of what others ask for; the sampler of the environment decides
	batches  trace.Tracer // of batches, each of which is known to have a part in a trace that is recorded
	stopping []func(context.Context) error
}

// Start begins to trace when the environment asks for it by the variables of OpenTelemetry: OTEL_TRACES_EXPORTER is otlp, or
// absent with OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT there. Otherwise it returns nil. It is an error to ask for what
// this program does not have.
func Start(ctx context.Context, version string, logger *slog.Logger) (*Tracing, error) {
	if wanted, err := wanted(os.Getenv); !wanted || err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("send traces by OTLP: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", serviceName), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv()) // the environment has the last word
	if err != nil {
		return nil, errors.Join(fmt.Errorf("describe the service to the receiver of traces: %w", err), exporter.Shutdown(ctx))
	}
	queue := sdktrace.NewBatchSpanProcessor(&patient{SpanExporter: exporter, logger: logger})
	provider := func(opts ...sdktrace.TracerProviderOption) *sdktrace.TracerProvider {
		return sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(queue), sdktrace.WithResource(described))...)
	}
	work, batches := provider(), provider(sdktrace.WithSampler(sdktrace.AlwaysSample()))
	return &Tracing{
		work: work.Tracer(scope), batches: batches.Tracer(scope),
		// The exporter is told last, in case that the queue has given up waiting for it.
		stopping: []func(context.Context) error{work.Shutdown, batches.Shutdown, exporter.Shutdown},
	}, nil
}

// wanted tells whether the environment asks for traces.
func wanted(env func(string) string) (bool, error) {
	exporter := env("OTEL_TRACES_EXPORTER")
	off := exporter == "none" || strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") || env("OTEL_TRACES_SAMPLER") == "always_off"
	switch {
	case off:
		return false, nil
	case exporter == "otlp":
	case exporter != "":
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q; this program has otlp and none", exporter)
	case env("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "":
		return false, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := env(name); protocol {
		case "":
			continue
		case "http/protobuf":
			return true, nil
		default:
			return false, fmt.Errorf("%s is %q; this program has http/protobuf", name, protocol)
		}
	}
	return true, nil
}

// Stop sends the spans that have ended, and waits for the receiver for a few seconds at most.
func (t *Tracing) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var all error
	for _, stop := range t.stopping {
		all = errors.Join(all, stop(ctx))
	}
	if all != nil {
		return fmt.Errorf("send the last traces: %w", all)
	}
	return nil
}

// patient is an exporter whose trouble is logged when it begins and when it is over. The library would print it each time.
type patient struct {
	sdktrace.SpanExporter
	logger  *slog.Logger
	failing atomic.Bool
}

// ExportSpans implements sdktrace.SpanExporter.
func (p *patient) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := p.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !p.failing.Swap(true):
		p.logger.Warn("traces cannot be sent and are dropped until they can", "error", err)
	case err == nil && p.failing.Swap(false):
		p.logger.Info("traces are sent again")
	}
	return nil
}
