// Package eventstore is the port to the log: what an event looks like, how
// events are appended under a guard, loaded and read in order, and how a
// command is executed against them.
//
// It knows which aggregates there are, nothing of what their events mean, and no driver. Every append is guarded; there is no other
// way to write.
package eventstore

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Position is the sequence of an event in the log, starting at 1. It is the
// one clock of the system. Zero is before the first event.
type Position uint64

// Revision is the position of an aggregate's latest event. Zero means that the
// aggregate has none.
type Revision = Position

// Proposal is one event that is to be appended, on condition that the
// aggregate it belongs to is still at the expected revision.
type Proposal struct {
	Event    Envelope
	Expected Revision
}

// Store is the log. Implementations are safe for concurrent use.
type Store interface {
	// Append writes the proposals, all or none, at neighbouring positions in the
	// order given, and returns those positions once the events are on disk. An
	// aggregate may occur once among the proposals; a second event of it
	// could not be guarded.
	//
	// Errors: ErrConflict when an aggregate is past its expected revision and nothing
	// was written; ErrUnknownOutcome when the answer was lost and the
	// events may or may not have been written (load the aggregate and look for the
	// command id); ErrUnavailable when the log could not be reached and nothing was written;
	// ErrInvalid when the proposals can never be written.
	Append(ctx context.Context, proposals ...Proposal) ([]Position, error)

	// Load yields all events of one aggregate in order. It may be answered by a
	// replica that is behind, which a guarded append finds out; compare with
	// Revision before acting on it without one. An error ends the iteration.
	Load(ctx context.Context, id AggregateID) iter.Seq2[Envelope, error]

	// Revision returns the revision of an aggregate as the leader of the log knows
	// it, zero for none.
	Revision(ctx context.Context, id AggregateID) (Revision, error)

	// Read yields the events of the log from the position from up to and including
	// until, in order. A hole, or an end of the log before until, is
	// ErrDamaged: nothing is skipped. An error ends the iteration.
	Read(ctx context.Context, from, until Position) iter.Seq2[Envelope, error]

	// ReadApp is Read for the events of one application; positions of others are passed over, but not a hole: it may have been one of them.
	// Where a hole is found after later events were yielded, the iteration ends with ErrDamaged too.
	ReadApp(ctx context.Context, app string, from, until Position) iter.Seq2[Envelope, error]

	// ReadErased is Read for what is recorded of the erasures of one application, see KindErased.
	ReadErased(ctx context.Context, app string, from, until Position) iter.Seq2[Envelope, error]

	// PositionAt returns the position of the last event that the log recorded at or before a time, zero when
	// there is none. It is by the log's own clock, which never runs backwards.
	PositionAt(ctx context.Context, t time.Time) (Position, error)

	// Last returns the position of the latest event in the log, zero for an
	// empty one.
	Last(ctx context.Context) (Position, error)

	// Subscribe follows the log from the position from onwards.
	Subscribe(ctx context.Context, from Position) (Subscription, error)

	// SubscribeApp is Subscribe for the events of one application.
	SubscribeApp(ctx context.Context, app string, from Position) (Subscription, error)
}

// Subscription is a place in the log that moves forward. It is used by one
// goroutine at a time.
type Subscription interface {
	// Next waits for an event and returns it with those that have arrived behind
	// it, in order without holes, at most limit of them. Only events that are on disk
	// are returned. It reconnects by itself; an error is final:
	// the context's, or ErrDamaged when the log has a hole.
	Next(ctx context.Context, limit int) ([]Envelope, error)
	// Close ends the subscription and frees what it holds.
	Close()
}

// Errors of a Store. Test for them with errors.Is.
var (
	ErrConflict       = errors.New("the aggregate has changed since it was read")
	ErrUnknownOutcome = errors.New("the log did not answer: the outcome is unknown")
	ErrUnavailable    = errors.New("the log cannot be reached")
	ErrInvalid        = errors.New("the event cannot be written")
	ErrDamaged        = errors.New("the log is damaged")
)

// Envelope is an event with all that is known about it. On the wire it is a
// CloudEvent, see Marshal.
type Envelope struct {
	// These are given by the log: the event's place, the log's own time of it, the revision that its aggregate had before, and the
	// bytes that the log keeps, which nobody changes. Stored is nil for an event that was not read from a log.
	Position Position
	Recorded time.Time
	Previous Revision
	Stored   []byte

	ID            string // ULID
	Type          string // with its version, such as account.created.v1
	Aggregate     AggregateID
	Time          time.Time // when the command was given; for people
	Actor         string    // who gave the command
	CommandID     string
	CausationID   string   // the command or event that led to the command, if any
	CorrelationID string   // groups what belongs together, if given
	TraceParent   string   // W3C trace context, if given
	Fields        []string // names of the fields that the event sets
	KeyID         string   // the key that personal data in Data is sealed with, if any
	Data          []byte   // a JSON value whose form Type tells
}

// ErrKeyDestroyed means that personal data cannot be unsealed, now or ever,
// because the key it was sealed with has been destroyed.
var ErrKeyDestroyed = errors.New("the key of this data has been destroyed")
