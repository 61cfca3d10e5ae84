package projections_test

import (
	"context"
	"errors"
	"sync"

	"rollcall/eventstore"
	"rollcall/projections"
)

// memoryLog is a log in memory that the test writes to and makes fail.
type memoryLog struct {
	mu      sync.Mutex
	events  []eventstore.Envelope
	changed chan struct{} // closed at each change
	last    func() error  // nil for none
	read    func() error
	limits  []int // of each Next
	most    int   // events that have arrived at a time, zero for all
}

func newMemoryLog(n int) *memoryLog {
	l := &memoryLog{changed: make(chan struct{})}
	l.add(n)
	return l
}

// add appends n events.
func (l *memoryLog) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.events = append(l.events, eventstore.Envelope{Position: eventstore.Position(len(l.events) + 1), Type: "tick"})
	}
	l.change()
}

func (l *memoryLog) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// set changes the log.
func (l *memoryLog) set(f func(*memoryLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
	l.change()
}

func (l *memoryLog) Last(context.Context) (eventstore.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != nil {
		if err := l.last(); err != nil {
			return 0, err
		}
	}
	return eventstore.Position(len(l.events)), nil
}

func (l *memoryLog) Subscribe(_ context.Context, from eventstore.Position) (eventstore.Subscription, error) {
	return &memorySubscription{log: l, next: int(from) - 1}, nil
}

type memorySubscription struct {
	log    *memoryLog
	next   int
	closed bool
}

func (s *memorySubscription) Next(ctx context.Context, limit int) ([]eventstore.Envelope, error) {
	for {
		s.log.mu.Lock()
		if s.log.read != nil {
			if err := s.log.read(); err != nil {
				s.log.mu.Unlock()
				return nil, err
			}
		}
		events := s.log.events[min(s.next, len(s.log.events)):]
		changed := s.log.changed
		if len(events) > 0 {
			s.log.limits = append(s.log.limits, limit)
		}
		s.log.mu.Unlock()
		if len(events) > 0 {
			events = events[:min(limit, len(events))]
			if s.log.most > 0 {
				events = events[:min(s.log.most, len(events))]
			}
			s.next += len(events)
			return events, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *memorySubscription) Close() { s.closed = true }

// counter is a projection that counts. Its hook sees each batch first.
type counter struct {
	mu       sync.Mutex
	position eventstore.Position
	batches  []int
	idles    int
	hook     func(events []eventstore.Envelope) error
	idle     func() error
}

var errPassing = errors.New("the database is busy")

func (c *counter) Name() string { return "counter" }

func (c *counter) Checkpoint(context.Context) (eventstore.Position, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position, nil
}

func (c *counter) Apply(_ context.Context, from eventstore.Position, events []eventstore.Envelope) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hook != nil {
		if err := c.hook(events); err != nil {
			return err
		}
	}
	if from != c.position {
		return errors.New("applied from another position")
	}
	c.position += eventstore.Position(len(events))
	c.batches = append(c.batches, len(events))
	return nil
}

func (c *counter) Idle(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idles++
	if c.idle != nil {
		return c.idle()
	}
	return nil
}

func (c *counter) counts() (position eventstore.Position, idles int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position, c.idles
}

// preparer is a counter that is told of batches before it is their turn.
type preparer struct {
	counter
	prepare func(ctx context.Context, events []eventstore.Envelope) projections.Prepared
}

func (p *preparer) Prepare(ctx context.Context, events []eventstore.Envelope) projections.Prepared {
	return p.prepare(ctx, events)
}

// set moves the checkpoint, as one who builds the read model anew does.
func (c *counter) set(position eventstore.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.position = position
}
