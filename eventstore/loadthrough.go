package eventstore

import (
	"context"
	"iter"
	"time"
)

// Loader loads aggregates, see Store.
type Loader interface {
	Load(ctx context.Context, id AggregateID) iter.Seq2[Envelope, error]
}

// loadAgain is how long it takes until a replica that is behind is asked again.
const loadAgain = 20 * time.Millisecond

// LoadThrough yields the events of one aggregate in order, at least up to a revision that it has got to: a replica that is behind is asked
// again until ctx ends. An error ends the iteration.
func LoadThrough(ctx context.Context, log Loader, id AggregateID, revision Revision) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		for last := Position(0); ; {
			for e, err := range log.Load(ctx, id) {
				if err == nil && e.Position <= last {
					continue
				}
				if !yield(e, err) || err != nil {
					return
				}
				last = e.Position
			}
			if last >= revision {
				return
			}
			again := time.NewTimer(loadAgain)
			select {
			case <-again.C:
			case <-ctx.Done():
				again.Stop()
				yield(Envelope{}, context.Cause(ctx))
				return
			}
		}
	}
}
