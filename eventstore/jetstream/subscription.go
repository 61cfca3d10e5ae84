package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
)

// pullMessages is how many messages a subscription lets the server send ahead.
const pullMessages = 4096

// heartbeat is how often the server says that there is nothing new. When two
// are missing the subscription starts again where it was.
const heartbeat = time.Second

// Subscribe follows the log from a position onwards, which may lie ahead of its end.
func (s *Store) Subscribe(ctx context.Context, from eventstore.Position) (eventstore.Subscription, error) {
	return s.subscribe(ctx, from, "")
}

// subscribe follows the events whose subjects have a beginning.
func (s *Store) subscribe(ctx context.Context, from eventstore.Position, wanted string) (*subscription, error) {
	from = max(from, 1)
	consumer, err := s.js.OrderedConsumer(ctx, s.cfg.Stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(from),
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, unavailable("subscribe to the log", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(pullMessages), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return nil, unavailable("subscribe to the log", err)
	}
	sub := &subscription{messages: messages, next: from, wanted: wanted, arrived: make(chan jetstream.Msg, pullMessages), stop: make(chan struct{})}
	sub.pump.Go(sub.receive)
	return sub, nil
}

// subscription is a place in the log that moves forward.
type subscription struct {
	messages jetstream.MessagesContext
	arrived  chan jetstream.Msg // closed when no more will come; then failed tells why
	failed   error
	next     eventstore.Position // the position that comes next
	wanted   string              // what the subjects of the events begin with that Next returns
	broken   error               // what is wrong at that position, which Next has found

	stop     chan struct{}
	stopOnce sync.Once
	pump     sync.WaitGroup
}

// receive moves messages from the connection to arrived, so that Next can tell what has
// arrived from what has not.
func (s *subscription) receive() {
	defer close(s.arrived)
	for {
		m, err := s.messages.Next()
		if err != nil {
			s.failed = err
			return
		}
		select {
		case s.arrived <- m:
		case <-s.stop:
			s.failed = jetstream.ErrMsgIteratorClosed
			return
		}
	}
}

// Next returns the events that have arrived, after waiting for the first.
func (s *subscription) Next(ctx context.Context, limit int) ([]eventstore.Envelope, error) {
	for {
		events, err := s.advance(ctx, limit)
		if len(events) > 0 || err != nil {
			return events, err
		}
	}
}

// advance is Next, but for what has arrived, which may be nothing that is wanted.
func (s *subscription) advance(ctx context.Context, limit int) ([]eventstore.Envelope, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	limit = max(limit, 1)
	var m jetstream.Msg
	var open bool
	select {
	case m, open = <-s.arrived:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var events []eventstore.Envelope
	for passed := 0; open; passed++ {
		e, wanted, err := s.decode(m)
		if err != nil {
			s.broken = err
			break
		}
		s.next++
		if wanted {
			if events == nil {
				events = make([]eventstore.Envelope, 0, min(limit, len(s.arrived)+1))
			}
			events = append(events, e)
		}
		if len(events) >= limit || passed >= readAhead {
			return events, nil
		}
		select {
		case m, open = <-s.arrived:
		default:
			return events, nil
		}
	}
	if len(events) > 0 {
		return events, nil // the next call tells
	}
	if s.broken != nil {
		return nil, s.broken
	}
	return nil, s.end()
}

// decode returns the event of a message, which must be the next of the log, and whether it is wanted, without which it is not read.
func (s *subscription) decode(m jetstream.Msg) (e eventstore.Envelope, wanted bool, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return e, false, damaged(s.next, err)
	}
	at := eventstore.Position(meta.Sequence.Stream)
	switch {
	case at < s.next:
		return e, false, damaged(s.next, fmt.Errorf("position %d comes again", at))
	case at > s.next:
		return e, false, missing(s.next, at-1)
	case !strings.HasPrefix(m.Subject(), s.wanted):
		return e, false, nil
	}
	e, err = event(at, meta.Timestamp.UTC(), m.Subject(), m.Headers(), m.Data())
	return e, true, err
}

// end returns why no more events come.
func (s *subscription) end() error {
	if errors.Is(s.failed, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: the stream is gone: %w", eventstore.ErrDamaged, s.failed)
	}
	return unavailable("follow the log", s.failed)
}

// Close ends the subscription. It must not be called while Next runs.
func (s *subscription) Close() {
	s.stopOnce.Do(func() {
		close(s.stop)
		s.messages.Stop()
	})
	s.pump.Wait()
}

// missing tells which positions the log has lost.
func missing(from, to eventstore.Position) error {
	what := fmt.Sprintf("positions %d to %d are missing", from, to)
	if from == to {
		what = fmt.Sprintf("position %d is missing", from)
	}
	return fmt.Errorf("%w: %s; stop all writers and restore the log from a backup, do not start with an empty log", eventstore.ErrDamaged, what)
}

// stall is how long an event that has been written may fail to come before it is asked for by itself.
const stall = 2 * time.Second

// written is Next for events that are known to have been written, or none if what has arrived is not wanted. A consumer waits forever
// for one that the server cannot read.
func (s *Store) written(ctx context.Context, sub *subscription, limit int) ([]eventstore.Envelope, error) {
	for {
		patience, cancel := context.WithTimeout(ctx, stall)
		events, err := sub.advance(patience, limit)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return events, err
		}
		if _, err := s.get(ctx, sub.next); err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
			return nil, err
		}
	}
}

// readAhead is how many events Read takes from its subscription at once.
const readAhead = 1024

// Read yields the events from one position to another, both included.
func (s *Store) Read(ctx context.Context, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		from = max(from, 1)
		if until < from {
			return
		}
		if err := s.read(ctx, "", from, until, yield); err != nil {
			yield(eventstore.Envelope{}, err)
		}
	}
}

// read calls yield for the events on subjects with a wildcard at their end, for all when it is empty, until yield has had enough,
// which is no error.
func (s *Store) read(ctx context.Context, subjects string, from, until eventstore.Position, yield func(eventstore.Envelope, error) bool) error {
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	sub, err := s.subscribe(ctx, from, beginning(subjects))
	if err != nil {
		return err
	}
	defer sub.Close()
	for end := min(until, last); sub.next <= end; {
		events, err := s.written(ctx, sub, readAhead)
		if err != nil && sub.next <= end {
			return err
		}
		for _, e := range events {
			if e.Position > until || !yield(e, nil) {
				return nil
			}
		}
	}
	if last < until {
		return missing(max(last+1, from), until)
	}
	return nil
}
