// Package projections builds read models from the log: what a projection is,
// and the runner that feeds one, in order and without a hole.
//
// It knows no domain and no driver. It must never append an event, and never
// skip one: an event that cannot be applied halts its projection.
package projections

import (
	"context"
	"errors"
	"fmt"

	"rollcall/eventstore"
)

// Projection is a read model that is built from the log. Its checkpoint, the
// position of the last event that it shows, moves in the transaction that
// writes its rows.
type Projection interface {
	// Name names the projection in errors, logs and metrics.
	Name() string

	// Checkpoint returns the position of the last event applied, zero for none.
	Checkpoint(ctx context.Context) (eventstore.Position, error)

	// Apply applies events that follow the position from without a hole and moves
	// the checkpoint to the last of them, all in one transaction. After an error nothing
	// has changed, unless the answer of the database was lost, which Checkpoint then tells.
	//
	// Errors: ErrFenced when the checkpoint is not at from, for then another writer
	// has been here; an *EventError when an event can never be applied. Any other
	// error is taken to pass, and the events are applied again.
	Apply(ctx context.Context, from eventstore.Position, events []eventstore.Envelope) error
}

// Preparer is a projection that does part of its work on a batch while the one before is applied.
type Preparer interface {
	// Prepare returns what applies events as Apply does. It is called while what it has returned before runs. What
	// stands in the way of the events is an error of Prepared.
	Prepare(ctx context.Context, events []eventstore.Envelope) Prepared
}

// Prepared applies events that have been prepared, once or again after an error.
type Prepared func(ctx context.Context, from eventstore.Position) error

// Idler is a projection that wants to tidy up while there is nothing to apply.
type Idler interface {
	// Idle is called once the backlog has been empty for a moment, and again
	// after a while if it returns an error.
	Idle(ctx context.Context) error
}

// Log is what the runner needs of an eventstore.Store.
type Log interface {
	// Last returns the position of the latest event, zero for an empty log.
	Last(ctx context.Context) (eventstore.Position, error)
	// Subscribe follows the log from the position from onwards.
	Subscribe(ctx context.Context, from eventstore.Position) (eventstore.Subscription, error)
}

// Errors of projections. Test for them with errors.Is.
var (
	// ErrFenced means that the checkpoint has been moved by another writer.
	ErrFenced = errors.New("the checkpoint was moved by another writer")
	// ErrHalted means that a projection has stopped and does not go on by itself; a HaltError tells why.
	ErrHalted = errors.New("the projection has halted")
	// ErrBroken means that the read model itself is damaged and must be built anew. Its
	// error says how.
	ErrBroken = errors.New("the read model is damaged")
	// ErrUnavailable means that the read model cannot be reached for now.
	ErrUnavailable = errors.New("the read model cannot be reached")
	// ErrStopped means that the runner has ended in order.
	ErrStopped = errors.New("the projection's runner has stopped")
)

// EventError means that one event can never be applied as the program is.
type EventError struct {
	Position eventstore.Position
	Type     string
	Err      error
}

func (e *EventError) Error() string {
	return fmt.Sprintf("event %s at position %d cannot be applied: %v", e.Type, e.Position, e.Err)
}

// Unwrap returns the cause.
func (e *EventError) Unwrap() error { return e.Err }

// HaltError tells why a projection has stopped and where. It is
// ErrHalted and its cause.
type HaltError struct {
	Projection string
	Position   eventstore.Position // of the event that could not be applied or found
	Err        error
}

func (e *HaltError) Error() string {
	return fmt.Sprintf("projection %s has halted at position %d: %v", e.Projection, e.Position, e.Err)
}

// LogDamaged tells whether the log itself has lost something, rather than that this projection cannot apply one of its events.
func (e *HaltError) LogDamaged() bool {
	var event *EventError
	return errors.Is(e.Err, eventstore.ErrDamaged) && !errors.As(e.Err, &event)
}

// Unwrap returns ErrHalted and the cause.
func (e *HaltError) Unwrap() []error { return []error{ErrHalted, e.Err} }

// CheckOrder returns an error that is eventstore.ErrDamaged unless the events
// stand at the positions that follow from, one by one.
func CheckOrder(from eventstore.Position, events []eventstore.Envelope) error {
	for i, e := range events {
		if want := from + eventstore.Position(i) + 1; e.Position != want {
			return &damage{at: want, detail: fmt.Sprintf("position %d should come next and %d came; "+
				"stop all writers and restore the log from a backup", want, e.Position)}
		}
	}
	return nil
}

// damage is eventstore.ErrDamaged with the position of the event that is missing.
type damage struct {
	at     eventstore.Position
	detail string
}

func (d *damage) Error() string { return eventstore.ErrDamaged.Error() + ": " + d.detail }

func (d *damage) Unwrap() error { return eventstore.ErrDamaged }
