package jetstream

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"rollcall/eventstore"
)

// ReadApp yields the events of one application from one position to another, both included.
func (s *Store) ReadApp(ctx context.Context, app string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	return s.readSome(ctx, eventstore.AppSubjects(app), from, until)
}

// ReadErased yields what is recorded of the erasures of one application from one position to another, both included.
func (s *Store) ReadErased(ctx context.Context, app string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	return s.readSome(ctx, eventstore.ErasedSubjects(app), from, until)
}

// readSome yields the events on some subjects.
func (s *Store) readSome(ctx context.Context, subjects string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		from = max(from, 1)
		if until < from {
			return
		}
		if err := s.readFiltered(ctx, subjects, from, until, yield); err != nil {
			yield(eventstore.Envelope{}, err)
		}
	}
}

// readFiltered calls yield until it has had enough, which is no error.
func (s *Store) readFiltered(ctx context.Context, subjects string, from, until eventstore.Position, yield func(eventstore.Envelope, error) bool) error {
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	if last < until {
		return missing(max(last+1, from), until)
	}
	consumer, err := s.js.OrderedConsumer(ctx, s.cfg.Stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(from),
		FilterSubjects:    []string{subjects},
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return unavailable("read the log", err)
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return unavailable("read the log", err)
	}
	if info.NumPending == 0 && info.Delivered.Consumer == 0 {
		return nil // there is no such event from there on
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(pullMessages), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return unavailable("read the log", err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)() // while the consumer is made anew, the context alone does not end Next
	for next := from; next <= until; {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return unavailable("read the log", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return damaged(next, err)
		}
		at := eventstore.Position(meta.Sequence.Stream)
		switch {
		case at > until:
			return nil
		case at < next:
			return missing(next, next)
		}
		e, err := event(at, meta.Timestamp.UTC(), m.Subject(), m.Headers(), m.Data())
		if err != nil {
			return err
		}
		if !yield(e, nil) || meta.NumPending == 0 {
			return nil
		}
		next = at + 1
	}
	return nil
}

// PositionAt returns the position of the last event that the log recorded at or before a time, zero when there is none.
func (s *Store) PositionAt(ctx context.Context, t time.Time) (eventstore.Position, error) {
	last, err := s.Last(ctx)
	if err != nil || last == 0 {
		return 0, err
	}
	// A message that another replica does not have yet is behind the end that was read before.
	after := jetstreamext.GetBatchStartTime(t.Add(time.Nanosecond))
	messages, err := jetstreamext.GetBatch(ctx, s.js, s.cfg.Stream, 1, after)
	if err != nil {
		return 0, unavailable("find a time in the log", err)
	}
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return 0, unavailable("find a time in the log", err)
		}
		return min(eventstore.Position(m.Sequence)-1, last), nil
	}
	return last, nil
}
