package accountlist

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections"
)

// segmentEvents is how many events one goroutine decodes at a time.
const segmentEvents = 128

// Decode decodes a batch, on as many goroutines as there are processors, and returns its events in order. Text that has been
// erased is unset.
//
// Errors, with the events before the one that is to blame: a *projections.EventError for an event that can never be read; any
// other passes.
func Decode(ctx context.Context, c *codec.Codec, envelopes []eventstore.Envelope) ([]domain.Event, error) {
	events := make([]domain.Event, len(envelopes))
	segments := (len(envelopes) + segmentEvents - 1) / segmentEvents
	errs := make([]error, len(envelopes)) // at the events that are to blame
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), segments) {
		workers.Go(func() {
			for {
				first := (int(next.Add(1)) - 1) * segmentEvents
				if first >= len(envelopes) {
					return
				}
				for i := first; i < min(first+segmentEvents, len(envelopes)); i++ {
					if events[i], errs[i] = decode(ctx, c, envelopes[i]); errs[i] != nil {
						break
					}
				}
			}
		})
	}
	workers.Wait()
	for i, err := range errs {
		if err != nil {
			return events[:i], err
		}
	}
	return events, nil
}

func decode(ctx context.Context, c *codec.Codec, e eventstore.Envelope) (domain.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	event, _, err := c.Decode(ctx, e) // what has been erased is unset
	if err != nil {
		return nil, decodeError(ctx, e, err)
	}
	return event, nil
}

// decodeError tells trouble that passes, with keys that cannot be reached, from an event
// that can never be read.
func decodeError(ctx context.Context, e eventstore.Envelope, err error) error {
	if ctx.Err() != nil || errors.Is(err, eventstore.ErrUnavailable) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	return &projections.EventError{Position: e.Position, Type: e.Type, Err: err}
}
