package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
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

// SubscribeApp follows the events of one application from a position onwards.
func (s *Store) SubscribeApp(ctx context.Context, app string, from eventstore.Position) (eventstore.Subscription, error) {
	return s.subscribe(ctx, from, beginning(eventstore.AppSubjects(app)))
}

// beginning returns what all subjects begin with that a subject with a wildcard at its end matches, and no others of the log do.
//
// What is wanted of the log is chosen by it, not by a filter of the server: that passes over an event that it cannot read without a
// word, and only in the whole log does a hole show.
func beginning(subjects string) string { return strings.TrimRight(subjects, "*>") }

// readSome yields the events on subjects with a wildcard at their end.
func (s *Store) readSome(ctx context.Context, subjects string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		read := s.read
		if from <= 1 {
			read = s.readFew
		}
		if until == 0 || until < from {
			return
		}
		if err := read(ctx, subjects, max(from, 1), until, yield); err != nil {
			yield(eventstore.Envelope{}, err)
		}
	}
}

// The events on some subjects are read faster by a filter where they are at most so many, and this share of the log, one in so many.
const (
	mostFew  = 100_000
	fewShare = 8
)

// readFew is read from the beginning on for subjects that may have few of the events. The leader of the stream knows how many they have
// all together: as long as so many come of the filter, none was passed over. When not, the whole log is read.
func (s *Store) readFew(ctx context.Context, subjects string, from, until eventstore.Position, yield func(eventstore.Envelope, error) bool) error {
	consumer, err := s.js.OrderedConsumer(ctx, s.cfg.Stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: []string{subjects}, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return unavailable("read the log", err)
	}
	about, err := consumer.Info(ctx) // of a replica that may be behind
	if err != nil {
		return unavailable("read the log", err)
	}
	if about.NumPending > mostFew {
		return s.read(ctx, subjects, from, until, yield)
	}
	last, count, err := s.count(ctx, subjects)
	if err != nil {
		return err
	}
	if until > last || count > uint64(last)/fewShare {
		return s.read(ctx, subjects, from, until, yield)
	}
	f := filtered{until: until, yield: yield}
	if err := f.take(ctx, consumer, count); err != nil || f.enough {
		return err
	}
	if f.came == count && f.at <= last { // those that were counted and not written before that come behind last
		return s.Verify(ctx)
	}
	// One was passed over, or there is one more by now.
	var again uint64
	err = s.read(ctx, subjects, from, until, func(e eventstore.Envelope, err error) bool {
		if e.Position < f.next {
			again++
			return true
		}
		f.enough = again == f.handed && !yield(e, err)
		return again == f.handed && !f.enough
	})
	if err == nil && !f.enough && again != f.handed {
		err = unavailable("read the log", fmt.Errorf("%d events of %s came up to position %d, and there are %d", f.handed, subjects, f.next-1, again))
	}
	return err
}

// count returns the position of the latest event, and how many events on some subjects there are up to there, or a few more that have been written
// since, as the leader of the stream knows.
func (s *Store) count(ctx context.Context, subjects string) (last eventstore.Position, count uint64, err error) {
	if last, err = s.Last(ctx); err != nil {
		return 0, 0, err
	}
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(subjects))
	if err != nil {
		return 0, 0, unavailable("ask for the number of events in the log", err)
	}
	for _, n := range info.State.Subjects {
		count += n
	}
	return last, count, nil
}

// filtered is what has come of a filter.
type filtered struct {
	until  eventstore.Position
	yield  func(eventstore.Envelope, error) bool
	came   uint64
	at     eventstore.Position // of the last that came
	handed uint64              // of them, to yield
	next   eventstore.Position // behind the last that was handed on
	enough bool                // whether yield wants no more
}

// take hands on events until so many have come, or none comes for a while, which is no error.
func (f *filtered) take(ctx context.Context, consumer jetstream.Consumer, count uint64) error {
	if count == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(pullMessages), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return unavailable("read the log", err)
	}
	defer messages.Stop()
	for f.came < count {
		patience, cancel := context.WithTimeout(ctx, stall)
		m, err := next(patience, messages)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		case err != nil:
			return unavailable("read the log", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return damaged(f.at+1, err)
		}
		f.came, f.at = f.came+1, eventstore.Position(meta.Sequence.Stream)
		if f.at > f.until {
			continue
		}
		e, err := event(f.at, meta.Timestamp.UTC(), m.Subject(), m.Headers(), m.Data())
		if err != nil {
			return err
		}
		f.handed, f.next = f.handed+1, f.at+1
		if f.enough = !f.yield(e, nil); f.enough {
			return nil
		}
	}
	return nil
}

// next returns the next message. While the consumer is made anew, the context alone does not end MessagesContext.Next.
func next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	defer context.AfterFunc(ctx, messages.Stop)()
	m, err := messages.Next(jetstream.NextContext(ctx))
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return m, err
}

// PositionAt returns the position of the last event that the log recorded at or before a time, zero when there is none.
func (s *Store) PositionAt(ctx context.Context, t time.Time) (eventstore.Position, error) {
	last, err := s.Last(ctx)
	if err != nil || last == 0 {
		return 0, err
	}
	end, err := s.get(ctx, last)
	if err != nil {
		return 0, err
	}
	if !end.Time.After(t) {
		return last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AckTimeout)
	defer cancel()
	const retry = 20 * time.Millisecond
	for {
		first, err := s.firstFrom(ctx, t.Add(time.Nanosecond))
		if err == nil {
			return min(first-1, last), nil
		}
		if !errors.Is(err, errNoMessage) { // that there is none is said by a replica which is behind
			return 0, err
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return 0, unavailable("find a time in the log", ctx.Err())
		}
	}
}

// firstFrom returns the position of the first event that a replica has from a time on.
func (s *Store) firstFrom(ctx context.Context, t time.Time) (eventstore.Position, error) {
	messages, err := jetstreamext.GetBatch(ctx, s.js, s.cfg.Stream, 1, jetstreamext.GetBatchStartTime(t))
	if err != nil {
		return 0, unavailable("find a time in the log", err)
	}
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return 0, errNoMessage
		}
		if err != nil {
			return 0, unavailable("find a time in the log", err)
		}
		return eventstore.Position(m.Sequence), nil
	}
	return 0, errNoMessage
}
