package messaging

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Bounds of a group. A server that writes every message to disk before it acknowledges takes about 4,000 single messages a second
// from any number of publishers. An atomic batch is written as a whole, which takes as long as about eight of them.
const (
	maxGroupSingles  = 8
	maxGroupMessages = 512 // the server's limit is 1,000
	maxGroupBytes    = 4 << 20
)

// errGroupClosed means that nothing more is published.
var errGroupClosed = errors.New("nothing more is published: it is being stopped")

// group publishes messages to a stream in the order in which they were added. Few are published one by one, side by side; of
// many that wait, as many as fit go as one atomic batch and share one write to disk. It is safe for concurrent use.
type group struct {
	js      jetstream.JetStream
	timeout time.Duration

	mu      sync.Mutex
	queue   []posting
	bytes   int
	singles int  // in flight on their own
	window  int  // how many of them there may be now: one after a batch, and one more with each acknowledgement
	batch   bool // a batch is in flight
	closed  bool
	work    sync.WaitGroup
}

// posting is a message on its way into a stream. done is called once, in a goroutine of the group, with its sequence or
// with why it may not be there.
type posting struct {
	msg  *nats.Msg
	done func(sequence uint64, err error)
}

// newGroup returns a group whose messages are acknowledged within the timeout or fail.
func newGroup(js jetstream.JetStream, timeout time.Duration) *group {
	return &group{js: js, timeout: timeout, window: maxGroupSingles}
}

// post adds a message, whose headers the group may add to.
func (g *group) post(m *nats.Msg, done func(sequence uint64, err error)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errGroupClosed
	}
	g.queue = append(g.queue, posting{msg: m, done: done})
	g.bytes += m.Size()
	g.dispatch()
	return nil
}

// waiting returns how many messages wait, and their size in bytes.
func (g *group) waiting() (messages, bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue), g.bytes
}

// publish adds a message and waits until it is in its stream. When ctx ends before, it may be there or not.
func (g *group) publish(ctx context.Context, m *nats.Msg) (sequence uint64, err error) {
	type result struct {
		sequence uint64
		err      error
	}
	done := make(chan result, 1)
	if err := g.post(m, func(n uint64, err error) { done <- result{n, err} }); err != nil {
		return 0, err
	}
	select {
	case r := <-done:
		return r.sequence, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// close refuses further messages and waits for those that were added.
func (g *group) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.work.Wait()
}

// dispatch sends what may be sent now. g.mu is held, so that messages leave in their order.
func (g *group) dispatch() {
	for !g.batch && len(g.queue) > 0 {
		switch {
		case len(g.queue) > maxGroupSingles:
			g.batch, g.window = true, 1
			next := g.take()
			g.work.Go(func() {
				g.send(next)
				g.mu.Lock()
				defer g.mu.Unlock()
				g.batch = false
				g.dispatch()
			})
		case g.singles < g.window:
			g.singles++
			next := g.queue[0]
			g.queue, g.bytes = g.queue[1:], g.bytes-next.msg.Size()
			await := g.sendOne(next.msg)
			g.work.Go(func() {
				next.done(await())
				g.mu.Lock()
				defer g.mu.Unlock()
				g.singles--
				g.window = min(g.window+1, maxGroupSingles)
				g.dispatch()
			})
		default:
			return
		}
	}
}

// take takes what goes as one batch. g.mu is held.
func (g *group) take() []posting {
	n, size := 0, 0
	for n < len(g.queue) && n < maxGroupMessages {
		more := g.queue[n].msg.Size()
		if n > 0 && size+more > maxGroupBytes {
			break
		}
		n, size = n+1, size+more
	}
	next := g.queue[:n:n]
	g.queue, g.bytes = g.queue[n:], g.bytes-size
	return next
}

// send publishes a batch. One that the stream refuses as a whole is published one by one, so that each
// message fails or succeeds on its own account.
func (g *group) send(all []posting) {
	last, err := g.sendBatch(all)
	var api jetstream.JetStreamError
	switch {
	case err == nil:
		for i, p := range all {
			p.done(last-uint64(len(all)-1-i), nil)
		}
	case errors.As(err, &api):
		awaited := make([]func() (uint64, error), len(all)) // all are on their way before the first is waited for
		for i, p := range all {
			awaited[i] = g.sendOne(p.msg)
		}
		for i, p := range all {
			p.done(awaited[i]())
		}
	default:
		for _, p := range all {
			p.done(0, err)
		}
	}
}

// sendBatch publishes all messages or none and returns the sequence of the last.
func (g *group) sendBatch(all []posting) (last uint64, err error) {
	if !g.js.Conn().IsConnected() { // otherwise it would be sent after a reconnect, when nobody waits for it
		return 0, nats.ErrDisconnected
	}
	batch, err := jetstreamext.NewBatchPublisher(g.js, jetstreamext.BatchFlowControl{})
	if err != nil {
		return 0, err
	}
	for _, p := range all[:len(all)-1] {
		if err := batch.AddMsg(p.msg); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	ack, err := batch.CommitMsg(ctx, all[len(all)-1].msg)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// sendOne publishes a message on its own, perhaps after a batch that it was in. What it returns waits for the acknowledgement.
func (g *group) sendOne(m *nats.Msg) (await func() (sequence uint64, err error)) {
	failed := func(err error) func() (uint64, error) {
		return func() (uint64, error) { return 0, fmt.Errorf("publish on %s: %w", m.Subject, err) }
	}
	if !g.js.Conn().IsConnected() {
		return failed(nats.ErrDisconnected)
	}
	for _, name := range []string{jetstreamext.BatchIDHeader, jetstreamext.BatchSeqHeader, jetstreamext.BatchCommitHeader} {
		m.Header.Del(name)
	}
	ack, err := g.js.PublishMsgAsync(m)
	if err != nil {
		return failed(err)
	}
	return func() (uint64, error) {
		t := time.NewTimer(g.timeout)
		defer t.Stop()
		select {
		case a := <-ack.Ok():
			return a.Sequence, nil
		case err := <-ack.Err():
			return failed(err)()
		case <-t.C:
			return failed(nats.ErrTimeout)()
		}
	}
}
