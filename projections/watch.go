package projections

import (
	"context"
	"errors"
	"sync"
	"time"

	"rollcall/eventstore"
)

// How often the checkpoint that another instance moves is looked at, and how often while someone waits for it.
const (
	watchEvery   = 250 * time.Millisecond
	awaitedEvery = 10 * time.Millisecond
	haltedEvery  = time.Second // while halted
)

// share applies events while this instance leads, and otherwise watches. Once halted it watches on, until somebody has moved the checkpoint.
func (r *Runner) share(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.watch(watching) })
	defer wg.Wait()
	defer stop()
	for {
		err := r.lead(ctx, r.alone)
		var halt *HaltError
		if !errors.As(err, &halt) || halt.LogDamaged() {
			return err
		}
		r.stand(halt)
		r.log.Error("projection has halted, until it is built anew or another instance applies what this one cannot", "error", err)
		if !r.awaitMove(ctx, halt.Position) {
			return err
		}
		r.stand(nil)
		r.log.Info("projection goes on: its checkpoint was moved")
	}
}

// awaitMove waits until somebody else has moved the checkpoint of a projection that has halted at a position: an instance that can apply
// the event there, or whoever has built the read model anew. It tells whether that is so before ctx ends.
func (r *Runner) awaitMove(ctx context.Context, halted eventstore.Position) bool {
	at, before := r.projection.Checkpoint(ctx)
	for {
		now, err := r.projection.Checkpoint(ctx)
		if err == nil && (before != nil || now != at || now >= halted) {
			return true
		}
		if !sleep(ctx, haltedEvery) {
			return false
		}
	}
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
		r.watched(checkpoint)
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
