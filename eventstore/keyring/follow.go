package keyring

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	followPause     = time.Second
	followHeartbeat = time.Second
	followResets    = 3
)

// follow reads the stream from its beginning on. It forgets blocks as soon as other instances write newer versions of them, without the
// keys that these have destroyed, and takes note of the master key that wrapped each block.
func (k *Keyring) follow() {
	var behind uint64
	for k.ctx.Err() == nil {
		err := k.followFrom(&behind)
		if k.ctx.Err() != nil {
			return
		}
		k.opts.Logger.Warn("keys that other instances destroy may stay in memory for now", "error", err)
		select {
		case <-time.After(followPause):
		case <-k.ctx.Done():
		}
	}
}

// followFrom follows until it cannot, and moves behind along.
func (k *Keyring) followFrom(behind *uint64) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.opts.Timeout)
	defer cancel()
	consumer, err := k.store.js.OrderedConsumer(ctx, StreamName, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *behind + 1, InactiveThreshold: time.Minute,
		MaxResetAttempts: followResets,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(followHeartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	defer context.AfterFunc(k.ctx, messages.Stop)() // while the consumer is made anew, the context alone does not end Next
	for {
		m, err := messages.Next(jetstream.NextContext(k.ctx))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		id, err := blockOfSubject(m.Subject())
		if err != nil {
			return err
		}
		k.cache.forget(id, meta.Sequence.Stream)
		switch by, err := wrappedBy(m.Data()); {
		case err == nil:
			k.known.note(id, by, meta.Sequence.Stream)
		case errors.Is(err, errMalformed): // and no master key can be blamed; whoever needs its keys is told too
			k.opts.Logger.Error("a block of keys was cut short: restore the backup of the keys", "block", id, "stream", StreamName)
			k.known.pass(id, meta.Sequence.Stream)
		default:
			return err
		}
		*behind = meta.Sequence.Stream
	}
}
