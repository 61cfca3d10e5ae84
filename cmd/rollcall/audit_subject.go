package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
)

// Bounds of publishing events.
const (
	publishAhead   = 512 // events that may be on their way
	publishTimeout = 30 * time.Second
)

// subjectTarget publishes events on a subject. Where a stream takes the subject, each is acknowledged by it; where none does, the server has what
// came before a flush. A connection that is lost ends it, for what was on its way may be lost with it.
type subjectTarget struct {
	nc      *nats.Conn
	js      jetstream.JetStream // nil where no stream takes the subject
	subject string
	every   bool          // each event is waited for
	lost    chan struct{} // closed with the connection
	onWay   []published   // in their order
	arrived uint64        // position of the last event of which it is known that it, and all before it, have arrived
}

// published is an event on its way.
type published struct {
	position uint64
	ack      jetstream.PubAckFuture // nil where no stream takes it
}

// connectTarget connects to a server and finds out whether a stream takes the subject.
func connectTarget(ctx context.Context, url, subject string, every bool, creds string) (*subjectTarget, error) {
	t := &subjectTarget{subject: subject, every: every, lost: make(chan struct{})}
	opts := []nats.Option{
		nats.Name("rollcall audit replay"), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(t.lost) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // is looked at as LastError
	}
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	var err error
	if t.nc, err = nats.Connect(url, opts...); err != nil {
		return nil, fmt.Errorf("connect to --nats: %w", err)
	}
	js, err := jetstream.New(t.nc, jetstream.WithPublishAsyncMaxPending(2*publishAhead))
	if err == nil {
		_, err = js.StreamNameBySubject(ctx, subject)
	}
	switch {
	case err == nil:
		t.js = js
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders):
	default:
		t.nc.Close()
		return nil, fmt.Errorf("ask whether a stream takes %s, for which the right to publish on $JS.API.STREAM.NAMES is needed: %w", subject, err)
	}
	return t, nil
}

// last implements replayTarget: nobody knows what was published before.
func (t *subjectTarget) last() uint64 { return 0 }

func (t *subjectTarget) write(ctx context.Context, e client.LoggedEvent) error {
	var event struct{ ID string }
	if err := json.Unmarshal(e.Line, &event); err != nil {
		return fmt.Errorf("read the event at position %d: %w", e.Position, err)
	}
	m := &nats.Msg{Subject: t.subject, Data: e.Line, Header: nats.Header{
		"Content-Type": {"application/cloudevents+json"}, jetstream.MsgIDHeader: {event.ID + " on " + t.subject}, // one id a stream
	}}
	p := published{position: e.Position}
	var err error
	if t.js != nil {
		p.ack, err = t.js.PublishMsgAsync(m)
	} else {
		err = t.nc.PublishMsg(m)
	}
	if err != nil {
		return t.failed(err)
	}
	t.onWay = append(t.onWay, p)
	switch {
	case t.every, t.js == nil && len(t.onWay) >= publishAhead:
		return t.settle(ctx, 0)
	case t.js != nil:
		return t.settle(ctx, publishAhead)
	}
	return nil
}

// settle waits until at most so many events are on their way.
func (t *subjectTarget) settle(ctx context.Context, most int) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if t.js == nil && len(t.onWay) > most {
		if err := t.nc.FlushWithContext(ctx); err != nil {
			return t.failed(err)
		}
		if err := t.nc.LastError(); err != nil { // such as that it may not publish here
			return t.failed(err)
		}
		t.arrived, t.onWay = t.onWay[len(t.onWay)-1].position, t.onWay[:0]
	}
	for len(t.onWay) > most {
		p := t.onWay[0]
		select {
		case <-p.ack.Ok():
			t.arrived, t.onWay = p.position, t.onWay[1:]
		case err := <-p.ack.Err():
			return t.failed(err)
		case <-t.lost:
			return t.failed(nats.ErrConnectionClosed)
		case <-ctx.Done():
			return t.failed(ctx.Err())
		}
	}
	return nil
}

// failed says what failed.
func (t *subjectTarget) failed(err error) error {
	return fmt.Errorf("publish on %s: %w", t.subject, err)
}

// reached tells how far it has come, for people, empty for not at all.
func (t *subjectTarget) reached() string {
	if t.arrived == 0 {
		return ""
	}
	return fmt.Sprintf("all up to position %d has been published; --from %d goes on behind it", t.arrived, t.arrived+1)
}

func (t *subjectTarget) close() error {
	defer t.nc.Close()
	return t.settle(context.Background(), 0)
}
