package accountlist

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

// Decoding is a batch that is being decoded while its first events are already applied.
// An adapter makes one with Decode.
type Decoding struct {
	segments []*segment
	workers  sync.WaitGroup
	cancel   context.CancelFunc
}

// Decode begins to decode events side by side, on as many goroutines as there are
// processors. It must be stopped.
func Decode(ctx context.Context, c *codec.Codec, events []eventstore.Envelope) *Decoding {
	ctx, cancel := context.WithCancel(ctx)
	d := &Decoding{cancel: cancel}
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

// Each calls take with each event and its envelope in order, as they become ready, until
// take returns an error. Text that has been erased is unset.
//
// Errors: that of take; a *projections.EventError for an event that can never be read, after
// those before it; any other passes.
func (d *Decoding) Each(take func(domain.Event, *eventstore.Envelope) error) error {
	for _, s := range d.segments {
		<-s.done
		for i, event := range s.events {
			if err := take(event, &s.envelopes[i]); err != nil {
				return err
			}
		}
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

// Stop ends the decoding and waits for its goroutines.
func (d *Decoding) Stop() {
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
