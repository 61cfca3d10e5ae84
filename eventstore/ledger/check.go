package ledger

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"rollcall/eventstore"
)

// DefaultTail is how many events at the end of the tree are looked at when a service starts.
const DefaultTail = 10_000

// whatToDo ends the errors of a log that lost something.
const whatToDo = "stop all writers and restore the log from a backup; deployments/runbooks.md tells how, and how to go on without what is lost"

// CheckTail compares the log with the tree that is kept and with what was signed last, and the last events of the tree, up to most, one by
// one. Call it before anything is written.
//
// Errors: eventstore.ErrDamaged, a *Difference among them, when the log is not what it was; ErrBroken when the ledger is not.
// ErrCheckpoint, after all else was found right, when there is a checkpoint that another key has signed.
func (l *Ledger) CheckTail(ctx context.Context, most uint64) error {
	// What may grow meanwhile, by another instance, is asked for in the order in which it is behind.
	signed, c, foreign := l.Latest(ctx)
	size, err := l.storage.Size(ctx)
	if err != nil {
		return err
	}
	last, err := l.log.Last(ctx)
	if err != nil {
		return err
	}
	if size > uint64(last) {
		return &Difference{last + 1, Dropped, fmt.Sprintf("the log ends at position %d, the ledger at %d; %s", last, size, whatToDo)}
	}
	switch {
	case signed == nil && errors.Is(foreign, ErrCheckpoint):
		foreign = nil // none yet
	case foreign != nil && !errors.Is(foreign, ErrCheckpoint):
		return foreign
	case foreign != nil:
		c = Checkpoint{}
	case c.Size > uint64(last):
		return &Difference{last + 1, Dropped, fmt.Sprintf("the log ends at position %d, %d were signed; %s", last, c.Size, whatToDo)}
	case c.Size <= size:
		if err := l.compare(ctx, c); err != nil {
			return err
		}
	}
	if err := l.checkEvents(ctx, c, size, most); err != nil {
		return err
	}
	return foreign
}

// checkEvents compares the last events of the tree with their leaves.
func (l *Ledger) checkEvents(ctx context.Context, c Checkpoint, size, most uint64) error {
	from := eventstore.Position(1)
	if size > most {
		from = eventstore.Position(size-most) + 1
	}
	r := verifying{Verification: Verification{Checkpoint: Checkpoint{Size: size}, Leaves: l.authentic(c, size)}, ctx: ctx, tree: &edge{}, last: from - 1}
	for e, err := range l.log.Read(ctx, from, eventstore.Position(size)) {
		if err != nil {
			return err
		}
		done, err := r.next(e)
		if err != nil {
			return withAdvice(err)
		}
		if done {
			break
		}
	}
	if len(r.suspects) > 0 {
		return withAdvice(r.explain())
	}
	return nil
}

// withAdvice adds to a difference what to do.
func withAdvice(err error) error {
	var d *Difference
	if errors.As(err, &d) {
		d.Detail += "; " + whatToDo
	}
	return err
}

// authentic returns the leaves of the tree that is kept, those up to a checkpoint by way of what it says, so that a ledger that is damaged is
// not taken for a log that is.
func (l *Ledger) authentic(c Checkpoint, size uint64) Leaves {
	kept := func(ctx context.Context, from eventstore.Position, size uint64) ([]Hash, error) {
		first := uint64(from) - 1
		start := first &^ (tileWidth - 1)
		tile, err := l.storage.Tile(ctx, 0, first/tileWidth, int(min(size-start, tileWidth)))
		if err != nil {
			return nil, err
		}
		return tile[first-start:], nil
	}
	if c.Size == 0 || c.Size > size {
		return kept
	}
	signed := authenticLeaves(func(ctx context.Context) tlog.HashReader {
		return tlog.TileHashReader(c.tree(), reader{ctx, l.storage, size})
	})
	return func(ctx context.Context, from eventstore.Position, size uint64) ([]Hash, error) {
		if uint64(from) > c.Size {
			return kept(ctx, from, size)
		}
		hashes, err := signed(ctx, from, c.Size)
		if err != nil && !errors.Is(err, eventstore.ErrUnavailable) && ctx.Err() == nil {
			err = fmt.Errorf("%w: near position %d: %w. Remove it, and it is built again from the log and compared with what was signed", ErrBroken, from, err)
		}
		return hashes, err
	}
}
