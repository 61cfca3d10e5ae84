package projections_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"rollcall/eventstore"
	"rollcall/projections"
)

func TestTheObserverIsToldOfEachBatchAndOfWhatBecameOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := false
		c := &counter{hook: func([]eventstore.Envelope) error {
			if failed {
				return nil
			}
			failed = true
			return errPassing
		}}
		var told []projections.Batch
		r := projections.NewRunner(newMemoryLog(5), c, projections.WithObserver(func(_ context.Context, b projections.Batch) { told = append(told, b) }))
		start(t, r)
		if err := r.WaitFor(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(told) != 2 || !errors.Is(told[0].Err, errPassing) || told[1].Err != nil {
			t.Fatalf("it was told of %+v", told)
		}
		for _, b := range told {
			if b.Projection != "counter" || len(b.Events) != 5 || b.Events[0].Position != 1 || b.Began.IsZero() {
				t.Errorf("it was told of %+v", b)
			}
		}
	})
}

func TestOneInstanceAloneLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := projections.NewRunner(newMemoryLog(1), &counter{})
		if r.Status().Leading {
			t.Error("it leads before it runs")
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		if !r.Status().Leading {
			t.Error("it does not lead")
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if r.Status().Leading {
			t.Error("it leads after it has stopped")
		}
	})
}
