package projections_test

import (
	"context"
	"errors"
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

func TestAnInstanceThatHaltsTellsSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &projections.EventError{Position: 3, Type: "odd", Err: errors.New("it is odd")}
		c := &counter{hook: func(events []eventstore.Envelope) error {
			if events[len(events)-1].Position >= 3 {
				return broken
			}
			return nil
		}}
		first := projections.NewRunner(newMemoryLog(5), c, projections.WithLead(oneAtATime()))
		err := first.Run(t.Context())
		var halt *projections.HaltError
		if !errors.As(err, &halt) || halt.Position != 3 {
			t.Fatalf("it ended with %v, want that it halted at 3", err)
		}
		if err := first.WaitFor(t.Context(), eventstore.Position(4)); !errors.Is(err, projections.ErrHalted) {
			t.Errorf("waiting is %v, want %v", err, projections.ErrHalted)
		}
	})
}
