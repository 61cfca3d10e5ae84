package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"rollcall/eventstore"
)

// How appends share the writes to disk. Measured on two cores with a disk that syncs
// in a quarter of a millisecond: the log takes about 4,000 single messages a second from any
// number of clients, for each is synced on its own; an atomic batch costs 2.5 ms for 8 messages,
// 4 ms for 64, 6.5 ms for 256 and 16 ms for 1,000, for it is staged and written as a whole.
const (
	// maxSingles is how many appends go side by side on their own. 8 singles take about as long as a
	// batch of 8. With 4, 8 clients lost a third; with 12, 256 clients lost about a seventh. After
	// a batch there is one single at a time until the load has gone: its clients come
	// back together, and the next batch gathers meanwhile. A second batch in flight made everything slower:
	// it halves the batches, and both share one disk.
	maxSingles = 8
	// maxBatchMsgs is the limit of the server.
	maxBatchMsgs = 1000
	// maxBatchBytes bounds what the server stages at once.
	maxBatchBytes = 8 << 20
	// headerAllowance is the room for the headers of a message within the server's payload limit.
	headerAllowance = 256
	// staleTimeout bounds the question which members of a batch were to blame.
	staleTimeout = 2 * time.Second
	// leaderRetries is how often a message is sent again, a quarter of a second apart, while
	// the stream has no leader. Nobody has received it then.
	leaderRetries = 8
)

// Headers of an atomic batch, see ADR-50 of NATS.
const (
	batchIDHeader     = "Nats-Batch-Id"
	batchSeqHeader    = "Nats-Batch-Sequence"
	batchCommitHeader = "Nats-Batch-Commit"
)

// Codes of JetStream that its client has no names for.
const (
	codeBatchIncomplete jetstream.ErrorCode = 10176
	codeBatchMissingSeq jetstream.ErrorCode = 10175
	codeBatchInFlight   jetstream.ErrorCode = 10210
	codeNoResources     jetstream.ErrorCode = 10023
)

// appendOp is one call of Append on its way into the log.
type appendOp struct {
	msgs     []*nats.Msg
	expected []eventstore.Revision // of each message
	bytes    int
	done     chan struct{} // closed once last and err are set
	last     eventstore.Position
	err      error
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
		a.expected = append(a.expected, p.Expected)
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
	js     jetstream.JetStream
	nc     *nats.Conn
	stream string
	told   func(Commit)

	mu      sync.Mutex
	queue   []*appendOp
	singles int  // appends in flight on their own
	window  int  // how many of them there may be now
	batch   bool // a batch of many appends is in flight
	closed  bool
	work    sync.WaitGroup
}

func newCommitter(js jetstream.JetStream, nc *nats.Conn, stream string, told func(Commit)) *committer {
	return &committer{js: js, nc: nc, stream: stream, told: told, window: maxSingles}
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
	i := slices.Index(c.queue, a)
	if i < 0 {
		return false
	}
	c.queue = slices.Delete(c.queue, i, i+1)
	return true
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
	for !c.batch && len(c.queue) > 0 {
		switch {
		case len(c.queue) > maxSingles:
			c.batch, c.window = true, 1
			group := c.takeBatch()
			c.work.Go(func() {
				c.send(group)
				c.mu.Lock()
				defer c.mu.Unlock()
				c.batch = false
				c.dispatch()
			})
		case c.singles < c.window:
			c.singles++
			a := c.queue[0]
			c.queue = c.queue[1:]
			c.work.Go(func() {
				c.send([]*appendOp{a})
				c.mu.Lock()
				defer c.mu.Unlock()
				c.singles--
				c.window = min(c.window+1, maxSingles)
				c.dispatch()
			})
		default:
			return
		}
	}
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

// send publishes a group and hands its members their results. When a batch is
// refused, the members to blame are sorted out and the others published again.
func (c *committer) send(group []*appendOp) {
	for len(group) > 0 {
		last, err := c.publish(group)
		if err == nil {
			for _, a := range slices.Backward(group) {
				a.finish(last, nil)
				last -= eventstore.Position(len(a.msgs))
			}
			return
		}
		if len(group) == 1 || !errors.Is(err, errRefused) {
			for _, a := range group {
				a.finish(0, err)
			}
			return
		}
		fresh := c.dropStale(group)
		if len(fresh) == len(group) {
			c.sendEach(group)
			return
		}
		group = fresh
	}
}

// dropStale fails the members of a refused batch whose aggregates the log knows to be
// past the revision they expect, and returns the others. An import that is run
// again makes batches of nothing but such members; to publish them one by one only
// to be refused each time would take the whole time of an import.
func (c *committer) dropStale(group []*appendOp) []*appendOp {
	expected := make(map[string]uint64)
	for _, a := range group {
		for i, m := range a.msgs {
			expected[m.Subject] = uint64(a.expected[i])
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), staleTimeout)
	defer cancel()
	latest, err := jetstreamext.GetLastMsgsFor(ctx, c.js, c.stream, slices.Collect(maps.Keys(expected)))
	if err != nil {
		return group
	}
	stale := make(map[string]error)
	for m, err := range latest {
		if err != nil {
			break // what has come so far is true all the same
		}
		if want := expected[m.Subject]; m.Sequence > want {
			stale[m.Subject] = fmt.Errorf("%w: it is at revision %d, not %d", eventstore.ErrConflict, m.Sequence, want)
		}
	}
	var fresh []*appendOp
	for _, a := range group {
		i := slices.IndexFunc(a.msgs, func(m *nats.Msg) bool { return stale[m.Subject] != nil })
		if i < 0 {
			fresh = append(fresh, a)
			continue
		}
		a.finish(0, stale[a.msgs[i].Subject])
	}
	return fresh
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
	ack, err := c.js.PublishMsgAsync(last, jetstream.WithRetryAttempts(leaderRetries))
	if err != nil {
		return 0, unavailable("append", err)
	}
	select {
	case a := <-ack.Ok():
		c.told(commitOf(group))
		return eventstore.Position(a.Sequence), nil
	case err := <-ack.Err():
		return 0, appendError(err)
	}
}

func commitOf(group []*appendOp) Commit {
	commit := Commit{Appends: len(group)}
	for _, a := range group {
		commit.Events += len(a.msgs)
	}
	return commit
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

// errRefused means that the log refused a group as a whole, for the sake of one
// of its members or because the server that staged it has lost the lead.
var errRefused = errors.New("refused by the log")

// appendError turns the refusal or the loss of an acknowledgement into the error
// of the port. Only what is known to have written nothing is anything else than unknown.
func appendError(err error) error {
	switch apiCode(err) {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return fmt.Errorf("%w: %w: %w", eventstore.ErrConflict, errRefused, err)
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return fmt.Errorf("%w: %w: %w", eventstore.ErrInvalid, errRefused, err)
	case codeBatchIncomplete, codeBatchMissingSeq, codeBatchInFlight:
		return fmt.Errorf("%w: %w: %w", eventstore.ErrUnavailable, errRefused, err)
	case codeNoResources:
		return unavailable("append", err)
	}
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
		return unavailable("append", err)
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnknownOutcome, err)
}
