package service

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rollcall/cmd/rollcall/internal/telemetry"
	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/handlers/command"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
)

// door is a way by which commands come in.
type door string

// The doors.
const (
	doorHTTP    door = "http"
	doorNATS    door = "nats"    // requests
	doorMessage door = "message" // the stream of commands
)

type doorKey struct{}

// through marks what is done for those who came by a door.
func through(ctx context.Context, d door) context.Context {
	return context.WithValue(ctx, doorKey{}, d)
}

func doorOf(ctx context.Context) door {
	d, _ := ctx.Value(doorKey{}).(door)
	return d
}

func (m *metrics) registerCommands() {
	m.commandTook = m.histogram("rollcall_command_duration_seconds", "Time that commands took, by what became of them.", latencies(), "verb", "outcome")
	m.commands = m.counter("rollcall_commands_total", "Commands, by the door that they came in by and what became of them.", "door", "verb", "outcome")
	m.appendTook = m.histogram("rollcall_append_duration_seconds", "Time that appends to the log took, waiting for others included, by what became of them.", latencies(), "outcome")
	m.commitEvents = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rollcall_commit_events", Help: "Events that shared one write to the log.", Buckets: prometheus.ExponentialBuckets(1, 2, 11),
	})
	m.ingress = m.counter("rollcall_ingress_commands_total", "Commands that NATS clients published, by whether they were taken in or why not.", "result")
	m.natsRequests = m.histogram("rollcall_nats_request_duration_seconds", "Time that requests over NATS took, by ok or the code of the problem.", latencies(), "verb", "code")
	m.messageTook = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "rollcall_message_duration_seconds", Help: "Time from when a command was in its stream until it was decided.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 12),
	})
	m.retries = prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_message_retries_total", Help: "Attempts to decide a command of the stream that are to be repeated."})
	m.buried = m.counter("rollcall_dead_commands_total", "Commands of the stream that could not be understood, by why.", "code")
	m.registry.MustRegister(m.commitEvents, m.messageTook, m.retries)
	m.expectCommands()
}

// expectCommands makes what is sure to be asked for be there before it first happens, so that rates begin at zero.
func (m *metrics) expectCommands() {
	for _, verb := range command.Verbs() {
		for _, outcome := range []string{command.OutcomeAccepted, command.OutcomeFailed} {
			m.commandTook.WithLabelValues(verb, outcome)
			m.commands.WithLabelValues(string(doorHTTP), verb, outcome)
		}
	}
	for _, verb := range []intake.Verb{intake.Create, intake.Edit, intake.Delete} {
		for _, outcome := range []string{command.OutcomeAccepted, command.OutcomeFailed} {
			m.commands.WithLabelValues(string(doorNATS), string(verb), outcome)
			m.commands.WithLabelValues(string(doorMessage), string(verb), outcome)
		}
		m.natsRequests.WithLabelValues(string(verb), codeOK)
	}
	for _, outcome := range []string{telemetry.AppendOK, telemetry.AppendConflict, telemetry.AppendUnknown, telemetry.AppendUnavailable, telemetry.AppendFailed} {
		m.appendTook.WithLabelValues(outcome)
	}
	for _, result := range messaging.IngressResults() {
		m.ingress.WithLabelValues(string(result))
	}
	for _, code := range []domain.Code{intake.CodeMalformedCommand, intake.CodeFault} {
		m.buried.WithLabelValues(string(code))
	}
}

// command counts a command.
func (m *metrics) command(ctx context.Context, o command.Observation) {
	m.commandTook.WithLabelValues(o.Verb, o.Outcome).Observe(o.Took.Seconds())
	m.commands.WithLabelValues(string(doorOf(ctx)), o.Verb, o.Outcome).Inc()
}

// store times the appends to a log.
func (m *metrics) store(log eventstore.Store) eventstore.Store { return timedStore{log, m.appendTook} }

type timedStore struct {
	eventstore.Store
	took *prometheus.HistogramVec
}

// Append implements eventstore.Store.
func (s timedStore) Append(ctx context.Context, proposals ...eventstore.Proposal) ([]eventstore.Position, error) {
	began := time.Now()
	positions, err := s.Store.Append(ctx, proposals...)
	s.took.WithLabelValues(telemetry.AppendOutcome(err)).Observe(time.Since(began).Seconds())
	return positions, err
}

// committed counts a write to the log.
func (m *metrics) committed(c jetstream.Commit) { m.commitEvents.Observe(float64(c.Events)) }

// takenIn counts a message that was to be a command.
func (m *metrics) takenIn(r messaging.IngressResult) { m.ingress.WithLabelValues(string(r)).Inc() }

// codeOK stands where a request has no problem.
const codeOK = "ok"

// request times a request over NATS.
func (m *metrics) request(ctx context.Context, verb string) (context.Context, func(domain.Code)) {
	began := time.Now()
	return through(ctx, doorNATS), func(code domain.Code) {
		if code == "" {
			code = codeOK
		}
		m.natsRequests.WithLabelValues(verb, string(code)).Observe(time.Since(began).Seconds())
	}
}

// decided times commands of the stream from when they came into it.
func (m *metrics) decided(next func(context.Context, intake.Command) error) func(context.Context, intake.Command) error {
	return func(ctx context.Context, c intake.Command) error {
		err := next(through(ctx, doorMessage), c)
		var dead *intake.Unreadable
		switch stored := messaging.ReceivedOf(ctx).Stored; {
		case errors.As(err, &dead): // counted when it is buried
		case err != nil:
			m.retries.Inc()
		case !stored.IsZero():
			m.messageTook.Observe(max(time.Since(stored), 0).Seconds()) // the clock is the log's
		}
		return err
	}
}

// bury counts commands that are dead.
func (m *metrics) bury(next func(context.Context, intake.DeadLetter) error) func(context.Context, intake.DeadLetter) error {
	return func(ctx context.Context, d intake.DeadLetter) error {
		err := next(ctx, d)
		if err == nil {
			m.buried.WithLabelValues(string(d.Code)).Inc()
		}
		return err
	}
}
