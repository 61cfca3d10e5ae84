package projections_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/eventstore"
	"rollcall/projections"
)

// oneAtATime is a lead that goes to one after another.
func oneAtATime() projections.Lead {
	token := make(chan struct{}, 1)
	return func(ctx context.Context, work func(context.Context) error) error {
		select {
		case token <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		defer func() { <-token }()
		return work(ctx)
	}
}

func TestOneInstanceAppliesAndTheOthersWatchUntilItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c, lead := newMemoryLog(1000), &counter{}, oneAtATime()
		first, second := projections.NewRunner(log, c, projections.WithLead(lead)), projections.NewRunner(log, c, projections.WithLead(lead))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- first.Run(ctx) }()
		synctest.Wait()
		start(t, second)
		if err := second.WaitFor(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		if s := second.Status(); s.Leading || s.Position != 1000 || s.Lag() != 0 {
			t.Errorf("the one that watches is at %+v", s)
		}
		before := time.Now()
		waited := make(chan error, 1)
		go func() { waited <- second.WaitFor(t.Context(), 1001) }()
		synctest.Wait()
		log.add(1)
		if err := <-waited; err != nil || time.Since(before) > 20*time.Millisecond {
			t.Errorf("an event that another instance applied was waited for %s (%v)", time.Since(before), err)
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		log.add(1)
		if err := second.WaitFor(t.Context(), 1002); err != nil {
			t.Fatal(err)
		}
		if s := second.Status(); !s.Leading {
			t.Errorf("the one that took over is at %+v", s)
		}
		if err := first.WaitFor(t.Context(), 1002); !errors.Is(err, projections.ErrStopped) {
			t.Errorf("the one that stopped: %v, want %v", err, projections.ErrStopped)
		}
	})
}

// oddAt is a projection that cannot apply one event until it is told to.
func oddAt(position eventstore.Position) (c *counter, mend func()) {
	var mended atomic.Bool
	return &counter{hook: func(events []eventstore.Envelope) error {
		if events[len(events)-1].Position < position || mended.Load() {
			return nil
		}
		return &projections.EventError{Position: position, Type: "odd", Err: errors.New("it is odd")}
	}}, func() { mended.Store(true) }
}

func TestASharedProjectionStaysHaltedUntilItsCheckpointIsMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, mend := oddAt(3)
		log := newMemoryLog(5)
		r := projections.NewRunner(log, c, projections.WithLead(oneAtATime()))
		done := start(t, r)
		var halt *projections.HaltError
		if err := r.WaitFor(t.Context(), 4); !errors.As(err, &halt) || halt.Position != 3 || halt.LogDamaged() {
			t.Fatalf("waiting is %v, want that it halted at 3", err)
		}
		if err := r.WaitFor(t.Context(), 2); err != nil {
			t.Errorf("what was applied is not shown: %v", err)
		}
		mend() // the next attempt would succeed; there is to be none
		time.Sleep(time.Hour)
		if s := r.Status(); s.Position != 2 || s.Leading || !errors.Is(s.Halted, projections.ErrHalted) {
			t.Errorf("an hour later it is at %+v, want halted at 2", s)
		}
		if err := c.Apply(t.Context(), 2, log.events[2:3]); err != nil { // by another instance
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := r.WaitFor(t.Context(), 5); err != nil {
			t.Errorf("it does not go on: %v", err)
		}
		if s := r.Status(); s.Position != 5 || s.Halted != nil || !s.Leading {
			t.Errorf("it is at %+v", s)
		}
		select {
		case err := <-done:
			t.Errorf("the runner has ended with %v", err)
		default:
		}
	})
}

func TestAWatcherFollowsAReadModelThatTookThePlaceOfALongerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{position: 900}
		never := func(ctx context.Context, _ func(context.Context) error) error { <-ctx.Done(); return nil }
		r := projections.NewRunner(newMemoryLog(1000), c, projections.WithLead(never))
		start(t, r)
		time.Sleep(time.Second)
		c.set(100)
		time.Sleep(time.Second)
		if s := r.Status(); s.Position != 100 || s.Lag() != 900 {
			t.Errorf("it is at %+v, want position 100", s)
		}
	})
}
