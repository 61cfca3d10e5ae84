// Package jetstream keeps the log in a NATS JetStream stream, on an embedded
// server or on a cluster.
//
// It owns the stream of events, the way into it and the server in the process.
// It must never write an event without a guard, never guess what became of one
// whose acknowledgement was lost, never skip an event when reading, and never
// create a stream where one may have been before.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
)

// DefaultStream is the name of the stream that holds the log.
const DefaultStream = "ACCOUNTS"

// Config tells how a store uses its stream. The zero value is that of a single server.
type Config struct {
	// Stream is the name of the stream, DefaultStream when empty.
	Stream string
	// Replicas is the number of copies of the log, 1 when zero. An existing
	// stream with fewer is refused.
	Replicas int
	// MustExist refuses to create the stream. Set it wherever a log is known to have
	// been: an absent stream is then ErrDamaged.
	MustExist bool
	// AckTimeout is how long an acknowledgement of the log is waited for, 10 seconds when
	// zero. Then the outcome is unknown.
	AckTimeout time.Duration
	// Logger gets what an operator wants to know. Nothing is logged when nil.
	Logger *slog.Logger
	// Observe, if set, is told of each write to the log that was acknowledged. It is called concurrently and must not wait.
	Observe func(Commit)
}

// Commit is one write to the log, which many appends may share.
type Commit struct {
	Appends int // calls of Append
	Events  int
}

func (c Config) withDefaults() Config {
	if c.Stream == "" {
		c.Stream = DefaultStream
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.AckTimeout == 0 {
		c.AckTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Observe == nil {
		c.Observe = func(Commit) {}
	}
	return c
}

// Store is the log on a JetStream stream. It implements eventstore.Store and
// is safe for concurrent use.
type Store struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	stream    jetstream.Stream
	cfg       Config
	committer *committer
	acked     func(eventstore.Position, []byte) // told of every acknowledged append; never nil

	high atomic.Uint64 // the latest position that was given out

	closing    sync.Once
	stopMarker func()
}

var _ eventstore.Store = (*Store)(nil)

// Open returns the store on the stream that cfg names. It creates the stream where there
// is none, unless cfg.MustExist is set, and verifies it as Verify does.
//
// Errors: ErrConfig when the stream exists but is set up in a way that could lose or
// alter events; eventstore.ErrDamaged when the log is damaged or gone;
// eventstore.ErrUnavailable when JetStream does not answer. Close the store before nc.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(cfg.AckTimeout))
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", cfg.Stream, err)
	}
	stream, err := openStream(ctx, js, cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{
		nc: nc, js: js, stream: stream, cfg: cfg,
		acked: func(eventstore.Position, []byte) {}, stopMarker: func() {},
	}
	if err := s.Verify(ctx); err != nil {
		return nil, err
	}
	s.committer = newCommitter(js, nc, cfg.Stream, cfg.Observe)
	return s, nil
}

// Close waits for the appends in flight and releases what the store holds. The
// connection stays open. An Append after Close is ErrUnavailable.
func (s *Store) Close() {
	s.closing.Do(func() {
		s.committer.close()
		s.stopMarker()
		s.js.CleanupPublisher()
	})
}

// Append writes the proposals as eventstore.Store says. Concurrent calls share the
// disk writes of the log. When ctx ends before the log has answered, the outcome is unknown.
func (s *Store) Append(ctx context.Context, proposals ...eventstore.Proposal) ([]eventstore.Position, error) {
	a, err := newAppend(proposals, int(s.nc.MaxPayload()))
	if err != nil {
		return nil, err
	}
	before := s.high.Load()
	last, err := s.committer.commit(ctx, a)
	if err != nil {
		return nil, err
	}
	first := last - eventstore.Position(len(a.msgs)-1)
	if uint64(first) <= before {
		return nil, fmt.Errorf("%w: it gave out position %d again, after %d; it has lost its end; "+
			"stop all writers and restore the log from a backup", eventstore.ErrDamaged, first, before)
	}
	s.raise(last)
	s.acked(last, a.msgs[len(a.msgs)-1].Data)
	positions := make([]eventstore.Position, len(a.msgs))
	for i := range positions {
		positions[i] = first + eventstore.Position(i)
	}
	return positions, nil
}

// raise takes note of a position that was given out.
func (s *Store) raise(p eventstore.Position) {
	for {
		high := s.high.Load()
		if high >= uint64(p) || s.high.CompareAndSwap(high, uint64(p)) {
			return
		}
	}
}

// Last returns the position of the latest event as the leader of the stream knows it.
func (s *Store) Last(ctx context.Context) (eventstore.Position, error) {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return 0, unavailable("ask for the end of the log", err)
	}
	return eventstore.Position(info.State.LastSeq), nil
}

// unavailable names what could not be done because the log did not answer.
func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", eventstore.ErrUnavailable, what, err)
}

// newMessage returns the message that a proposal is published as.
func newMessage(p eventstore.Proposal) (*nats.Msg, error) {
	data, err := eventstore.Marshal(p.Event)
	if err != nil {
		return nil, err
	}
	subject := p.Event.Aggregate.Subject()
	if id, err := eventstore.ParseSubject(subject); err != nil || id != p.Event.Aggregate || strings.ContainsAny(subject, " \t\r\n*>") {
		return nil, fmt.Errorf("%w: %q names no aggregate", eventstore.ErrInvalid, p.Event.Aggregate)
	}
	return &nats.Msg{
		Subject: subject,
		Data:    data,
		Header: nats.Header{
			jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(uint64(p.Expected), 10)},
		},
	}, nil
}

// apiCode returns the error code of a JetStream refusal, zero for any other error.
func apiCode(err error) jetstream.ErrorCode {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode
	}
	return 0
}
