package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// maxAttempts bounds how often a command is decided anew after a conflict.
const maxAttempts = 64

// maxUnknown bounds how often an append is repeated whose answer was lost: each may have been waited for long, and a log without a
// leader may be read and yet take nothing.
const maxUnknown = 2

// Outcome tells what became of a command that was not refused.
type Outcome struct {
	// Events are the command's events with their positions, in order; none when the
	// command changed nothing.
	Events []Envelope
	// Replayed is true when the command had been executed before. Events
	// then holds what the first execution wrote to the aggregate that was loaded.
	Replayed bool
}

// Position returns the position of the command's first event, zero for none.
func (o Outcome) Position() Position {
	if len(o.Events) == 0 {
		return 0
	}
	return o.Events[0].Position
}

// Decide loads what a command is decided on from the unit and returns the
// events that it leads to, at most one an aggregate, or the error that refuses it. It may
// be called several times and must not keep anything from one call to the next.
// Errors of the unit are to be returned as they are, or wrapped with %w.
type Decide func(ctx context.Context, u *Unit) ([]Envelope, error)

// Execute decides a command and appends its events under the guard of the
// revisions that it was decided on. After a conflict it decides anew. A
// command id that is found among the events of a loaded aggregate is not executed
// again. A refusal is confirmed with the leader of the log, so that it is
// never founded on a stale read.
//
// Errors: the error of decide, which refuses the command unless it is one of these; ErrConflict when other writers won every time;
// ErrUnavailable when nothing was written; ErrUnknownOutcome when the events may or may not have been
// written, in which case Execute with the same command id finds out.
func Execute(ctx context.Context, store Store, commandID string, decide Decide) (Outcome, error) {
	var unknown error // set once an append's answer was lost
	lost := 0         // such answers
	fail := func(err error) (Outcome, error) {
		if unknown != nil && !errors.Is(err, ErrUnknownOutcome) {
			err = fmt.Errorf("%w (then: %w)", unknown, err)
		}
		return Outcome{}, err
	}
	for attempt := range maxAttempts {
		if attempt > 0 {
			if err := backoff(ctx, attempt); err != nil {
				return fail(err)
			}
		}
		u := &Unit{store: store, commandID: commandID, fresh: attempt == 0, uncertain: unknown != nil, revisions: make(map[AggregateID]Revision, 2)}
		events, err := decide(ctx, u)
		switch {
		case u.doubtful:
			continue
		case u.replayed != nil:
			return Outcome{Events: u.replayed, Replayed: true}, nil
		case u.failed != nil:
			return fail(u.failed)
		}
		if isTrouble(err) {
			return fail(err)
		}
		if err != nil || len(events) == 0 {
			current, cerr := u.isCurrent(ctx)
			switch {
			case cerr != nil:
				return fail(cerr)
			case !current:
				continue
			}
			return Outcome{}, err
		}
		if lost == maxUnknown {
			return Outcome{}, unknown
		}
		out, err := u.append(ctx, events)
		switch {
		case err == nil:
			return out, nil
		case errors.Is(err, ErrUnknownOutcome):
			unknown = err
			lost++
		case errors.Is(err, ErrConflict):
		default:
			return fail(err)
		}
	}
	return fail(fmt.Errorf("%w: gave up after %d attempts", ErrConflict, maxAttempts))
}

// isTrouble tells an error that decides nothing from one that refuses the command.
func isTrouble(err error) bool {
	for _, trouble := range []error{ErrUnavailable, ErrDamaged, ErrInvalid, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, trouble) {
			return true
		}
	}
	return false
}

// backoff waits a random time that grows with the attempt, at most 100 ms.
func backoff(ctx context.Context, attempt int) error {
	most := min(time.Millisecond<<min(attempt, 10), 100*time.Millisecond)
	t := time.NewTimer(rand.N(most))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Unit is one attempt to execute a command. It remembers the revision of each
// aggregate that was loaded through it.
type Unit struct {
	store     Store
	commandID string
	uncertain bool // an earlier attempt may have written its events
	fresh     bool // nothing contradicts a presumption yet
	presumed  bool // a presumption was made
	doubtful  bool // it turned out wrong
	revisions map[AggregateID]Revision
	replayed  []Envelope
	failed    error
}

// errReplayed ends a Decide whose command turns out to be executed already.
var errReplayed = errors.New("the command has been executed before")

// Load returns all events of an aggregate in order.
func (u *Unit) Load(ctx context.Context, id AggregateID) ([]Envelope, error) {
	var events []Envelope
	var done []Envelope
	for e, err := range u.store.Load(ctx, id) {
		if err != nil {
			u.failed = fmt.Errorf("load %s: %w", id, err)
			return nil, u.failed
		}
		events = append(events, e)
		if e.CommandID == u.commandID {
			done = append(done, e)
		}
	}
	if len(done) > 0 {
		// Which aggregate is asked first tells what the command answers, so all
		// must have been asked.
		u.doubtful = u.presumed
		u.replayed = done
		return nil, errReplayed
	}
	u.revisions[id] = 0
	if n := len(events); n > 0 {
		u.revisions[id] = events[n-1].Position
	}
	return events, nil
}

// Uncertain tells whether an earlier attempt may have written the events that it
// was decided to: its answer was lost.
func (u *Unit) Uncertain() bool { return u.uncertain }

// Presume takes an aggregate to be at a revision that the caller knows it to
// have had, zero for one that has no events, and spares the read; the guard of the append
// verifies it. The caller must know that the command id is not among the events. It returns false once a presumption has turned out
// wrong; Load the aggregate then.
func (u *Unit) Presume(id AggregateID, rev Revision) bool {
	if u.fresh {
		u.revisions[id] = rev
		u.presumed = true
	}
	return u.fresh
}

// isCurrent asks the leader whether all that was loaded is still as it was.
func (u *Unit) isCurrent(ctx context.Context) (bool, error) {
	for id, rev := range u.revisions {
		latest, err := u.store.Revision(ctx, id)
		if err != nil {
			return false, fmt.Errorf("confirm the revision of %s: %w", id, err)
		}
		if latest != rev {
			return false, nil
		}
	}
	return true, nil
}

func (u *Unit) append(ctx context.Context, events []Envelope) (Outcome, error) {
	proposals := make([]Proposal, len(events))
	for i, e := range events {
		rev, ok := u.revisions[e.Aggregate]
		if !ok {
			return Outcome{}, fmt.Errorf("%w: %s has an event but was not loaded", ErrInvalid, e.Aggregate)
		}
		if e.CommandID != u.commandID {
			return Outcome{}, fmt.Errorf("%w: event of command %q in command %q", ErrInvalid, e.CommandID, u.commandID)
		}
		proposals[i] = Proposal{Event: e, Expected: rev}
	}
	positions, err := u.store.Append(ctx, proposals...)
	if err != nil {
		return Outcome{}, err
	}
	for i := range events {
		events[i].Position = positions[i]
	}
	return Outcome{Events: events}, nil
}
