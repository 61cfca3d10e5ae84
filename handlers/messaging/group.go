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

// Bounds of a group. A server that writes every message to disk before it acknowledges takes about
// 4,000 single messages a second from any number of publishers, but several times as many in
// atomic batches, which it writes as a whole.
const (
	maxGroupMessages = 512 // the server's limit is 1,000
	maxGroupBytes    = 4 << 20
)

// errGroupClosed means that nothing more is published.
var errGroupClosed = errors.New("nothing more is published: it is being stopped")

// group publishes messages to streams so that those that wait together share one write to disk, in the order in which
// they were added. It is safe for concurrent use.
type group struct {
	js      jetstream.JetStream
	timeout time.Duration

	mu     sync.Mutex
	queue  []*posting
	bytes  int
	busy   bool
	closed bool
	work   sync.WaitGroup
}

// posting is a message on its way into a stream. done is called once, in a goroutine of the group, with its sequence or
// with why it may not be there.
type posting struct {
	msg  *nats.Msg
	done func(sequence uint64, err error)
}

// newGroup returns a group whose messages, that are all of one stream, are acknowledged within the timeout or fail.
func newGroup(js jetstream.JetStream, timeout time.Duration) *group {
	return &group{js: js, timeout: timeout}
}

// post adds a message, whose headers the group may add to.
func (g *group) post(m *nats.Msg, done func(sequence uint64, err error)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errGroupClosed
	}
	g.queue = append(g.queue, &posting{msg: m, done: done})
	g.bytes += m.Size()
	if !g.busy {
		g.busy = true
		g.work.Go(g.run)
	}
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

// run publishes until nothing waits.
func (g *group) run() {
	for {
		next := g.take()
		if len(next) == 0 {
			return
		}
		g.send(next)
	}
}

// take returns what is published together next, nothing when nothing waits.
func (g *group) take() []*posting {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, size := 0, 0
	for n < len(g.queue) && n < maxGroupMessages {
		more := g.queue[n].msg.Size()
		if n > 0 && size+more > maxGroupBytes {
			break
		}
		n, size = n+1, size+more
	}
	if n == 0 {
		g.busy = false
		return nil
	}
	next := g.queue[:n:n]
	g.queue, g.bytes = g.queue[n:], g.bytes-size
	return next
}

// send publishes a group. One that the stream refuses as a whole is published one by one, so that each
// message fails or succeeds on its own account.
func (g *group) send(all []*posting) {
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	if len(all) > 1 {
		last, err := g.sendBatch(ctx, all)
		var api jetstream.JetStreamError
		switch {
		case err == nil:
			for i, p := range all {
				p.done(last-uint64(len(all)-1-i), nil)
			}
			return
		case !errors.As(err, &api):
			for _, p := range all {
				p.done(0, err)
			}
			return
		}
	}
	for _, p := range all {
		p.done(g.sendOne(ctx, p.msg))
	}
}

// sendBatch publishes all messages or none and returns the sequence of the last.
func (g *group) sendBatch(ctx context.Context, all []*posting) (last uint64, err error) {
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
	ack, err := batch.CommitMsg(ctx, all[len(all)-1].msg)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// sendOne publishes a message on its own, perhaps after a batch that it was in.
func (g *group) sendOne(ctx context.Context, m *nats.Msg) (sequence uint64, err error) {
	for _, name := range []string{jetstreamext.BatchIDHeader, jetstreamext.BatchSeqHeader, jetstreamext.BatchCommitHeader} {
		m.Header.Del(name)
	}
	ack, err := g.js.PublishMsg(ctx, m)
	if err != nil {
		return 0, fmt.Errorf("publish on %s: %w", m.Subject, err)
	}
	return ack.Sequence, nil
}
