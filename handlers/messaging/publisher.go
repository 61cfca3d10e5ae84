package messaging

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrClosed is the error of a Publisher or Subscriber that has been closed.
var ErrClosed = errors.New("it has been closed")

// ErrMetadata means that a message has metadata that cannot be sent as a header.
var ErrMetadata = errors.New("the metadata cannot be sent")

// DuplicateError tells that the stream has a message with the same id already and dropped
// this one.
type DuplicateError struct {
	Subject, ID string
	Stream      string
	Sequence    uint64 // of the message that the stream kept
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("message %s on %s is in stream %s already, at %d", e.ID, e.Subject, e.Stream, e.Sequence)
}

// PublisherConfig tells how a Publisher works. The zero value is the default.
type PublisherConfig struct {
	// Timeout bounds a message whose context has no deadline: 10 s.
	Timeout time.Duration
	// DropDuplicates makes a duplicate count as published. Otherwise it is a
	// *DuplicateError, so that the one who sent it can look up what became of the first.
	DropDuplicates bool
}

// Publisher publishes messages to streams. It implements watermill's message.Publisher and is safe for
// concurrent use.
type Publisher struct {
	js     jetstream.JetStream
	cfg    PublisherConfig
	closed atomic.Bool
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a publisher on a connection, which stays the caller's.
func NewPublisher(js jetstream.JetStream, cfg PublisherConfig) *Publisher {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Publisher{js: js, cfg: cfg}
}

const defaultTimeout = 10 * time.Second

// Publish publishes messages on a subject, one after the other, and returns when the
// stream has acknowledged them. A message's UUID is its Nats-Msg-Id and its metadata are its
// headers. An error stops at the message it is about, except that after a duplicate
// the others are published all the same.
//
// Errors: *DuplicateError, ErrMetadata, ErrClosed, the message's context's, or NATS's. After
// one of the last two the message may or may not have been published.
func (p *Publisher) Publish(subject string, messages ...*message.Message) error {
	var duplicates []error
	for _, m := range messages {
		if p.closed.Load() {
			return errors.Join(append(duplicates, fmt.Errorf("publish on %s: %w", subject, ErrClosed))...)
		}
		err := p.publish(subject, m)
		var dup *DuplicateError
		if errors.As(err, &dup) {
			duplicates = append(duplicates, err)
			continue
		}
		if err != nil {
			return errors.Join(append(duplicates, fmt.Errorf("publish message %s on %s: %w", m.UUID, subject, err))...)
		}
	}
	return errors.Join(duplicates...)
}

func (p *Publisher) publish(subject string, m *message.Message) error {
	header, err := headerOf(m.Metadata)
	if err != nil {
		return err
	}
	ctx := m.Context()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.Timeout)
		defer cancel()
	}
	var opts []jetstream.PublishOpt
	if m.UUID != "" {
		opts = append(opts, jetstream.WithMsgID(m.UUID))
	}
	ack, err := p.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: header, Data: m.Payload}, opts...)
	if err != nil {
		return err
	}
	if ack.Duplicate && !p.cfg.DropDuplicates {
		return &DuplicateError{Subject: subject, ID: m.UUID, Stream: ack.Stream, Sequence: ack.Sequence}
	}
	return nil
}

// Close makes further calls of Publish fail. There is nothing to wait for: what Publish has accepted is
// in the stream.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}

// reservedPrefix begins the names of headers that tell the server what to do.
const reservedPrefix = "nats-"

func reserved(key string) bool {
	return len(key) >= len(reservedPrefix) && strings.EqualFold(key[:len(reservedPrefix)], reservedPrefix)
}

// headerOf refuses what the client would leave out or alter in silence, and names that
// mean something to the server.
func headerOf(md message.Metadata) (nats.Header, error) {
	h := make(nats.Header, len(md)+1)
	for k, v := range md {
		switch {
		case k == "" || strings.ContainsFunc(k, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }):
			return nil, fmt.Errorf("%w: %q cannot be the name of a header", ErrMetadata, k)
		case reserved(k):
			return nil, fmt.Errorf("%w: the name %q is the server's", ErrMetadata, k)
		}
		h[k] = []string{v}
	}
	return h, nil
}

// metadataOf returns the headers of a message, of each name the first value, without the
// server's. A message whose headers cannot be read has none.
func metadataOf(h nats.Header) message.Metadata {
	md := make(message.Metadata, len(h))
	for k, v := range h {
		if len(v) > 0 && !reserved(k) {
			md[k] = v[0]
		}
	}
	return md
}
