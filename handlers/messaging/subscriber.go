package messaging

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

// SubscriberConfig tells how a Subscriber works.
type SubscriberConfig struct {
	// Consumer is the name of the durable consumer. Subscribers with the same one share the
	// messages of a stream.
	Consumer string
	// Concurrency is how many messages of a subscription are handed out at once: 1.
	Concurrency int
	// Order tells what a message waits for. It holds as long as a single subscription uses the consumer and nothing is lost
	// on its way, and with SoleOwner always: the server redelivers what was given back, lost, or in flight when a process died,
	// out of order. It must not block.
	// When nil there is no order, and no message is taken before it can be handed out, so that other subscribers can
	// have it.
	Order func(jetstream.Msg) Precedence
	// MaxHeld bounds the messages that are taken from the stream ahead with an Order: 1,024.
	MaxHeld int
	// AckWait is how long the server waits for a sign of life of a subscriber until it
	// gives its messages to another: 30 s. Messages that are held are kept alive.
	AckWait time.Duration
	// RetryAfter is the pause before a message is handed to its handler again
	// after a Nack: 100 ms. It doubles each time, up to MaxRetryAfter: 30 s.
	RetryAfter, MaxRetryAfter time.Duration
	// CloseTimeout is how long a handler may go on when the subscription ends: 10 s. Then the context of its
	// message is cancelled and the message will be delivered again.
	CloseTimeout time.Duration
	// SoleOwner makes a consumer of its own, named by Consumer and more, when a subscription begins, and removes any other that is named
	// so: what an earlier one left comes in order, and an earlier owner that does not know that it has been replaced
	// receives nothing any more. When a message was lost on its way, it begins again with what is left. What is settled is removed from the
	// stream many at a time, up to the first message that is not: to remove a message of its own takes a write to disk. So a crash leads to
	// the redelivery of what was settled just before. Only for a work queue that one process reads at a time, and with an Order.
	SoleOwner bool
	Logger    *slog.Logger
}

func (c *SubscriberConfig) setDefaults() {
	positive(&c.Concurrency, 1)
	positive(&c.MaxHeld, 1024)
	positive(&c.AckWait, 30*time.Second)
	positive(&c.RetryAfter, 100*time.Millisecond)
	positive(&c.MaxRetryAfter, 30*time.Second)
	positive(&c.CloseTimeout, 10*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func positive[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Subscriber receives messages from streams through durable pull consumers. It
// implements watermill's message.Subscriber and is safe for concurrent use.
//
// A message that is nacked keeps its place and is handed out again there. Nothing is acknowledged to
// the server that a handler has not acknowledged.
type Subscriber struct {
	js       jetstream.JetStream
	cfg      SubscriberConfig
	consumer string // its name

	mu      sync.Mutex
	closing bool
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	subs    sync.WaitGroup
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber returns a subscriber on a connection, which stays the caller's and has to
// outlive it.
func NewSubscriber(js jetstream.JetStream, cfg SubscriberConfig) (*Subscriber, error) {
	if cfg.Consumer == "" {
		return nil, errors.New("a subscriber needs the name of its consumer")
	}
	if cfg.SoleOwner && cfg.Order == nil {
		return nil, errors.New("a sole owner needs an Order")
	}
	cfg.setDefaults()
	s := &Subscriber{js: js, cfg: cfg, consumer: cfg.Consumer}
	if cfg.SoleOwner {
		s.consumer += "-" + rand.Text()
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Subscribe delivers the messages of a stream until ctx ends or the subscriber is closed; the
// channel is closed when everything that was handed out is settled. The stream has to exist. The context of a
// message has the values of ctx but not its end.
func (s *Subscriber) Subscribe(ctx context.Context, stream string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, fmt.Errorf("subscribe to %s: %w", stream, ErrClosed)
	}
	consumer, err := s.begin(ctx, stream)
	if err != nil {
		return nil, err
	}
	sub := newSubscription(ctx, s, stream, consumer)
	s.subs.Go(func() { sub.run(s.ctx) })
	return sub.out, nil
}

// begin returns the consumer at the beginning of a subscription. A sole owner removes those of earlier owners first.
func (s *Subscriber) begin(ctx context.Context, stream string) (jetstream.Consumer, error) {
	if s.cfg.SoleOwner {
		if err := s.disown(ctx, stream); err != nil {
			return nil, fmt.Errorf("subscribe to %s: reset its consumer: %w", stream, err)
		}
	}
	return s.open(ctx, stream)
}

// disown removes the consumers of a stream whose names begin as this one's. Whoever works on with one receives no more, and cannot
// make it anew: a work queue takes one consumer.
func (s *Subscriber) disown(ctx context.Context, stream string) error {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	handle, err := s.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	names := handle.ConsumerNames(ctx)
	for name := range names.Name() {
		if !strings.HasPrefix(name, s.cfg.Consumer) {
			continue
		}
		if err := handle.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	return names.Err()
}

// open returns the consumer, which it creates when there is none.
func (s *Subscriber) open(ctx context.Context, stream string) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	consumer, err := s.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable:       s.consumer,
		AckPolicy:     jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckWait:       s.cfg.AckWait,
		MaxDeliver:    -1,
		MaxAckPending: s.cfg.MaxHeld,
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", stream, err)
	}
	return consumer, nil
}

// reset returns a new consumer in place of the one that there was, so that it delivers what is in the stream in order. It fails when
// another owner has come since.
func (s *Subscriber) reset(ctx context.Context, stream string) (jetstream.Consumer, error) {
	err := s.js.DeleteConsumer(ctx, stream, s.consumer)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("subscribe to %s: reset its consumer: %w", stream, err)
	}
	return s.open(ctx, stream)
}

// Close ends all subscriptions and waits until they are settled, at most about
// CloseTimeout.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.cancel()
	s.subs.Wait()
	return nil
}
