package projections

import (
	"context"
	"sync"
	"time"
)

// How often the checkpoint that another instance moves is looked at, and how often while someone waits for it.
const (
	watchEvery   = 250 * time.Millisecond
	awaitedEvery = 10 * time.Millisecond
)

// share applies events while this instance leads, and otherwise watches.
func (r *Runner) share(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.watch(watching) })
	err := r.lead(ctx, r.alone)
	stop()
	wg.Wait()
	return err
}

// alone applies events as the one instance that does.
func (r *Runner) alone(ctx context.Context) error {
	r.leads(true)
	defer r.leads(false)
	return r.retry(ctx)
}

func (r *Runner) leads(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leading = on
	if !on {
		r.retrying = nil
	}
}

// watch follows the checkpoint whenever another instance leads, until ctx ends.
func (r *Runner) watch(ctx context.Context) {
	for ctx.Err() == nil {
		pause, hurry := r.look(ctx)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-hurry:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// look takes note of the checkpoint and of the end of the log, unless this instance leads. It returns how long to wait until the next
// look, and what ends the wait.
func (r *Runner) look(ctx context.Context) (pause time.Duration, hurry <-chan struct{}) {
	r.mu.Lock()
	leading := r.leading
	r.mu.Unlock()
	if leading {
		return watchEvery, nil
	}
	checkpoint, err := r.projection.Checkpoint(ctx)
	if err == nil {
		r.advanced(checkpoint)
		if last, err := r.source.Last(ctx); err == nil {
			r.saw(last)
		}
	}
	if ctx.Err() != nil {
		return watchEvery, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.leading {
		r.retrying = err
	}
	if err == nil && len(r.waiting) > 0 {
		return awaitedEvery, nil
	}
	return watchEvery, r.hurry
}
