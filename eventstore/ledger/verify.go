package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"

	"rollcall/eventstore"
)

// Kind is what is wrong with an entry of the log.
type Kind string

// The kinds.
const (
	Altered  Kind = "altered"   // the event is another one than was signed, those behind it are the same
	Dropped  Kind = "dropped"   // an event that was signed is gone
	Inserted Kind = "inserted"  // an event is there that was not signed
	Reissued Kind = "re-issued" // from here on all events are others: the position was given out again
)

// Difference is the first entry at which a log is not what was signed. It is eventstore.ErrDamaged.
type Difference struct {
	Position eventstore.Position
	Kind     Kind
	Detail   string
}

func (d *Difference) Error() string {
	return fmt.Sprintf("%s: position %d is %s: %s", eventstore.ErrDamaged, d.Position, d.Kind, d.Detail)
}

// Unwrap returns eventstore.ErrDamaged.
func (d *Difference) Unwrap() error { return eventstore.ErrDamaged }

// Leaves returns the leaves of a tree from a position on: at least one, and at most those up to the size. Whoever implements it sees to
// it that they are of the tree that was signed.
type Leaves func(ctx context.Context, from eventstore.Position, size uint64) ([]Hash, error)

// authenticLeaves returns the leaves of a tree by tiles that are not trusted: a tile at a time, each checked against the checkpoint.
func authenticLeaves(hashes func(context.Context) tlog.HashReader) Leaves {
	return func(ctx context.Context, from eventstore.Position, size uint64) ([]Hash, error) {
		first := uint64(from) - 1
		end := min(first&^(tileWidth-1)+tileWidth, size)
		indexes := make([]int64, 0, end-first)
		for i := first; i < end; i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, int64(i)))
		}
		return hashes(ctx).ReadHashes(indexes)
	}
}

// lookAhead is how many events behind one that differs are looked at to tell what happened to it.
const lookAhead = 32

// Verification compares events with the tree that was signed. The zero value needs Checkpoint and Leaves.
type Verification struct {
	// Checkpoint is that of the tree. An event behind it is ErrUnsigned.
	Checkpoint Checkpoint
	// Leaves are those of the tree, by which the position of a difference is known. When nil, only the root is compared.
	Leaves Leaves
	// Part says that the events are some of the log, such as those of one application from the beginning on. That one of them is
	// missing is then known by a later one of the same aggregate alone.
	Part bool
}

// Run reads events in the order of the log and returns how many it has compared. The error is a *Difference for the first that is
// not as it was signed; ErrBroken when the leaves are not those of the checkpoint; or one that the events end with.
func (v Verification) Run(ctx context.Context, events iter.Seq2[eventstore.Envelope, error]) (uint64, error) {
	r := verifying{Verification: v, ctx: ctx, tree: &edge{}}
	r.chain.first = 1
	for e, err := range events {
		if err != nil {
			return r.compared, err
		}
		if uint64(e.Position) > v.Checkpoint.Size && len(r.suspects) == 0 {
			return r.compared, cmp.Or(r.end(), unsigned(e, v.Checkpoint))
		}
		if done, err := r.next(e); done || err != nil {
			return r.compared, err
		}
	}
	return r.compared, r.end()
}

// ErrUnsigned means that an event is behind the checkpoint, which says nothing of it.
var ErrUnsigned = errors.New("the checkpoint does not cover it")

func unsigned(e eventstore.Envelope, c Checkpoint) error {
	return fmt.Errorf("the event at position %d: %w: it is of the positions up to %d; verify with a later one", e.Position, ErrUnsigned, c.Size)
}

// verifying is a Verification under way.
type verifying struct {
	Verification
	ctx      context.Context // of one call of Run
	hasher   hasher
	tree     *edge // over the events
	last     eventstore.Position
	compared uint64
	chain    chain                 // of parts
	window   []Hash                // leaves of the tree from
	start    eventstore.Position   // this position on
	suspects []eventstore.Envelope // the first that differs and those behind it
}

// leaf returns the leaf of the tree at a position.
func (r *verifying) leaf(p eventstore.Position) (Hash, error) {
	if p < r.start || p >= r.start+eventstore.Position(len(r.window)) {
		window, err := r.Leaves(r.ctx, p, r.Checkpoint.Size)
		if err != nil {
			return Hash{}, err
		}
		r.window, r.start = window, p
	}
	return r.window[p-r.start], nil
}

// next compares an event. It tells whether enough has been seen.
func (r *verifying) next(e eventstore.Envelope) (done bool, err error) {
	if len(r.suspects) > 0 {
		r.suspects = append(r.suspects, e)
		if len(r.suspects) > lookAhead {
			return true, r.explain()
		}
		return false, nil
	}
	if err := r.order(e); err != nil {
		return true, err
	}
	got, err := r.hasher.leaf(e)
	if err != nil {
		return true, err
	}
	if r.Leaves != nil {
		want, err := r.leaf(e.Position)
		if err != nil {
			return true, err
		}
		if got != want {
			r.suspects = append(r.suspects, e)
			return false, nil
		}
	}
	if r.Part { // behind the comparison: what an event says is known to be true
		if err := r.chain.add(e); err != nil {
			return true, err
		}
	} else {
		if r.tree.add(got); r.tree.size%(1<<13) == 0 {
			r.tree.trim()
		}
	}
	r.last = e.Position
	r.compared++
	return false, nil
}

// order returns a *Difference when an event is not where it should be.
func (r *verifying) order(e eventstore.Envelope) error {
	switch {
	case e.Position <= r.last:
		return &Difference{e.Position, Inserted, fmt.Sprintf("it comes behind position %d", r.last)}
	case !r.Part && e.Position != r.last+1:
		return &Difference{r.last + 1, Dropped, fmt.Sprintf("the next event is at position %d", e.Position)}
	}
	return nil
}

// end tells what is wrong when there are no more events.
func (r *verifying) end() error {
	size := eventstore.Position(r.Checkpoint.Size)
	switch {
	case len(r.suspects) > 0:
		return r.explain()
	case r.Part:
		return nil
	case r.last < size:
		return &Difference{r.last + 1, Dropped, fmt.Sprintf("the log ends at position %d, and %d were signed", r.last, size)}
	case r.tree.root() == r.Checkpoint.Root:
		return nil
	case r.Leaves == nil:
		return fmt.Errorf("%w: the events up to position %d are not those that were signed; at which position is known by the leaves of the tree alone", eventstore.ErrDamaged, size)
	}
	return fmt.Errorf("%w: the leaves that the events were compared with are not those of the checkpoint", ErrBroken)
}

// explain tells what happened to the first event that differs.
func (r *verifying) explain() error {
	first := r.suspects[0]
	d := &Difference{Position: first.Position, Detail: fmt.Sprintf("what is there now is event %s, a %s of %s", first.ID, first.Type, first.Aggregate)}
	same := func(e eventstore.Envelope, at eventstore.Position) (bool, error) {
		if at > eventstore.Position(r.Checkpoint.Size) {
			return false, nil
		}
		want, err := r.leaf(at)
		if err != nil {
			return false, err
		}
		e.Position = at
		got, err := r.hasher.leaf(e)
		return got == want, err
	}
	moved := func(n int, to eventstore.Position) bool { // whether the n-th suspect was signed at another position
		if r.Part || n >= len(r.suspects) {
			return false
		}
		ok, err := same(r.suspects[n], to)
		return ok && err == nil
	}
	switch {
	case moved(1, first.Position):
		d.Kind = Inserted
		return d
	case moved(0, first.Position+1):
		d.Kind, d.Detail = Dropped, d.Detail+", which was signed at the position behind it"
		return d
	}
	for _, e := range r.suspects[1:] {
		ok, err := same(e, e.Position)
		if err != nil {
			return err
		}
		if ok {
			d.Kind = Altered
			return d
		}
	}
	d.Kind = Reissued
	if len(r.suspects) == 1 {
		d.Kind = Altered // the last of them
	}
	return d
}
