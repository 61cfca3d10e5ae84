package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"rollcall/eventstore"
	"rollcall/projections"
	"rollcall/projections/accountlist/listtest"
)

func TestAnInstanceThatStandsByWaitsForWhatTheLeaderApplies(t *testing.T) {
	w, db, address := world(t)
	other := open(t, address)
	standby := other.Live(w.Codec)
	var waiting sync.WaitGroup
	for i := range 10 {
		waiting.Go(func() {
			want := eventstore.Position(i)
			if err := standby.WaitFor(t.Context(), want); err != nil {
				t.Errorf("wait: %v", err)
			}
			if got, err := standby.Checkpoint(t.Context()); err != nil || got < want {
				t.Errorf("after the wait for %d the checkpoint is %d (%v)", want, got, err)
			}
		})
	}
	w.Apply(t, listtest.NewApp("app")...)
	next := create(t, db)
	h := &history{w: w}
	if err := db.List(next, w.Codec).Apply(t.Context(), 0, w.Encode(t, 0, listtest.NewApp("app")...)); err != nil {
		t.Fatal(err)
	}
	if err := db.Promote(t.Context(), next); err != nil { // while they wait
		t.Fatal(err)
	}
	for range 7 {
		h.apply(t, listtest.NewApp(listtest.LoadApp + "-" + "x")[1])
	}
	waiting.Wait()

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := standby.WaitFor(ended, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait whose context has ended returns %v", err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- standby.WaitFor(t.Context(), 1000) }()
	other.Close()
	if err := <-stopped; !errors.Is(err, projections.ErrStopped) {
		t.Errorf("a wait on a database that is closed returns %v, want ErrStopped", err)
	}
	if err := standby.WaitFor(t.Context(), 1000); !errors.Is(err, projections.ErrStopped) {
		t.Errorf("a wait on a closed database returns %v, want ErrStopped", err)
	}
}
