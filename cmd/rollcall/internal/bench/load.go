package bench

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// rate runs do from a number of clients side by side for a time and returns how
// often a second it was done. do gets a number that no other call gets.
func rate(ctx context.Context, clients int, seconds float64, do func(ctx context.Context, i int) error) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	end := start.Add(time.Duration(seconds * float64(time.Second)))
	for range clients {
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				if err := do(ctx, int(next.Add(1))); err != nil {
					cancel(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	return float64(done.Load()) / time.Since(start).Seconds(), nil
}

// latency does something a number of times, one after another, and returns the
// median and the 99th percentile.
func latency(times int, do func(i int) error) (p50, p99 time.Duration, err error) {
	took := make([]time.Duration, times)
	for i := range took {
		start := time.Now()
		if err := do(i); err != nil {
			return 0, 0, err
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100], nil
}
