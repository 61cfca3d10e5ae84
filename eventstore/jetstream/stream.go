package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
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
	stream, err := js.Stream(ctx, cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if cfg.MustExist {
			return nil, fmt.Errorf("%w: stream %s is gone although events were written to it; "+
				"restore it from a backup, do not start with an empty log", eventstore.ErrDamaged, cfg.Stream)
		}
		// CreateStream never changes a stream that another instance has just created with another set-up.
		stream, err = js.CreateStream(ctx, streamConfig(cfg))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = js.Stream(ctx, cfg.Stream)
		}
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

// checkConfig compares what matters of a stream's set-up and names every difference.
func checkConfig(got, want jetstream.StreamConfig) error {
	var wrong []string
	check := func(ok bool, name string, got, want any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", name, got, want))
		}
	}
	check(slices.Equal(got.Subjects, want.Subjects), "subjects", got.Subjects, want.Subjects)
	check(got.Storage == want.Storage, "storage", got.Storage, want.Storage)
	check(got.Replicas >= want.Replicas, "replicas", got.Replicas, want.Replicas)
	check(got.Retention == want.Retention, "retention", got.Retention, want.Retention)
	check(got.Discard == want.Discard, "discard", got.Discard, want.Discard)
	check(got.DenyDelete, "deny_delete", got.DenyDelete, true)
	check(got.DenyPurge, "deny_purge", got.DenyPurge, true)
	check(got.AllowDirect, "allow_direct", got.AllowDirect, true)
	check(got.AllowAtomicPublish, "allow_atomic", got.AllowAtomicPublish, true)
	check(got.MaxMsgs <= 0, "max_msgs", got.MaxMsgs, "no limit")
	check(got.MaxBytes <= 0, "max_bytes", got.MaxBytes, "no limit")
	check(got.MaxMsgSize <= 0, "max_msg_size", got.MaxMsgSize, "no limit")
	check(got.MaxConsumers <= 0, "max_consumers", got.MaxConsumers, "no limit")
	check(got.MaxAge == 0, "max_age", got.MaxAge, "no limit")
	check(got.MaxMsgsPerSubject <= 0, "max_msgs_per_subject", got.MaxMsgsPerSubject, "no limit")
	check(!got.AllowRollup, "allow_rollup_hdrs", got.AllowRollup, false)
	check(!got.AllowMsgTTL, "allow_msg_ttl", got.AllowMsgTTL, false)
	check(!got.AllowMsgCounter, "allow_msg_counter", got.AllowMsgCounter, false)
	check(!got.NoAck, "no_ack", got.NoAck, false)
	check(!got.Sealed, "sealed", got.Sealed, false)
	check(got.FirstSeq <= 1, "first_seq", got.FirstSeq, 1)
	check(got.Mirror == nil, "mirror", got.Mirror != nil, false)
	check(len(got.Sources) == 0, "sources", len(got.Sources), 0)
	check(got.SubjectTransform == nil, "subject_transform", got.SubjectTransform != nil, false)
	check(got.PersistMode != jetstream.AsyncPersistMode, "persist_mode", got.PersistMode, jetstream.DefaultPersistMode)
	if r := got.RePublish; r != nil {
		check(*r == *want.RePublish, "republish", *r, *want.RePublish)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: stream %s: %s; correct the stream with the nats command line and start again",
			ErrConfig, got.Name, strings.Join(wrong, "; "))
	}
	return nil
}
