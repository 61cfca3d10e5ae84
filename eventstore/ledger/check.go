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

// Restore builds a tree that is smaller than what was signed last, because it was removed or comes from an older copy, from the log up to there,
// which takes a minute for some millions of events. Until then nobody knows whether the log is what was signed: call it before anything
// is written. It does nothing when the tree is large enough, or the log too short, which CheckTail tells. Errors: those of CheckTail.
func (l *Ledger) Restore(ctx context.Context) error {
	_, c, err := l.Latest(ctx)
	if errors.Is(err, ErrCheckpoint) {
		return nil
	}
	if err != nil {
		return err
	}
	for told := false; ; told = true {
		size, err := l.storage.Size(ctx)
		if err != nil || size >= c.Size {
			return err
		}
		if last, err := l.log.Last(ctx); err != nil || c.Size > uint64(last) {
			return err
		}
		if !told {
			l.opts.Logger.WarnContext(ctx, "the ledger is behind what was signed; it is built again from the log", "position", size, "signed", c.Size)
		}
		if err := l.build(ctx, size, c.Size); err != nil && !errors.Is(err, ErrFenced) { // another instance may be building it too
			return withAdvice(err)
		}
	}
}

// build adds the events of the log from a size to another.
func (l *Ledger) build(ctx context.Context, from, to uint64) error {
	defer l.forget()
	const atOnce = 1024
	events := make([]eventstore.Envelope, 0, atOnce)
	for e, err := range l.log.Read(ctx, eventstore.Position(from+1), eventstore.Position(to)) {
		if err != nil {
			return err
		}
		if events = append(events, e); len(events) < atOnce && uint64(e.Position) < to {
			continue
		}
		if err := l.Apply(ctx, eventstore.Position(from), events); err != nil {
			return err
		}
		from, events = uint64(e.Position), events[:0]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(ctx); err != nil {
		return err
	}
	return l.keep(ctx)
}

// forget has what is kept be read again.
func (l *Ledger) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edge = nil
}

// CheckTail compares the log with the tree that is kept and with what was signed last, and the last events of the tree, up to most, one by
// one. Call it before anything is written, behind Restore.
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
	case c.Size > size:
		return fmt.Errorf("%w: it is at position %d, %d were signed", ErrBroken, size, c.Size)
	default:
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
			return withAdvice(unsure(err, c))
		}
		if done {
			break
		}
	}
	if len(r.suspects) > 0 {
		return withAdvice(unsure(r.explain(), c))
	}
	return nil
}

// unsure adds to a difference behind what was signed that nobody vouches for the hash either.
func unsure(err error, c Checkpoint) error {
	var d *Difference
	if errors.As(err, &d) && d.Kind == Altered && uint64(d.Position) > c.Size {
		d.Detail += ", or the ledger is damaged there, which was not signed yet: compare the event with a copy of the log"
	}
	return err
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
	if c.Size == 0 {
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
