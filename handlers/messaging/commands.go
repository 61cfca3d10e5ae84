package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/intake"
)

// commandWorkers is the durable consumer of the stream of commands.
const commandWorkers = "command-workers"

// commandAckWait is how long after it got lost on its way from the server a command is delivered again.
const commandAckWait = 3 * time.Second

// commandCloseTimeout is how long a command may go on when this instance is to decide no more. It is well below the time between an
// instance's stop, when it cannot renew its lease, and another's start: what is decided by two could be decided in two ways. What is broken
// off is delivered again, and decided once under its id.
const commandCloseTimeout = 500 * time.Millisecond

// CommandsConfig tells how the commands of the stream are worked on. All of Decide, Bury, Buried and
// DeadLetters are needed.
type CommandsConfig struct {
	// Decide decides a command, see intake.Service.
	Decide func(ctx context.Context, c intake.Command) error
	// Bury keeps that a command is dead, see intake.Service.
	Bury func(ctx context.Context, d intake.DeadLetter) error
	// Buried is told of a dead letter once it is kept, see intake.Service. A command that it fails for is given again.
	Buried      func(ctx context.Context, d intake.DeadLetter) error
	DeadLetters *DeadLetters
	// Concurrency is how many commands are decided at once: 1,024. Those that wait to be written to the log together
	// share the write.
	Concurrency int
	// RetryAfter and MaxRetryAfter are the pause before a command is tried again that met with trouble, and what it
	// grows to: 200 ms and 30 s.
	RetryAfter, MaxRetryAfter time.Duration
	Logger                    *slog.Logger
}

// OpenCommands opens the stream COMMANDS, in which at most maxWaiting commands of an application and verb wait, and creates it
// on the given number of servers where there is none; zero replicas means one. ErrStream when it exists with another set-up.
func OpenCommands(ctx context.Context, js jetstream.JetStream, replicas int, maxWaiting int64) error {
	_, err := openStream(ctx, js, commandsConfig(replicas, maxWaiting))
	return err
}

// RunCommands decides the commands of the stream until ctx ends, and returns nil then. Commands on one account are decided in
// the order of the stream, others side by side. One process at a time may run it.
func RunCommands(ctx context.Context, js jetstream.JetStream, cfg CommandsConfig) error {
	if cfg.Decide == nil || cfg.Bury == nil || cfg.Buried == nil || cfg.DeadLetters == nil {
		return errors.New("commands need Decide, Bury, Buried and DeadLetters")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	const defaultConcurrency, maxHeld = 1024, 4096
	const retryAfter, maxRetryAfter = 200 * time.Millisecond, 30 * time.Second
	positive(&cfg.Concurrency, defaultConcurrency)
	positive(&cfg.RetryAfter, retryAfter)
	positive(&cfg.MaxRetryAfter, maxRetryAfter)
	poison, err := middleware.PoisonQueueWithFilter(graveyard{cfg.DeadLetters, cfg.Buried}, StreamDead, func(err error) bool {
		var u *intake.Unreadable
		return errors.As(err, &u)
	})
	if err != nil {
		return fmt.Errorf("set up dead letters: %w", err)
	}
	return worker{
		what: "commands", stream: StreamCommands,
		subscriber: SubscriberConfig{
			Consumer: commandWorkers, Concurrency: cfg.Concurrency, Order: precedenceOf, MaxHeld: max(maxHeld, 2*cfg.Concurrency),
			SoleOwner: true, CloseTimeout: commandCloseTimeout, AckWait: commandAckWait,
		},
		router: RouterConfig{
			RetryAfter: cfg.RetryAfter, MaxRetryAfter: cfg.MaxRetryAfter,
			Retry:        func(error) bool { return ctx.Err() == nil },
			CloseTimeout: 2 * stopTimeout, Logger: cfg.Logger,
		},
		handle: cfg.handle,
		around: []message.HandlerMiddleware{poison, cfg.endure, middleware.Recoverer},
	}.run(ctx, js)
}

// handle decides the command in a message. Its error is *intake.Unreadable for one that is dead.
func (c CommandsConfig) handle(m *message.Message) error {
	ctx := m.Context()
	r := ReceivedOf(ctx)
	cmd, err := readCommand(r.Subject, r.Header, m.Payload)
	if err == nil {
		err = c.Decide(ctx, cmd)
	}
	return c.bury(ctx, m, r, cmd, err)
}

// bury keeps that a command is dead when the error says so, and returns the error.
func (c CommandsConfig) bury(ctx context.Context, m *message.Message, r Received, cmd intake.Command, err error) error {
	var u *intake.Unreadable
	if !errors.As(err, &u) {
		return err
	}
	m.Metadata.Set(headerDeadCode, string(u.Code))
	d := intake.DeadLetter{
		Stored: r.Stored, App: cmd.App, Verb: string(cmd.Verb), CommandID: cmd.ID, Sender: cmd.Sender, Code: u.Code, Reason: u.Detail, Fields: u.Fields,
	}
	if berr := c.Bury(ctx, d); berr != nil {
		return berr
	}
	return err
}

// maxFaults is how often a command is tried that fails for no reason that passes.
const maxFaults = 8

// faultsKey counts the faults of a message in its metadata.
const faultsKey = "rollcall-faults"

// endure lets what passes be tried again for as long as it takes. Anything else, a panic too, makes a dead letter in the end:
// one command must not hold up those behind it forever.
func (c CommandsConfig) endure(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := next(m)
		var u *intake.Unreadable
		if err == nil || errors.As(err, &u) {
			return out, err
		}
		r := ReceivedOf(m.Context())
		c.Logger.Warn("a command is tried again", "subject", r.Subject, "sequence", r.Sequence, "error", err)
		if passes(err) {
			return nil, err
		}
		faults, _ := strconv.Atoi(m.Metadata.Get(faultsKey)) // none the first time
		m.Metadata.Set(faultsKey, strconv.Itoa(faults+1))
		if faults+1 < maxFaults {
			return nil, err
		}
		c.Logger.Error("a command cannot be handled and is put to the dead letters", "subject", r.Subject, "sequence", r.Sequence, "error", err)
		cmd, _ := readCommand(r.Subject, r.Header, m.Payload) // what is known of it
		return nil, c.bury(m.Context(), m, r, cmd, &intake.Unreadable{
			Code: intake.CodeFault, Detail: "the service failed on it several times; its log tells why",
		})
	}
}

// unanswered returns an error of a stream that did not answer as one that callers know: eventstore.ErrUnavailable where something was to be
// read, eventstore.ErrUnknownOutcome where something was to be written.
func unanswered(as, err error) error {
	if err == nil || errors.Is(err, as) || !passes(err) {
		return err
	}
	return fmt.Errorf("%w: %w", as, err)
}

// passes tells whether trouble is of a kind that is over sooner or later.
func passes(err error) bool {
	for _, trouble := range []error{
		eventstore.ErrUnavailable, eventstore.ErrUnknownOutcome, eventstore.ErrConflict, access.ErrUnavailable,
		context.Canceled, context.DeadlineExceeded, errGroupClosed,
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrReconnectBufExceeded, nats.ErrStaleConnection, nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrConnectionReconnecting, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, trouble) {
			return true
		}
	}
	var js jetstream.JetStreamError
	return errors.As(err, &js)
}
