package jetstream

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

// SubscribeApp follows the events of one application from a position onwards.
func (s *Store) SubscribeApp(ctx context.Context, app string, from eventstore.Position) (eventstore.Subscription, error) {
	return s.subscribe(ctx, from, eventstore.AppSubjects(app))
}

// subscribe follows the events on a subject, all when it is empty.
func (s *Store) subscribe(ctx context.Context, from eventstore.Position, subject string) (*subscription, error) {
	from = max(from, 1)
	cfg := jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(from),
		InactiveThreshold: time.Minute,
	}
	if subject != "" {
		cfg.FilterSubjects = []string{subject}
	}
	consumer, err := s.js.OrderedConsumer(ctx, s.cfg.Stream, cfg)
	if err != nil {
		return nil, unavailable("subscribe to the log", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(pullMessages), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return nil, unavailable("subscribe to the log", err)
	}
	sub := &subscription{messages: messages, next: from, some: subject != "", arrived: make(chan jetstream.Msg, pullMessages), stop: make(chan struct{})}
	sub.pump.Go(sub.receive)
	return sub, nil
}

// subscription is a place in the log that moves forward.
type subscription struct {
	messages jetstream.MessagesContext
	arrived  chan jetstream.Msg // closed when no more will come; then failed tells why
	failed   error
	next     eventstore.Position // the position that Next returns next, or a later one when some is set
	some     bool                // whether events are left out
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
	if s.broken != nil {
		return nil, s.broken
	}
	limit = max(limit, 1)
	var first jetstream.Msg
	select {
	case m, ok := <-s.arrived:
		if !ok {
			return nil, s.end()
		}
		first = m
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	events := make([]eventstore.Envelope, 0, min(limit, len(s.arrived)+1))
	for m := first; ; {
		e, err := s.decode(m)
		if err != nil {
			s.broken = err
			if len(events) == 0 {
				return nil, err
			}
			return events, nil // the next call tells
		}
		events = append(events, e)
		s.next = e.Position + 1
		if len(events) == limit {
			return events, nil
		}
		select {
		case next, ok := <-s.arrived:
			if !ok {
				return events, nil // the next call tells why
			}
			m = next
		default:
			return events, nil
		}
	}
}

// decode returns the event of a message, which must be the next of the log.
func (s *subscription) decode(m jetstream.Msg) (eventstore.Envelope, error) {
	meta, err := m.Metadata()
	if err != nil {
		return eventstore.Envelope{}, damaged(s.next, err)
	}
	at := eventstore.Position(meta.Sequence.Stream)
	if at < s.next || at > s.next && !s.some {
		return eventstore.Envelope{}, missing(s.next, at-1)
	}
	return event(at, meta.Timestamp.UTC(), m.Subject(), m.Headers(), m.Data())
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

// nextWritten is Next for events that are known to have been written. A consumer waits forever for one that the server cannot read.
func (s *Store) nextWritten(ctx context.Context, sub eventstore.Subscription, next eventstore.Position, limit int) ([]eventstore.Envelope, error) {
	for {
		patience, cancel := context.WithTimeout(ctx, stall)
		events, err := sub.Next(patience, limit)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return events, err
		}
		if _, err := s.get(ctx, next); err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
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
		if err := s.read(ctx, from, until, yield); err != nil {
			yield(eventstore.Envelope{}, err)
		}
	}
}

// read calls yield until it has had enough, which is no error.
func (s *Store) read(ctx context.Context, from, until eventstore.Position, yield func(eventstore.Envelope, error) bool) error {
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	sub, err := s.Subscribe(ctx, from)
	if err != nil {
		return err
	}
	defer sub.Close()
	for next := from; next <= min(until, last); {
		events, err := s.nextWritten(ctx, sub, next, int(min(readAhead, until-next+1)))
		if err != nil {
			return err
		}
		for _, e := range events {
			if !yield(e, nil) {
				return nil
			}
		}
		next += eventstore.Position(len(events))
	}
	if last < until {
		return missing(max(last+1, from), until)
	}
	return nil
}
