package sqlite

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections"
)

// segmentEvents is how many events one goroutine decodes at a time.
const segmentEvents = 128

// segment is a part of a batch that is decoded on its own.
type segment struct {
	envelopes []eventstore.Envelope
	events    []domain.Event
	err       error
	done      chan struct{} // closed when events or err are there
}

// decoding is a batch that is being decoded while its first events are already applied.
type decoding struct {
	segments []*segment
	workers  sync.WaitGroup
	cancel   context.CancelFunc
}

// decode begins to decode events side by side. It must be stopped.
func decode(ctx context.Context, c *codec.Codec, events []eventstore.Envelope) *decoding {
	ctx, cancel := context.WithCancel(ctx)
	d := &decoding{cancel: cancel}
	for len(events) > 0 {
		n := min(segmentEvents, len(events))
		d.segments = append(d.segments, &segment{envelopes: events[:n], done: make(chan struct{})})
		events = events[n:]
	}
	next := make(chan *segment, len(d.segments))
	for _, s := range d.segments {
		next <- s
	}
	close(next)
	for range min(runtime.GOMAXPROCS(0), len(d.segments)) {
		d.workers.Go(func() {
			for s := range next {
				s.decode(ctx, c)
			}
		})
	}
	return d
}

// stop ends the decoding and waits for its goroutines.
func (d *decoding) stop() {
	d.cancel()
	d.workers.Wait()
}

func (s *segment) decode(ctx context.Context, c *codec.Codec) {
	defer close(s.done)
	s.events = make([]domain.Event, 0, len(s.envelopes))
	for _, e := range s.envelopes {
		if s.err = ctx.Err(); s.err != nil {
			return
		}
		event, _, err := c.Decode(ctx, e) // what has been erased is unset
		if err != nil {
			s.err = decodeError(ctx, e, err)
			return
		}
		s.events = append(s.events, event)
	}
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
