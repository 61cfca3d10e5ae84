package messaging

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// delivery is a message that the server waits to hear of.
type delivery struct {
	msg      jetstream.Msg
	sequence uint64 // in the stream
	stored   time.Time
}

// Received tells of a message what watermill has no place for.
type Received struct {
	Stream   string
	Subject  string
	Sequence uint64 // in the stream
	Stored   time.Time
	Header   nats.Header // all of them, to be read only
}

type receivedKey struct{}

// ReceivedOf returns what is known of the message that a context was handed out with, the zero value when that was not by
// a Subscriber.
func ReceivedOf(ctx context.Context) Received {
	r, _ := ctx.Value(receivedKey{}).(Received)
	return r
}

func (d *delivery) received(stream string) Received {
	return Received{Stream: stream, Subject: d.msg.Subject(), Sequence: d.sequence, Stored: d.stored, Header: d.msg.Headers()}
}

// message returns the message for a handler, a new one each time, since watermill's can be settled
// only once.
func (d *delivery) message(stream string) *message.Message {
	id := d.msg.Headers().Get(jetstream.MsgIDHeader)
	if id == "" {
		id = stream + "-" + strconv.FormatUint(d.sequence, 10)
	}
	m := message.NewMessage(id, d.msg.Data())
	m.Metadata = metadataOf(d.msg.Headers())
	return m
}

// held are the messages of a subscription that are not settled. The zero value is empty.
type held struct {
	mu       sync.Mutex
	messages map[uint64]*delivery
	floor    *floor // unless nil, what is settled is not acknowledged one by one
}

// errLost means that a message was lost on its way from the server.
var errLost = errors.New("a message was lost on its way")

// add holds a message. It returns nil for one that is held already, which the server has sent again
// because it had not heard of it for a while. With a floor, errLost means that an earlier one has to come first.
func (h *held) add(m jetstream.Msg) (*delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return nil, nil // not a message of a stream: there is nobody to acknowledge it to
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.messages == nil {
		h.messages = make(map[uint64]*delivery)
	}
	n := meta.Sequence.Stream
	if h.floor != nil {
		if !h.floor.saw(meta.Sequence.Consumer, n, meta.NumDelivered > 1) {
			return nil, errLost
		}
		if n < h.floor.next || h.floor.settled[n] != nil {
			return nil, nil
		}
	}
	if h.messages[n] != nil {
		return nil, nil
	}
	d := &delivery{msg: m, sequence: n, stored: meta.Timestamp}
	h.messages[n] = d
	return d, nil
}

// restart takes note that a new consumer delivers the stream from its beginning.
func (h *held) restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor.restart()
}

// ack settles a message. An acknowledgement that gets lost leads to another delivery.
func (h *held) ack(d *delivery) {
	h.mu.Lock()
	delete(h.messages, d.sequence)
	if h.floor != nil {
		h.floor.settle(d)
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	_ = d.msg.Ack()
}

// laterKey is that of the pause that a handler wants before its message is delivered again, to whomever.
type laterKey struct{}

// postpone gives a message back to the server for a while, so that those behind it come first. There is no such thing with a floor, where
// messages keep their order.
func (h *held) postpone(d *delivery, pause time.Duration) {
	h.mu.Lock()
	delete(h.messages, d.sequence)
	h.mu.Unlock()
	_ = d.msg.NakWithDelay(pause) // one that gets lost leads to another delivery, too
}

// settledBelow returns the sequence below which all is settled, when acknowledgements go by that.
func (h *held) settledBelow() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.floor.rise()
}

// ackSettled acknowledges one by one what is settled above the floor.
func (h *held) ackSettled() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.floor.settled {
		_ = d.msg.Ack() // one that gets lost leads to another delivery, which is passed over
	}
}

// all returns what is held in the order of the stream.
func (h *held) all() []*delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.messages), func(a, b *delivery) int { return cmp.Compare(a.sequence, b.sequence) })
}

// keepAlive tells the server regularly that the messages are being worked on.
func (h *held) keepAlive(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, d := range h.all() {
				_ = d.msg.InProgress() // the next tick tries again
			}
		case <-ctx.Done():
			return
		}
	}
}

// giveBack lets the server deliver at once, in their order, what is not settled, and waits until the
// server has taken notice of all of it: a subscription that begins before could be given later messages first. A
// message that the server does not hear of is delivered after its wait.
func (h *held) giveBack(nc *nats.Conn) {
	messages := h.all()
	for i, d := range messages {
		if i < len(messages)-1 {
			_ = d.msg.Nak()
			continue
		}
		// The server handles acknowledgements in the order of their arrival and answers one that asks for it.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = nc.RequestWithContext(ctx, d.msg.Reply(), []byte("-NAK"))
	}
}
