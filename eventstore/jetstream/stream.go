package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/streams"
)

// ErrConfig means that the stream exists but is set up in a way that could lose or
// alter events.
var ErrConfig = errors.New("the stream of the log is not set up as it must be")

// streamConfig returns the set-up of the stream of the log: nothing is ever
// removed from it, so that its sequence is the commit order without holes.
func streamConfig(cfg Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               cfg.Stream,
		Description:        "The log of Rollcall. Written by Rollcall alone.",
		Subjects:           []string{eventstore.AllSubjects},
		Storage:            jetstream.FileStorage,
		Replicas:           cfg.Replicas,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgsPerSubject:  -1,
		MaxMsgSize:         -1,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		RePublish:          &jetstream.RePublish{Source: ">", Destination: eventstore.StoredPrefix + ">"},
	}
}

// openStream returns the stream of the log. It creates the stream where there is none and one
// may be created.
func openStream(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.Stream, error) {
	stream, err := streams.Look(ctx, js, cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if cfg.MustExist {
			return nil, fmt.Errorf("%w: stream %s is gone although events were written to it; "+
				"restore it from a backup, do not start with an empty log", eventstore.ErrDamaged, cfg.Stream)
		}
		stream, err = streams.Create(ctx, js, streamConfig(cfg))
	}
	if err != nil {
		return nil, unavailable("open stream "+cfg.Stream, err)
	}
	got := stream.CachedInfo().Config
	if err := checkConfig(got, streamConfig(cfg)); err != nil {
		return nil, err
	}
	if got.RePublish == nil { // of a log that was made before others could hear it
		got.RePublish = streamConfig(cfg).RePublish
		if stream, err = js.UpdateStream(ctx, got); err != nil {
			return nil, unavailable("have stream "+cfg.Stream+" tell of what is stored", err)
		}
	}
	return stream, nil
}

// checkConfig names every difference of a stream's set-up that matters.
func checkConfig(got, want jetstream.StreamConfig) error {
	c := streams.Compare(got, want)
	c.Check(got.DenyDelete, "deny_delete", got.DenyDelete, true)
	c.Check(got.DenyPurge, "deny_purge", got.DenyPurge, true)
	c.Check(got.AllowDirect, "allow_direct", got.AllowDirect, true)
	c.Check(got.FirstSeq <= 1, "first_seq", got.FirstSeq, 1)
	return c.Err(ErrConfig)
}
