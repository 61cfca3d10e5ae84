package postgres

import (
	"context"
	"sync"
	"time"

	"rollcall/eventstore"
	"rollcall/projections"
)

// pollEvery is how often the checkpoint is read while somebody waits for it.
const pollEvery = 5 * time.Millisecond

// watch is what all who wait for a list's checkpoint share: one goroutine that reads it as
// long as anyone waits.
type watch struct {
	mu      sync.Mutex
	running bool
	waiting int
	seen    eventstore.Position // the checkpoint when it was last read
	changed chan struct{}       // closed when seen changes
}

// WaitFor returns nil once the list shows the position, whichever instance applies the
// events. It is for instances that stand by, whose own runner does not run; it may be called by
// many goroutines at once.
//
// Errors: the context's; projections.ErrStopped once the database is closed. Trouble with the
// database is waited out.
func (l *List) WaitFor(ctx context.Context, position eventstore.Position) error {
	w := &l.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.running {
		w.seen, w.changed = 0, make(chan struct{})
		if w.running = l.db.background(l.poll); !w.running {
			return projections.ErrStopped
		}
	}
	w.waiting++
	defer func() { w.waiting-- }()
	for w.seen < position {
		changed := w.changed
		w.mu.Unlock()
		err := l.awaitChange(ctx, changed)
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *List) awaitChange(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.db.lifetime.Done():
		return projections.ErrStopped
	}
}

// poll reads the checkpoint as long as anyone waits for it.
func (l *List) poll(ctx context.Context) {
	w := &l.watch
	for {
		position, err := l.Checkpoint(ctx)
		w.mu.Lock()
		if err == nil && position != w.seen {
			w.seen = position
			close(w.changed)
			w.changed = make(chan struct{})
		}
		w.running = w.waiting > 0 && ctx.Err() == nil
		goOn := w.running
		w.mu.Unlock()
		if !goOn {
			return
		}
		pause(ctx, pollEvery)
	}
}
