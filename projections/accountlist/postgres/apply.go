package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/projections"
	"rollcall/projections/accountlist"
)

// Apply applies events that follow the position from, in one transaction. An error that is
// projections.ErrBroken says how to build a damaged list anew. When another generation has become
// live than a list of the live one has written so far, it is projections.ErrFenced.
func (l *List) Apply(ctx context.Context, from eventstore.Position, events []eventstore.Envelope) error {
	return l.Prepare(ctx, events)(ctx, from)
}

var _ projections.Preparer = (*List)(nil)

// Prepare decodes events, and returns what applies them as Apply does.
func (l *List) Prepare(ctx context.Context, events []eventstore.Envelope) projections.Prepared {
	decoded, err := accountlist.Decode(ctx, l.codec, events)
	return func(ctx context.Context, from eventstore.Position) error {
		return l.apply(ctx, from, events, decoded, err)
	}
}

// apply applies decoded events, unless there are fewer than envelopes, which rest explains.
func (l *List) apply(ctx context.Context, from eventstore.Position, envelopes []eventstore.Envelope, events []domain.Event, rest error) error {
	if err := projections.CheckOrder(from, envelopes); err != nil {
		return err
	}
	if len(events) == 0 {
		return rest
	}
	all := make([]taken, len(events))
	for i, event := range events {
		all[i] = taken{event, &envelopes[i]}
	}
	w := &writing{list: l, generation: l.generation(), from: from, events: all, rest: rest}
	err := w.write(ctx)
	if errors.Is(err, errUncertain) {
		w.certain = true
		err = w.write(ctx)
	}
	if err != nil && l.moved(ctx, w.generation, err) {
		return fmt.Errorf("write the account list: %w: list %d is live no more", projections.ErrFenced, w.generation)
	}
	if err != nil {
		return fmt.Errorf("write the account list: %w", l.failure(ctx, w.generation, err))
	}
	l.eraseSoon(w.deleted > 0)
	return nil
}

// moved tells whether the tables are gone because another generation has become live, and the one before was dropped.
func (l *List) moved(ctx context.Context, generation int64, err error) bool {
	if l.pinned != 0 || code(err) != codeUndefinedTable || l.db.ensureLive(ctx) != nil {
		return false
	}
	return l.generation() != generation
}

// taken is an event with its envelope.
type taken struct {
	event domain.Event
	env   *eventstore.Envelope
}

// errUncertain means that what was presumed of new accounts may not be so.
var errUncertain = errors.New("an account may exist already")

// writing is the work of one call of Apply.
type writing struct {
	list       *List
	generation int64
	from       eventstore.Position
	events     []taken
	rest       error // why there are no more events
	// certain tells to look whether accounts that are to be created exist. It is
	// presumed that they do not, and left to the table to refuse them.
	certain bool
	deleted int // accounts
}

// write makes one attempt, in one transaction.
func (w *writing) write(ctx context.Context) error {
	return pgx.BeginFunc(ctx, w.list.db.writers, func(tx pgx.Tx) error {
		if err := w.fence(ctx, tx); err != nil {
			return err
		}
		b := newBatch(tx, w.generation)
		if err := b.load(ctx, w.events, w.certain); err != nil {
			return err
		}
		for _, e := range w.events {
			if err := b.take(ctx, e); err != nil {
				return err
			}
		}
		if w.rest != nil {
			return w.rest
		}
		err := b.flush(ctx)
		w.deleted = b.deleted
		if code(err) == codeUniqueViolation && !w.certain {
			return fmt.Errorf("%w: %w", errUncertain, err)
		}
		return err
	})
}

// fence moves the checkpoint from where the events begin to where they end, or fails. The
// row stays locked until the transaction ends, so that writers come one after another. Then, and
// not before, it is certain whether the generation is the live one still.
func (w *writing) fence(ctx context.Context, tx pgx.Tx) error {
	var b pgx.Batch
	moved := int64(0)
	b.Queue(in(w.generation, "UPDATE list.progress SET checkpoint = $2 WHERE checkpoint = $1"), int64(w.from), int64(w.from)+int64(len(w.events)))
	b.Queue(in(w.generation, "SELECT checkpoint FROM list.progress"))
	b.Queue(selectLive, version)
	results := tx.SendBatch(ctx, &b)
	tag, err := results.Exec()
	moved = tag.RowsAffected()
	var checkpoint, live int64
	if err == nil {
		err = results.QueryRow().Scan(&checkpoint)
	}
	if err == nil {
		err = results.QueryRow().Scan(&live)
	}
	if cerr := results.Close(); err == nil || errors.Is(err, pgx.ErrNoRows) {
		err = cerr
	}
	switch {
	case err != nil:
		return err
	case moved == 0:
		return fmt.Errorf("%w: it is %d, not %d", projections.ErrFenced, checkpoint, w.from)
	case w.list.pinned == 0 && live != w.generation:
		return fmt.Errorf("%w: list %d has become live in the place of %d", projections.ErrFenced, live, w.generation)
	}
	return nil
}
