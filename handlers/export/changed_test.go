package export_test

import (
	"context"
	"errors"
	"testing"

	"rollcall/handlers/export"
)

func TestWhoFollowsTheJobsOfAnApplicationHearsOfItsOwnAlone(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	job := in.order(t, "first", export.Spec{})
	at, err := in.Changed(t.Context(), app, 0)
	if err != nil || at == 0 || in.Latest(app) < at {
		t.Fatalf("the order is not told of: %d, %v", at, err)
	}
	if open := in.Unfinished(5); len(open) != 1 || open[0].ID != job.ID || open[0].Status != export.StatusQueued {
		t.Errorf("not over are %+v", open)
	}
	if open := in.Unfinished(0); len(open) != 0 {
		t.Errorf("none was asked for: %+v", open)
	}
	told := make(chan uint64)
	go func() {
		next, err := in.Changed(t.Context(), app, at)
		if err != nil {
			t.Error(err)
		}
		told <- next
	}()
	if _, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "bob"}, app, job.ID); err != nil {
		t.Fatal(err)
	}
	if next := <-told; next <= at {
		t.Errorf("the end of the job is told of at %d, its order at %d", next, at)
	}
	if open := in.Unfinished(5); len(open) != 0 {
		t.Errorf("not over are %+v", open)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := in.Changed(over, "another", 0); !errors.Is(err, context.Canceled) || in.Latest("another") != 0 {
		t.Errorf("of another application is told %d, %v", in.Latest("another"), err)
	}
}
