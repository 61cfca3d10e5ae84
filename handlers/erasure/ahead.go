package erasure

import (
	"context"
	"time"

	"rollcall/eventstore"
)

// aheadAfter is how long removing copies may take until the keys of further deletions are destroyed meanwhile, and how often that is
// repeated.
const aheadAfter = 5 * time.Second

// destroyAtOnce bounds how many keys are destroyed by one call while they are destroyed ahead.
const destroyAtOnce = 100

// Standing is how far a Reactor has come.
type Standing struct {
	Keys eventstore.Position // the keys of accounts that were deleted at or before it are destroyed
	Done eventstore.Position // the copies of those that were deleted at or before it are removed and that is recorded: the checkpoint
	// Stuck tells that what is to be done next has failed and is repeated. Only the instance that erases knows.
	Stuck bool
}

// Standing returns how far the reactor has come, the keys as Checkpoint does.
func (r *Reactor) Standing(ctx context.Context) (Standing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done, err := r.read(ctx)
	return Standing{Keys: max(done, r.ahead), Done: done, Stuck: r.stuck}, err
}

// whileAhead does f and, while that takes long or when it fails, destroys the keys of the accounts that were deleted since.
func (r *Reactor) whileAhead(ctx context.Context, f func() error) error {
	if r.opts.Ahead == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	again := time.NewTicker(aheadAfter)
	defer again.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				r.goAhead(ctx)
			}
			return err
		case <-again.C:
			r.goAhead(ctx)
		}
	}
}

// goAhead destroys the keys of all deletions in the log behind those whose keys are destroyed.
func (r *Reactor) goAhead(ctx context.Context) {
	if err := r.destroyAhead(ctx); err != nil && ctx.Err() == nil {
		r.opts.Logger.WarnContext(ctx, "keys of deleted accounts are destroyed later", "error", err)
	}
}

func (r *Reactor) destroyAhead(ctx context.Context) error {
	last, err := r.opts.Ahead.Last(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	from := max(r.ahead, r.checkpoint) + 1
	r.mu.Unlock()
	var accounts []Erased
	for e, err := range r.opts.Ahead.Read(ctx, from, last) {
		if err != nil {
			return err
		}
		accounts = append(accounts, deletions([]eventstore.Envelope{e})...)
		if len(accounts) < destroyAtOnce && e.Position < last {
			continue
		}
		if err := r.destroy(ctx, accounts); err != nil {
			return err
		}
		r.reached(e.Position)
		accounts = accounts[:0]
	}
	return nil
}

// reached notes that the keys of all deletions up to a position are destroyed.
func (r *Reactor) reached(position eventstore.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead = max(r.ahead, position)
}
