package sqlite

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/projections"
	"rollcall/projections/accountlist"
)

// Apply applies events that follow the position from, in one transaction. An error that is
// projections.ErrBroken says how to build a damaged list anew.
func (l *List) Apply(ctx context.Context, from eventstore.Position, events []eventstore.Envelope) error {
	return l.Prepare(ctx, events)(ctx, from)
}

var _ projections.Preparer = (*List)(nil)

// Prepare decodes events, and returns what applies them as Apply does.
func (l *List) Prepare(ctx context.Context, events []eventstore.Envelope) projections.Prepared {
	decoded, err := accountlist.Decode(ctx, l.codec, events)
	return func(ctx context.Context, from eventstore.Position) error {
		if err := projections.CheckOrder(from, events); err != nil || len(events) == 0 {
			return err
		}
		return l.apply(ctx, from, events[len(events)-1].Position, run{envelopes: events, events: decoded, rest: err})
	}
}

// run is events in order.
type run struct {
	envelopes []eventstore.Envelope
	events    []domain.Event
	rest      error // why there are fewer events than envelopes
}

// apply applies events between two positions and moves the checkpoint from the one to the other.
func (l *List) apply(ctx context.Context, from, to eventstore.Position, r run) error {
	return l.write(ctx, func(conn *sqlite.Conn) error {
		var b *batch
		err := transact(conn, func() (err error) {
			b, err = applyBatch(conn, from, to, r)
			return err
		})
		if err != nil {
			return fmt.Errorf("write the account list: %w", err)
		}
		l.eraseSoon(ctx, from, to, b.erased)
		return nil
	})
}

// transact runs f in a transaction that is either committed whole or leaves nothing.
func transact(conn *sqlite.Conn, f func() error) error {
	if err := exec(conn, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = exec(conn, "COMMIT")
	}
	if conn.AutocommitEnabled() { // committed, or rolled back by the failure itself
		return err
	}
	done := conn.SetInterrupt(nil) // the rollback is to run even when the context has ended
	defer conn.SetInterrupt(done)
	if rerr := exec(conn, "ROLLBACK"); rerr != nil {
		return fmt.Errorf("%w (then: roll back: %w)", err, rerr)
	}
	return err
}

// applyBatch writes what the events lead to and moves the checkpoint.
func applyBatch(conn *sqlite.Conn, from, to eventstore.Position, r run) (*batch, error) {
	checkpoint, err := count(conn, "SELECT checkpoint FROM progress")
	if err != nil {
		return nil, err
	}
	if eventstore.Position(checkpoint) != from {
		return nil, fmt.Errorf("%w: it is %d, not %d", projections.ErrFenced, checkpoint, from)
	}
	b, err := newBatch(conn)
	if err != nil {
		return nil, err
	}
	for i, event := range r.events {
		if err := b.take(event, &r.envelopes[i]); err != nil {
			return nil, err
		}
	}
	if r.rest != nil {
		return nil, r.rest
	}
	if err := b.flush(); err != nil {
		return nil, err
	}
	return b, exec(conn, "UPDATE progress SET checkpoint = ?1", int64(to))
}

// take takes in one event.
func (b *batch) take(event domain.Event, env *eventstore.Envelope) error {
	if err := storable(env.Time); err != nil {
		return impossible(env, err)
	}
	switch e := event.(type) {
	case domain.AppCreated:
		return b.takeApp(e.App, event, env)
	case domain.AppEdited:
		return b.takeApp(e.App, event, env)
	case domain.AdminLimitSet, domain.AdminSeatTaken, domain.AdminSeatReleased, domain.AccountErased:
		return nil // the application and the accounts tell the same
	case domain.AccountCreated:
		return b.takeAccount(e.App, e.UserID, event, env)
	case domain.AccountEdited:
		return b.takeAccount(e.App, e.UserID, event, env)
	case domain.AccountDeleted:
		return b.takeAccount(e.App, e.UserID, event, env)
	}
	return impossible(env, fmt.Errorf("the account list does not know %T", event))
}

// impossible returns the error of an event that can never be applied.
func impossible(env *eventstore.Envelope, err error) error {
	return &projections.EventError{Position: env.Position, Type: env.Type, Err: err}
}
