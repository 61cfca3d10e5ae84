package projections

import (
	"context"
	"time"

	"rollcall/eventstore"
)

// Status is what a runner knows about its projection.
type Status struct {
	Name     string
	Position eventstore.Position // of the last event applied
	Last     eventstore.Position // the latest position seen in the log
	Halted   error               // a *HaltError while the projection has stopped, and does not go on by itself
	Retrying error               // the trouble that is being retried, nil when all is well
	Leading  bool                // whether this instance applies the events
}

// Lag returns how many events are known to wait.
func (s Status) Lag() uint64 {
	if s.Last <= s.Position {
		return 0
	}
	return uint64(s.Last - s.Position)
}

// Status returns the state of the projection. It is safe for concurrent use.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Status{Name: r.projection.Name(), Position: r.position, Last: r.last, Halted: r.halted, Retrying: r.retrying, Leading: r.leading}
}

// WaitFor returns nil once the projection shows the position. It may be called
// before Run, and by many goroutines at once.
//
// Errors: the context's; a *HaltError when the projection has halted before the position;
// ErrStopped when Run has ended before it.
func (r *Runner) WaitFor(ctx context.Context, position eventstore.Position) error {
	w, err := r.enqueue(position)
	if w == nil {
		return err
	}
	select {
	case <-w.ready:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.reached(position)
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting.remove(w)
		return ctx.Err()
	}
}

// enqueue returns a waiter, or none when the answer is known already.
func (r *Runner) enqueue(position eventstore.Position) (*waiter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.position >= position || r.ended() != nil {
		return nil, r.reached(position)
	}
	select {
	case r.hurry <- struct{}{}:
	default:
	}
	return r.waiting.add(position), nil
}

// reached tells why the projection will not show a position, nil when it does.
// The mutex is held.
func (r *Runner) reached(position eventstore.Position) error {
	if r.position >= position {
		return nil
	}
	return r.ended()
}

// ended returns why no more events are applied, nil while they are. The mutex is held.
func (r *Runner) ended() error {
	switch {
	case r.halted != nil:
		return r.halted
	case r.stopped:
		return ErrStopped
	}
	return nil
}

// moved records the position that the projection shows now.
func (r *Runner) moved(position eventstore.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.move(position)
}

// move records the position. The mutex is held.
func (r *Runner) move(position eventstore.Position) {
	r.position = position
	r.last = max(r.last, position)
	r.waiting.wake(position)
}

// watched records the position that the projection shows while another instance leads. It may be an earlier one than before: of
// a read model that took the place of another.
func (r *Runner) watched(position eventstore.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading && r.position != position {
		r.move(position)
	}
}

// stand records that the projection has halted, or with nil that it goes on.
func (r *Runner) stand(halt *HaltError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halted = nil
	if halt != nil {
		r.halted = halt
		r.waiting.wakeAll()
	}
}

// timed records how long a batch took.
func (r *Runner) timed(took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took = took
}

// saw records a position of the log.
func (r *Runner) saw(position eventstore.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last, position)
}

// trouble records what is being retried, nil when it has passed.
func (r *Runner) trouble(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retrying = err
}

// end records that no more events will be applied: halted, or stopped when err is nil.
func (r *Runner) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halted, r.stopped, r.retrying = err, true, nil
	r.waiting.wakeAll()
}
