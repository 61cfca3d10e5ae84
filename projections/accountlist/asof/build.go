package asof

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rollcall/eventstore"
	"rollcall/projections/accountlist/sqlite"
)

const (
	// batchEvents is how many events are loaded at a time.
	batchEvents = 4096
	// retryAfter is how long to wait when the log or the keys cannot be reached.
	retryAfter = time.Second
	// lookBack is how long a key that another instance has destroyed may stay in the memory of this one.
	lookBack = time.Minute
)

// build builds a list, when it is its turn.
func (s *Lists) build(e *list) (*sqlite.Temporary, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
	e.begun.Store(true)
	// An account that is deleted from here on is heard of. The key of one that was before is destroyed, which the log tells from here on, or
	// has been, so that its events are read without what they held.
	from, err := s.log.PositionAt(e.ctx, time.Now().Add(-lookBack))
	if err != nil {
		return nil, fmt.Errorf("find where to follow the log from: %w", err)
	}
	file, err := sqlite.OpenTemporary(e.ctx, e.path, s.codec)
	if err != nil {
		return nil, err
	}
	e.open(file)
	e.follower.Go(func() { s.follow(e, from+1) })
	for e.at() < e.position {
		err := s.read(e)
		switch {
		case e.ctx.Err() != nil:
			return nil, e.ctx.Err()
		case errors.Is(err, eventstore.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
			s.opts.Logger.Warn("a list as of an earlier position is built further in a moment", "app", e.app, "position", e.position, "error", err)
			sleep(e.ctx, retryAfter)
		case err != nil:
			return nil, err
		}
	}
	return file, e.finish()
}

// batch is what is loaded at a time: events up to a position, or why there are no more.
type batch struct {
	events []eventstore.Envelope
	to     eventstore.Position
	err    error
}

// read loads what is missing, and reads on while it does.
func (s *Lists) read(e *list) error {
	ctx, cancel := context.WithCancel(e.ctx)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	batches := make(chan batch, 1)
	from := e.at() + 1
	reader.Go(func() {
		defer close(batches)
		hand := func(b batch) bool {
			select {
			case batches <- b:
				return true
			case <-ctx.Done():
				return false
			}
		}
		events := make([]eventstore.Envelope, 0, batchEvents)
		for env, err := range s.log.ReadApp(ctx, string(e.app), from, e.position) {
			if err != nil {
				hand(batch{err: err})
				return
			}
			if events = append(events, env); len(events) < batchEvents {
				continue
			}
			if !hand(batch{events: events, to: env.Position}) {
				return
			}
			events = make([]eventstore.Envelope, 0, batchEvents)
		}
		hand(batch{events: events, to: e.position})
	})
	for b := range batches {
		if b.err != nil {
			return b.err
		}
		if err := e.load(b.events, b.to); err != nil {
			return err
		}
		if err := s.makeRoom(e); err != nil {
			return err
		}
	}
	return nil
}
