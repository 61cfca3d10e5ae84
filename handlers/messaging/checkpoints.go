package messaging

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
)

// Checkpoints publishes signed checkpoints of the ledger, which are text, in their stream. It is safe for concurrent use.
type Checkpoints struct {
	js jetstream.JetStream
}

// OpenCheckpoints opens the stream CHECKPOINTS, and creates it on the given number of servers where there is none; zero replicas means
// one. ErrStream when it exists with another set-up.
func OpenCheckpoints(ctx context.Context, js jetstream.JetStream, replicas int) (*Checkpoints, error) {
	if _, err := openStream(ctx, js, checkpointsConfig(replicas)); err != nil {
		return nil, err
	}
	return &Checkpoints{js: js}, nil
}

// checkpointType is the media type of a checkpoint, a signed note.
const checkpointType = "text/plain; charset=utf-8"

// Publish publishes a checkpoint behind the one with a sequence, zero for none, and returns its own sequence once it is on disk.
// eventstore.ErrConflict when another one has been published since.
func (c *Checkpoints) Publish(ctx context.Context, signed []byte, behind uint64) (sequence uint64, err error) {
	m := &nats.Msg{Subject: checkpointSubject, Data: signed, Header: nats.Header{headerContentType: {checkpointType}}}
	ack, err := c.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(behind))
	if isConflict(err) {
		err = fmt.Errorf("%w: %w", eventstore.ErrConflict, err)
	}
	if err != nil {
		return 0, fmt.Errorf("publish a checkpoint: %w", err)
	}
	return ack.Sequence, nil
}

// Latest returns the checkpoint that was published last and its sequence, as the leader of the stream knows it, nil when there is none.
func (c *Checkpoints) Latest(ctx context.Context) (signed []byte, sequence uint64, err error) {
	return lastMessage(ctx, c.js.Conn(), StreamCheckpoints, checkpointSubject)
}
