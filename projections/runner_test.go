package projections_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/eventstore"
	"rollcall/projections"
)

// start runs a runner until the end of the test and returns where its result goes.
func start(t *testing.T, r *projections.Runner) <-chan error {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		synctest.Wait()
	})
	return done
}

func TestRunAppliesTheBacklogAndThenEachEventAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newMemoryLog(100_000), &counter{position: 10}
		r := projections.NewRunner(log, c)
		start(t, r)
		synctest.Wait()
		if got, _ := c.counts(); got != 100_000 {
			t.Fatalf("position is %d, want 100000", got)
		}
		if largest := slices.Max(c.batches); largest != 8192 {
			t.Errorf("the largest batch has %d events, want 8192", largest)
		}
		before := time.Now()
		log.add(1)
		if err := r.WaitFor(t.Context(), 100_001); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("an event waited for %s though nothing was to be done", took)
		}
		if c.batches[len(c.batches)-1] != 1 {
			t.Errorf("batches are %v", c.batches)
		}
		if s := r.Status(); s.Position != 100_001 || s.Last != 100_001 || s.Lag() != 0 || s.Halted != nil || s.Name != "counter" {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestTheLimitOfABatchDoublesWhileBatchesAreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newMemoryLog(3000), &counter{}
		start(t, projections.NewRunner(log, c, projections.WithBatch(1000)))
		synctest.Wait()
		if want := []int{256, 512, 1000, 1000, 1000}; !slices.Equal(log.limits, want) {
			t.Errorf("limits are %v, want %v", log.limits, want)
		}
	})
}

func TestTheLimitOfABatchStaysWhileTheBacklogArrivesInSmallerParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newMemoryLog(3000), &counter{}
		log.most = 600
		start(t, projections.NewRunner(log, c, projections.WithBatch(1000)))
		synctest.Wait()
		if want := []int{256, 512, 1000, 1000, 1000, 1000}; !slices.Equal(log.limits, want) {
			t.Errorf("limits are %v, want %v", log.limits, want)
		}
		time.Sleep(time.Second)
		log.add(1)
		synctest.Wait()
		if last := log.limits[len(log.limits)-1]; last != 256 {
			t.Errorf("the limit behind the backlog is %d", last)
		}
	})
}

func TestABatchIsPreparedWhileTheOneBeforeIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var prepared atomic.Int32
		second := make(chan struct{})
		p := &preparer{}
		p.prepare = func(_ context.Context, events []eventstore.Envelope) projections.Prepared {
			if prepared.Add(1) == 2 {
				close(second)
			}
			return func(ctx context.Context, from eventstore.Position) error {
				<-second
				return p.Apply(ctx, from, events)
			}
		}
		r := projections.NewRunner(newMemoryLog(1000), p)
		start(t, r)
		if err := r.WaitFor(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		if want := []int{256, 512, 232}; !slices.Equal(p.batches, want) {
			t.Errorf("batches are %v, want %v", p.batches, want)
		}
	})
}

func TestWhatCannotBePreparedHaltsBehindThoseBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("it makes no sense")
		p := &preparer{}
		p.prepare = func(_ context.Context, events []eventstore.Envelope) projections.Prepared {
			return func(ctx context.Context, from eventstore.Position) error {
				if last := events[len(events)-1].Position; last >= 300 && from < 300 {
					return &projections.EventError{Position: 300, Type: "tick", Err: bad}
				}
				return p.Apply(ctx, from, events)
			}
		}
		r := projections.NewRunner(newMemoryLog(1000), p)
		checkHalt(t, r, start(t, r), 300, bad)
		if at, _ := p.counts(); at != 299 {
			t.Errorf("the checkpoint is %d", at)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := projections.NewRunner(newMemoryLog(5), &counter{})
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		waiting := make(chan error, 1)
		go func() { waiting <- r.WaitFor(t.Context(), 6) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run returns %v", err)
		}
		if err := <-waiting; !errors.Is(err, projections.ErrStopped) {
			t.Errorf("a wait for what will not come returns %v, want ErrStopped", err)
		}
		if err := r.WaitFor(t.Context(), 5); err != nil {
			t.Errorf("a wait for what has come returns %v", err)
		}
		if err := r.Run(t.Context()); err == nil {
			t.Error("a runner runs twice")
		}
	})
}

// checkHalt checks that a runner has halted and says so everywhere.
func checkHalt(t *testing.T, r *projections.Runner, done <-chan error, at eventstore.Position, cause error) {
	t.Helper()
	err := <-done
	var halt *projections.HaltError
	if !errors.As(err, &halt) || halt.Position != at || halt.Projection != "counter" ||
		!errors.Is(err, projections.ErrHalted) || !errors.Is(err, cause) {
		t.Fatalf("run returns %v, want a halt at position %d for %v", err, at, cause)
	}
	if s := r.Status(); !errors.Is(s.Halted, cause) {
		t.Errorf("status is %+v", s)
	}
	if err := r.WaitFor(t.Context(), 1_000_000); !errors.Is(err, projections.ErrHalted) || !errors.Is(err, cause) {
		t.Errorf("wait returns %v", err)
	}
}

func TestAHoleHaltsTheProjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newMemoryLog(10), &counter{}
		log.events[6].Position = 8
		r := projections.NewRunner(log, c)
		done := start(t, r)
		checkHalt(t, r, done, 7, eventstore.ErrDamaged)
		if got, _ := c.counts(); got != 6 {
			t.Errorf("position is %d, want that of the last event before the hole", got)
		}
	})
}

func TestAHoleThatTheLogTellsHaltsTheProjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newMemoryLog(10), &counter{}
		r := projections.NewRunner(log, c)
		done := start(t, r)
		synctest.Wait()
		log.set(func(l *memoryLog) {
			l.read = func() error { return fmt.Errorf("%w: position 11 is missing", eventstore.ErrDamaged) }
		})
		checkHalt(t, r, done, 11, eventstore.ErrDamaged)
	})
}

func TestACheckpointPastTheEndOfTheLogIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := projections.NewRunner(newMemoryLog(10), &counter{position: 11})
		done := start(t, r)
		checkHalt(t, r, done, 11, eventstore.ErrDamaged)
		if text := r.Status().Halted.Error(); !strings.Contains(text, "restore") {
			t.Errorf("the error does not say what to do: %s", text)
		}
	})
}

func TestALogThatEndsTooEarlyForAMomentIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog(10)
		r := projections.NewRunner(log, &counter{position: 11})
		start(t, r)
		time.Sleep(10 * time.Second) // a server that leads no more may answer
		if s := r.Status(); s.Halted != nil || s.Retrying == nil {
			t.Errorf("it is at %+v, want that it asks again", s)
		}
		log.add(5)
		if err := r.WaitFor(t.Context(), 15); err != nil {
			t.Error(err)
		}
	})
}

func TestAnEventThatCannotBeAppliedHaltsBehindThoseBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("no such field")
		c := &counter{}
		c.hook = func(events []eventstore.Envelope) error {
			for _, e := range events {
				if e.Position == 700 {
					return fmt.Errorf("write: %w", &projections.EventError{Position: e.Position, Type: e.Type, Err: cause})
				}
			}
			return nil
		}
		r := projections.NewRunner(newMemoryLog(1000), c)
		waiting := make(chan error, 1)
		go func() { waiting <- r.WaitFor(t.Context(), 700) }()
		done := start(t, r)
		if err := <-waiting; !errors.Is(err, cause) {
			t.Errorf("wait returns %v", err)
		}
		checkHalt(t, r, done, 700, cause)
		if got, _ := c.counts(); got != 699 {
			t.Errorf("position is %d, want 699", got)
		}
		if err := r.WaitFor(t.Context(), 699); err != nil {
			t.Errorf("a wait for what was applied returns %v", err)
		}
	})
}

func TestTroubleThatPassesIsRetriedAndSkipsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newMemoryLog(10_000), &counter{}
		everyOther := func() func() error {
			calls := 0
			return func() error {
				if calls++; calls%2 != 0 {
					return errPassing
				}
				return nil
			}
		}
		log.last, log.read = everyOther(), everyOther()
		busy := everyOther()
		c.hook = func([]eventstore.Envelope) error { return busy() }
		r := projections.NewRunner(log, c, projections.WithBatch(100))
		start(t, r)
		if err := r.WaitFor(t.Context(), 10_000); err != nil {
			t.Fatal(err)
		}
		if got, _ := c.counts(); got != 10_000 {
			t.Errorf("position is %d", got)
		}
	})
}

func TestStatusTellsWhatIsRetriedUntilItHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog(3)
		log.last = func() error { return errPassing }
		r := projections.NewRunner(log, &counter{})
		start(t, r)
		synctest.Wait()
		if s := r.Status(); !errors.Is(s.Retrying, errPassing) || s.Halted != nil {
			t.Errorf("status is %+v", s)
		}
		log.set(func(l *memoryLog) { l.last = nil })
		if err := r.WaitFor(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if s := r.Status(); s.Retrying != nil {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestAFencedRunnerGoesOnFromTheCheckpointOfTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{}
		fenced := false
		c.hook = func([]eventstore.Envelope) error {
			if !fenced {
				fenced = true
				c.position = 50 // another writer
				return fmt.Errorf("apply: %w", projections.ErrFenced)
			}
			return nil
		}
		r := projections.NewRunner(newMemoryLog(100), c)
		start(t, r)
		if err := r.WaitFor(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		if want := []int{50}; !slices.Equal(c.batches, want) {
			t.Errorf("batches are %v, want %v", c.batches, want)
		}
	})
}

func TestIdleIsCalledOnceTheBacklogIsEmptyAndAgainAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newMemoryLog(10), &counter{}
		c.idle = func() error {
			if c.idles < 3 {
				return errPassing
			}
			return nil
		}
		start(t, projections.NewRunner(log, c))
		time.Sleep(time.Minute) // of the bubble's clock
		if _, idles := c.counts(); idles != 3 {
			t.Errorf("idle was called %d times, want 3", idles)
		}
		log.add(1)
		time.Sleep(time.Minute)
		if _, idles := c.counts(); idles != 4 {
			t.Errorf("idle was called %d times, want 4", idles)
		}
	})
}

func TestWaitForWakesEachWaiterAtItsPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newMemoryLog(0), &counter{}
		r := projections.NewRunner(log, c)
		const waiters = 1000
		woken := make(chan int, waiters)
		for i := range waiters {
			go func() {
				if err := r.WaitFor(t.Context(), eventstore.Position(i+1)); err == nil {
					woken <- i
				}
			}()
		}
		ended, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- r.WaitFor(ended, 5) }()
		synctest.Wait() // before Run
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("a wait whose context has ended returns %v", err)
		}
		start(t, r)
		for n := 0; n < waiters; n += 250 {
			log.add(250)
			synctest.Wait()
			if got := len(woken); got != n+250 {
				t.Fatalf("%d waiters are awake at position %d", got, n+250)
			}
		}
	})
}
