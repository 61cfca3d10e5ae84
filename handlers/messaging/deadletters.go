package messaging

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/intake"
)

// DeadLetters keeps dead letters in their stream. It implements intake.DeadLetters.
type DeadLetters struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

var _ intake.DeadLetters = (*DeadLetters)(nil)

// OpenDeadLetters opens the stream DEAD, and creates it on the given number of servers where there is none; zero
// replicas means one. ErrStream when it exists with another set-up.
func OpenDeadLetters(ctx context.Context, js jetstream.JetStream, replicas int) (*DeadLetters, error) {
	stream, err := openStream(ctx, js, deadConfig(replicas))
	if err != nil {
		return nil, err
	}
	return &DeadLetters{js: js, stream: stream}, nil
}

// keep keeps a message that was delivered by a Subscriber as a dead letter, whole. One that is kept already is not kept again.
func (d *DeadLetters) keep(m *message.Message) (intake.DeadLetter, error) {
	r := ReceivedOf(m.Context())
	app, _ := appAndVerb(r.Subject, commandPrefix)
	dead := &nats.Msg{Subject: deadSubject(app), Data: m.Payload, Header: nats.Header{}}
	for name, values := range r.Header {
		if !reserved(name) {
			dead.Header[name] = values
		}
	}
	dead.Header.Set(headerDeadSubject, r.Subject)
	dead.Header.Set(headerDeadCode, m.Metadata.Get(headerDeadCode))
	dead.Header.Set(headerDeadReason, clipped(oneLine(m.Metadata.Get(middleware.ReasonForPoisonedKey))))
	if dead.Header.Get(headerStored) == "" { // it was dead before and is retried
		dead.Header.Set(headerStored, r.Stored.UTC().Format(time.RFC3339Nano))
	}
	ctx, cancel := context.WithTimeout(m.Context(), defaultTimeout)
	defer cancel()
	ack, err := d.js.PublishMsg(ctx, dead, jetstream.WithMsgID(fmt.Sprintf("%s-%d", r.Stream, r.Sequence)))
	if err != nil {
		return intake.DeadLetter{}, fmt.Errorf("keep a dead letter of %s: %w", r.Subject, err)
	}
	return deadLetterOf(&jetstream.RawStreamMsg{Sequence: ack.Sequence, Time: time.Now(), Header: dead.Header, Data: dead.Data}), nil
}

// graveyard is the poison queue of watermill: it keeps messages as dead letters.
type graveyard struct {
	letters *DeadLetters
	buried  func(ctx context.Context, d intake.DeadLetter) error
}

// Publish implements message.Publisher. The topic means nothing.
func (g graveyard) Publish(_ string, messages ...*message.Message) error {
	for _, m := range messages {
		d, err := g.letters.keep(m)
		if err == nil {
			err = g.buried(m.Context(), d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close implements message.Publisher. There is nothing to close.
func (graveyard) Close() error { return nil }

// oneLine makes a text fit into a header.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// maxReason bounds the reason of a dead letter. The server refuses a message whose headers have more than 64 KiB.
const maxReason = 4 << 10

// clipped returns the beginning of a text.
func clipped(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason], "") + " …"
}

// List returns dead letters in their order.
func (d *DeadLetters) List(ctx context.Context, app domain.AppID, after uint64, limit int) ([]intake.DeadLetter, error) {
	subject := deadPrefix + "*"
	if app != "" {
		subject = deadSubject(app)
	}
	letters := []intake.DeadLetter{}
	for len(letters) < limit {
		m, err := d.stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read dead letters: %w", unanswered(eventstore.ErrUnavailable, err))
		}
		letters = append(letters, deadLetterOf(m))
		after = m.Sequence
	}
	return letters, nil
}

// Get returns a dead letter.
func (d *DeadLetters) Get(ctx context.Context, id uint64) (intake.DeadLetter, error) {
	m, err := d.get(ctx, id)
	if err != nil {
		return intake.DeadLetter{}, err
	}
	return deadLetterOf(m), nil
}

func (d *DeadLetters) get(ctx context.Context, id uint64) (*jetstream.RawStreamMsg, error) {
	if id == 0 { // to the client, the first one
		return nil, intake.ErrNoDeadLetter
	}
	m, err := d.stream.GetMsg(ctx, id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%w: %d", intake.ErrNoDeadLetter, id)
	}
	if err != nil {
		return nil, fmt.Errorf("read dead letter %d: %w", id, unanswered(eventstore.ErrUnavailable, err))
	}
	return m, nil
}

// deadLetterOf reads a message of the stream.
func deadLetterOf(m *jetstream.RawStreamMsg) intake.DeadLetter {
	cmd, _ := readCommand(m.Header.Get(headerDeadSubject), m.Header, m.Data) // what is known of it
	l := intake.DeadLetter{
		ID: m.Sequence, Time: m.Time, App: cmd.App, Verb: string(cmd.Verb), CommandID: cmd.ID, Sender: cmd.Sender,
		Code: domain.Code(m.Header.Get(headerDeadCode)), Reason: m.Header.Get(headerDeadReason), Data: m.Data,
	}
	if !l.App.Valid() {
		l.App = ""
	}
	var err error
	if l.Stored, err = time.Parse(time.RFC3339Nano, m.Header.Get(headerStored)); err != nil {
		l.Stored = m.Time // of a version that did not note it
	}
	return l
}

// Requeue puts the message of a dead letter into the stream of commands again.
func (d *DeadLetters) Requeue(ctx context.Context, id uint64) error {
	m, err := d.get(ctx, id)
	if err != nil {
		return err
	}
	again := &nats.Msg{Subject: m.Header.Get(headerDeadSubject), Data: m.Data, Header: nats.Header{}}
	for name, values := range m.Header {
		if name != headerDeadSubject && name != headerDeadCode && name != headerDeadReason && !reserved(name) {
			again.Header[name] = values
		}
	}
	_, err = d.js.PublishMsg(ctx, again)
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == jsStoreFailed:
		return &domain.Rejection{Code: intake.CodeQueueFull, Detail: "the queue of commands is full (" + api.Description + "); retry the dead command when others have been decided"}
	case err != nil:
		return fmt.Errorf("publish on %s: %w", again.Subject, unanswered(eventstore.ErrUnknownOutcome, err))
	}
	return nil
}

// Remove removes a dead letter and overwrites its bytes.
func (d *DeadLetters) Remove(ctx context.Context, id uint64) error {
	err := d.stream.SecureDeleteMsg(ctx, id)
	if err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("remove dead letter %d: %w", id, unanswered(eventstore.ErrUnknownOutcome, err))
	}
	if err != nil {
		if _, gerr := d.get(ctx, id); !errors.Is(gerr, intake.ErrNoDeadLetter) {
			return fmt.Errorf("remove dead letter %d: %w", id, err)
		}
	}
	return nil
}
