package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"rollcall/eventstore"
)

const (
	maxSingles      = 8
	maxBatches      = 1
	maxBatchMsgs    = 1000
	maxBatchBytes   = 8 << 20
	headerAllowance = 256 // room for the headers of a message within the server's payload limit
)

// Headers of an atomic batch, see ADR-50 of NATS.
const (
	batchIDHeader     = "Nats-Batch-Id"
	batchSeqHeader    = "Nats-Batch-Sequence"
	batchCommitHeader = "Nats-Batch-Commit"
)

// Codes of JetStream that its client has no names for.
const (
	codeBatchDuplicate   jetstream.ErrorCode = 10201
	codeDuplicateRunning jetstream.ErrorCode = 10158
	codeBatchIncomplete  jetstream.ErrorCode = 10176
	codeBatchMissingSeq  jetstream.ErrorCode = 10175
	codeBatchInFlight    jetstream.ErrorCode = 10210
	codeNoResources      jetstream.ErrorCode = 10023
)

// appendOp is one call of Append on its way into the log.
type appendOp struct {
	msgs  []*nats.Msg
	bytes int
	done  chan struct{} // closed once last and err are set
	last  eventstore.Position
	err   error
}

func newAppend(proposals []eventstore.Proposal, maxPayload int) (*appendOp, error) {
	if len(proposals) == 0 || len(proposals) > maxBatchMsgs {
		return nil, fmt.Errorf("%w: %d events in one append, want 1 to %d", eventstore.ErrInvalid, len(proposals), maxBatchMsgs)
	}
	a := &appendOp{msgs: make([]*nats.Msg, len(proposals)), done: make(chan struct{})}
	seen := make(map[string]bool, len(proposals))
	for i, p := range proposals {
		m, err := newMessage(p)
		if err != nil {
			return nil, err
		}
		if seen[m.Subject] {
			return nil, fmt.Errorf("%w: %s occurs twice in one append", eventstore.ErrInvalid, p.Event.Aggregate)
		}
		if size := len(m.Data) + headerAllowance; size > maxPayload {
			return nil, fmt.Errorf("%w: the event of %s has %d bytes, the log takes at most %d",
				eventstore.ErrInvalid, p.Event.Aggregate, len(m.Data), maxPayload-headerAllowance)
		}
		seen[m.Subject] = true
		a.msgs[i] = m
		a.bytes += len(m.Data)
	}
	return a, nil
}

// finish hands the result to the caller of Append.
func (a *appendOp) finish(last eventstore.Position, err error) {
	a.last, a.err = last, err
	close(a.done)
}

// committer brings appends into the log so that many share the writes to disk.
// Few are published one by one, side by side; many that wait are put into one atomic batch.
type committer struct {
	js      jetstream.JetStream
	nc      *nats.Conn
	timeout time.Duration

	mu      sync.Mutex
	queue   []*appendOp
	singles int // appends in flight on their own
	batches int // batches of many appends in flight
	closed  bool
	work    sync.WaitGroup
}

func newCommitter(js jetstream.JetStream, nc *nats.Conn, timeout time.Duration) *committer {
	return &committer{js: js, nc: nc, timeout: timeout}
}

// commit returns the position of the append's last event.
func (c *committer) commit(ctx context.Context, a *appendOp) (eventstore.Position, error) {
	if err := ctx.Err(); err != nil {
		return 0, unavailable("append", err)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, unavailable("append", errors.New("the store is closed"))
	}
	c.queue = append(c.queue, a)
	c.dispatch()
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.last, a.err
	case <-ctx.Done():
	}
	if c.withdraw(a) {
		return 0, unavailable("append", ctx.Err())
	}
	return 0, fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, ctx.Err())
}

// withdraw takes an append out of the queue and tells whether it was still there.
func (c *committer) withdraw(a *appendOp) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, q := range c.queue {
		if q == a {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			return true
		}
	}
	return false
}

// close refuses new appends and waits for those in flight or queued.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.work.Wait()
}

// dispatch sends what may be sent now. c.mu is held.
func (c *committer) dispatch() {
	for {
		group := c.next()
		if len(group) == 0 {
			return
		}
		inFlight := &c.singles
		if len(group) > 1 {
			inFlight = &c.batches
		}
		*inFlight++
		c.work.Go(func() {
			c.send(group)
			c.mu.Lock()
			defer c.mu.Unlock()
			*inFlight--
			c.dispatch()
		})
	}
}

// next takes from the queue what is to be sent together. c.mu is held.
func (c *committer) next() []*appendOp {
	switch {
	case len(c.queue) == 0 || c.batches >= maxBatches:
		return nil
	case c.singles+len(c.queue) <= maxSingles:
		group := c.queue[:1:1]
		c.queue = c.queue[1:]
		return group
	case len(c.queue) > maxSingles:
		return c.takeBatch()
	}
	return nil
}

// takeBatch takes the oldest appends that fit into one batch, at most one event
// a subject: a second one's guard could not hold. c.mu is held.
func (c *committer) takeBatch() []*appendOp {
	var group, rest []*appendOp
	subjects := make(map[string]bool)
	msgs, size := 0, 0
	for _, a := range c.queue {
		fits := msgs+len(a.msgs) <= maxBatchMsgs && (msgs == 0 || size+a.bytes <= maxBatchBytes)
		for _, m := range a.msgs {
			fits = fits && !subjects[m.Subject]
		}
		if !fits {
			rest = append(rest, a)
			continue
		}
		for _, m := range a.msgs {
			subjects[m.Subject] = true
		}
		msgs, size = msgs+len(a.msgs), size+a.bytes
		group = append(group, a)
	}
	c.queue = rest
	return group
}

// send publishes a group and hands its members their results.
func (c *committer) send(group []*appendOp) {
	last, err := c.publish(group)
	switch {
	case err == nil:
		for i := len(group) - 1; i >= 0; i-- {
			group[i].finish(last, nil)
			last -= eventstore.Position(len(group[i].msgs))
		}
	case len(group) > 1 && !errors.Is(err, eventstore.ErrUnknownOutcome) && !errors.Is(err, eventstore.ErrUnavailable):
		c.sendEach(group)
	default:
		for _, a := range group {
			a.finish(0, err)
		}
	}
}

// sendEach publishes the members of a refused batch one by one, so that each
// fails or succeeds on its own account.
func (c *committer) sendEach(group []*appendOp) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxSingles)
	for _, a := range group {
		slots <- struct{}{}
		wg.Go(func() {
			a.finish(c.publish([]*appendOp{a}))
			<-slots
		})
	}
	wg.Wait()
}

// publish writes all events of the group or none, and returns the position of the last.
func (c *committer) publish(group []*appendOp) (eventstore.Position, error) {
	if !c.nc.IsConnected() {
		return 0, unavailable("append", nats.ErrDisconnected)
	}
	last := group[0].msgs[0]
	if len(group) > 1 || len(group[0].msgs) > 1 {
		var err error
		if last, err = c.stage(group); err != nil {
			return 0, unavailable("append", err)
		}
	}
	ack, err := c.js.PublishMsgAsync(last, jetstream.WithRetryAttempts(8))
	if err != nil {
		return 0, unavailable("append", err)
	}
	select {
	case a := <-ack.Ok():
		return eventstore.Position(a.Sequence), nil
	case err := <-ack.Err():
		return 0, appendError(err)
	}
}

// stage publishes the messages of a batch but the last, which commits it and is
// returned. What is staged is forgotten by the server unless it is committed.
func (c *committer) stage(group []*appendOp) (*nats.Msg, error) {
	id := nuid.Next()
	var last *nats.Msg
	seq := 0
	for _, a := range group {
		for _, m := range a.msgs {
			if last != nil {
				if err := c.nc.PublishMsg(last); err != nil {
					return nil, err
				}
			}
			seq++
			last = &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{
				jetstream.ExpectedLastSubjSeqHeader: m.Header[jetstream.ExpectedLastSubjSeqHeader],
				batchIDHeader:                       {id},
				batchSeqHeader:                      {strconv.Itoa(seq)},
			}}
		}
	}
	last.Header[batchCommitHeader] = []string{"1"}
	return last, nil
}

// appendError turns the refusal or the loss of an acknowledgement into the error
// of the port. Only what is known to have written nothing is anything else than unknown.
func appendError(err error) error {
	switch apiCode(err) {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant,
		codeBatchDuplicate, codeDuplicateRunning:
		return fmt.Errorf("%w: %w", eventstore.ErrConflict, err)
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return fmt.Errorf("%w: %w", eventstore.ErrInvalid, err)
	case codeBatchIncomplete, codeBatchMissingSeq, codeBatchInFlight, codeNoResources:
		return unavailable("append", err)
	}
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
		return unavailable("append", err)
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, err)
}
