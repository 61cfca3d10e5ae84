package messaging

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// subscription moves the messages of one stream to its channel.
//
// It ends in this order: nothing more is taken from the stream; what has been handed out is
// finished; what is left goes back to the server; the channel is closed.
// Giving anything back earlier could let another subscriber overtake a message of the same key.
type subscription struct {
	cfg    *SubscriberConfig
	stream string
	reopen func(context.Context) (jetstream.Consumer, error)
	js     jetstream.JetStream
	conn   *nats.Conn
	values context.Context // of Subscribe, for the values in it
	out    chan *message.Message

	consumer jetstream.Consumer
	held     held
	stop     <-chan struct{} // closed when nothing more is to be handed out
	abort    chan struct{}   // closed when handlers have had their time
}

func newSubscription(ctx context.Context, s *Subscriber, stream string, c jetstream.Consumer) *subscription {
	sub := &subscription{
		cfg: &s.cfg, stream: stream, values: ctx, consumer: c, js: s.js,
		reopen: func(ctx context.Context) (jetstream.Consumer, error) { return s.open(ctx, stream) },
		conn:   s.js.Conn(),
		out:    make(chan *message.Message), abort: make(chan struct{}),
	}
	if s.cfg.SoleOwner {
		sub.held.floor = &floor{}
		sub.reopen = func(ctx context.Context) (jetstream.Consumer, error) { return s.reset(ctx, stream) }
	}
	return sub
}

// run works until the context that was given to Subscribe or the subscriber's ends.
func (s *subscription) run(closing context.Context) {
	ctx, cancel := context.WithCancel(s.values)
	defer cancel()
	defer context.AfterFunc(closing, cancel)()
	s.stop = ctx.Done()

	alive, quiet := context.WithCancel(context.WithoutCancel(ctx))
	var heart, work sync.WaitGroup
	heart.Go(func() { s.held.keepAlive(alive, s.cfg.AckWait/3) })
	if s.held.floor != nil {
		heart.Go(func() { s.purgeRegularly(alive) })
	}
	if s.cfg.Order == nil {
		for range s.cfg.Concurrency {
			work.Go(func() { s.takeOneByOne(ctx) })
		}
	} else {
		s.startInOrder(ctx, &work)
	}
	<-s.stop
	timeout := time.AfterFunc(s.cfg.CloseTimeout, func() { close(s.abort) })
	work.Wait()
	timeout.Stop()
	quiet()
	heart.Wait()
	if s.held.floor != nil {
		s.held.ackSettled()
	}
	s.held.giveBack(s.conn)
	// Acknowledgements are to arrive before the process ends. Without a server there is nobody to wait for.
	_ = s.conn.FlushTimeout(time.Second)
	close(s.out)
}

// startInOrder starts what takes messages ahead and hands each out when its precedence and a free slot allow.
func (s *subscription) startInOrder(ctx context.Context, work *sync.WaitGroup) {
	var line lineup
	slots := make(chan struct{}, s.cfg.Concurrency)
	start := func(d *delivery) func(*place) {
		return func(p *place) {
			work.Go(func() {
				select {
				case slots <- struct{}{}:
				case <-s.stop:
					return
				}
				settled := s.deliver(d)
				<-slots
				if settled {
					line.leave(p)
				}
			})
		}
	}
	work.Go(func() {
		s.receive(ctx, s.cfg.MaxHeld, 0, func(d *delivery) { line.enter(s.cfg.Order(d.msg), start(d)) })
	})
}

// purgeRegularly removes what is settled from the stream, and ends with doing so a last time. What is held up by an earlier message
// for long is acknowledged one by one.
func (s *subscription) purgeRegularly(ctx context.Context) {
	const every, patience = 20 * time.Millisecond, 2 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	purged, risen := uint64(0), time.Now()
	var stream jetstream.Stream // its handle, once it is had
	purge := func(ctx context.Context) {
		below := s.held.settledBelow()
		if below <= purged {
			if time.Since(risen) > patience {
				s.held.ackSettled()
				risen = time.Now()
			}
			return
		}
		if err := s.purge(ctx, &stream, below); err != nil {
			s.cfg.Logger.Warn("what is settled cannot be removed; trying again", "stream", s.stream, "error", err)
			return
		}
		purged, risen = below, time.Now()
	}
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			purge(ctx)
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	purge(last)
}

// purge removes all messages below a sequence from the stream, whose handle it gets the first time.
func (s *subscription) purge(ctx context.Context, stream *jetstream.Stream, below uint64) (err error) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	if *stream == nil {
		if *stream, err = s.js.Stream(ctx, s.stream); err != nil {
			return err
		}
	}
	return (*stream).Purge(ctx, jetstream.WithPurgeSequence(below))
}

// takeOneByOne asks for a message whenever it has none.
func (s *subscription) takeOneByOne(ctx context.Context) {
	for ctx.Err() == nil {
		var next *delivery
		s.receive(ctx, 1, 1, func(d *delivery) { next = d })
		if next != nil {
			s.deliver(next)
		}
	}
}

// pullHeartbeat is how often the server says that it knows of a request for messages. A request that got lost, such as on the way to a leader
// that has just stopped, is made again after two are missing.
const pullHeartbeat = time.Second

// receive takes messages from the stream, with up to ahead of them on their way, until the subscription
// ends or it has taken most of them, unless that is zero. It outlives faults of the connection and the
// server. What arrives when the subscription has ended is held, to be given back.
func (s *subscription) receive(ctx context.Context, ahead, most int, use func(*delivery)) {
	opts := []jetstream.PullMessagesOpt{jetstream.PullMaxMessages(ahead), jetstream.PullHeartbeat(pullHeartbeat)}
	if most > 0 {
		opts = append(opts, jetstream.StopAfter(most))
	}
	for consumer := s.consumer; ctx.Err() == nil; {
		err := s.receiveFrom(ctx, consumer, opts, most, use)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			s.cfg.Logger.Warn("messages cannot be received; trying again", "stream", s.stream, "error", err)
			consumer = s.openAgain(ctx, consumer)
		}
	}
}

func (s *subscription) receiveFrom(ctx context.Context, consumer jetstream.Consumer, opts []jetstream.PullMessagesOpt, most int, use func(*delivery)) error {
	messages, err := consumer.Messages(opts...)
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Drain)()
	for taken := 0; most == 0 || taken < most; taken++ {
		m, err := messages.Next()
		if err != nil {
			return err
		}
		d, err := s.held.add(m)
		if err != nil {
			return err
		}
		if d != nil && ctx.Err() == nil {
			use(d)
		}
	}
	return nil
}

// openAgain returns the consumer, which may have to be created again, after a pause. It returns the one
// before when the subscription ends.
func (s *subscription) openAgain(ctx context.Context, before jetstream.Consumer) jetstream.Consumer {
	const pause = 500 * time.Millisecond
	for s.wait(pause) {
		consumer, err := s.reopen(ctx)
		if err == nil {
			if s.held.floor != nil {
				s.held.restart()
			}
			return consumer
		}
		s.cfg.Logger.Warn("messages cannot be received; trying again", "stream", s.stream, "error", err)
	}
	return before
}

// wait waits for a time and returns false when the subscription ends before.
func (s *subscription) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stop:
		return false
	}
}

// deliver hands a message out until its handler acknowledges it, and returns false when the
// subscription ends before. A message that is not settled then stays held.
func (s *subscription) deliver(d *delivery) (settled bool) {
	for pause := s.cfg.RetryAfter; ; pause = min(2*pause, s.cfg.MaxRetryAfter) {
		switch s.handOut(d) {
		case acked:
			return true
		case unsettled:
			return false
		}
		if !s.wait(pause) {
			return false
		}
	}
}

type verdict int

const (
	acked verdict = iota
	nacked
	unsettled
)

// handOut hands a message out once.
func (s *subscription) handOut(d *delivery) verdict {
	// The end of the subscription must not end the handlers: they have CloseTimeout.
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.values))
	defer cancel()
	m := d.message(s.stream)
	var later time.Duration // set by the handler before it acknowledges
	m.SetContext(context.WithValue(context.WithValue(ctx, receivedKey{}, d.received(s.stream)), laterKey{}, &later))
	select {
	case <-s.stop: // first of all: select picks any that is ready
		return unsettled
	default:
	}
	select {
	case s.out <- m:
	case <-s.stop:
		return unsettled
	}
	select {
	case <-m.Acked():
		if later > 0 {
			s.held.postpone(d, later)
		} else {
			s.held.ack(d)
		}
		return acked
	case <-m.Nacked():
		return nacked
	case <-s.abort:
		return unsettled
	}
}
