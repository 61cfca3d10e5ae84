package ledger_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/ledger"
	"rollcall/projections"
)

func TestALedgerThatIsWaitedForDoesNotRest(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	err := p.open(t, p.dir, func(ctx ctx, store *jetstream.Store, _ *ledger.Ledger) error {
		l := ledger.New(openFiles(t, t.TempDir()), p.checkpoints, p.key, store, ledger.Options{Interval: time.Hour})
		ctx, stop := context.WithCancel(ctx)
		var runner sync.WaitGroup
		runner.Go(func() {
			if err := projections.NewRunner(l, l, projections.WithLead(l.Lead)).Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer runner.Wait()
		defer stop()
		write(t, store, plantedEvents+1, plantedEvents+30)
		_, c, err := l.Fresh(ctx)
		if err != nil || c.Size != plantedEvents+30 {
			t.Errorf("the checkpoint covers %d events, %v", c.Size, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
