package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
)

const (
	// StreamName is the stream that holds the keys.
	StreamName = "KEYS"

	subjectPrefix = "accounts.key."
	allSubjects   = subjectPrefix + "*"
)

// streamConfig returns the set-up of the stream of keys. Unlike in the log,
// messages may be deleted: that is how a key is destroyed. No limit ever deletes one, for what
// a limit deletes is not overwritten on disk, and might be the last version of a block. Direct
// gets are off so that every read is answered by the leader: a replica that is behind
// would hand out keys that are destroyed, and miss blocks that exist.
func streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StreamName,
		Description:       "The keys of accounts, wrapped. Written by Rollcall alone.",
		Subjects:          []string{allSubjects},
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		DenyPurge:         true,
	}
}

// openStream returns the stream of keys. It creates the stream where there is none,
// unless the log has events, whose keys would then be lost.
func openStream(ctx context.Context, js jetstream.JetStream, opts Options) (jetstream.Stream, error) {
	want := streamConfig(opts.Replicas)
	stream, err := js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := checkEmptyLog(ctx, js, opts.LogStream); err != nil {
			return nil, err
		}
		// CreateStream never changes a stream that another instance has just created with another set-up.
		stream, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = js.Stream(ctx, StreamName)
		}
	}
	if err != nil {
		return nil, unavailable(ctx, "open stream "+StreamName, err)
	}
	if err := checkConfig(stream.CachedInfo().Config, want); err != nil {
		return nil, err
	}
	return stream, nil
}

// checkEmptyLog refuses a log that has, or ever had, events.
func checkEmptyLog(ctx context.Context, js jetstream.JetStream, name string) error {
	log, err := js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil
	case err != nil:
		return unavailable(ctx, "look for stream "+name, err)
	}
	if state := log.CachedInfo().State; state.LastSeq > 0 {
		return fmt.Errorf("%w: stream %s of keys is gone although the log %s has %d events: "+
			"restore the stream of keys from its backup, do not start without it", eventstore.ErrDamaged, StreamName, name, state.LastSeq)
	}
	return nil
}

// checkConfig compares what matters of the stream's set-up and names every difference.
func checkConfig(got, want jetstream.StreamConfig) error {
	var wrong []string
	check := func(ok bool, name string, got, want any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", name, got, want))
		}
	}
	check(slices.Equal(got.Subjects, want.Subjects), "subjects", got.Subjects, want.Subjects)
	check(got.Storage == want.Storage, "storage", got.Storage, want.Storage)
	check(got.Replicas >= want.Replicas, "replicas", got.Replicas, fmt.Sprint("at least ", want.Replicas))
	check(got.Retention == want.Retention, "retention", got.Retention, want.Retention)
	check(got.Discard == want.Discard, "discard", got.Discard, want.Discard)
	check(got.MaxMsgs <= 0, "max_msgs", got.MaxMsgs, "no limit")
	check(got.MaxBytes <= 0, "max_bytes", got.MaxBytes, "no limit")
	check(got.MaxAge == 0, "max_age", got.MaxAge, "no limit")
	check(got.MaxMsgsPerSubject <= 0, "max_msgs_per_subject", got.MaxMsgsPerSubject, "no limit")
	check(!got.DenyDelete, "deny_delete", got.DenyDelete, false)
	check(got.DenyPurge, "deny_purge", got.DenyPurge, true)
	check(!got.AllowDirect, "allow_direct", got.AllowDirect, false)
	check(!got.AllowRollup, "allow_rollup_hdrs", got.AllowRollup, false)
	check(!got.AllowMsgTTL, "allow_msg_ttl", got.AllowMsgTTL, false)
	check(!got.NoAck, "no_ack", got.NoAck, false)
	check(!got.Sealed, "sealed", got.Sealed, false)
	check(got.Compression == jetstream.NoCompression, "compression", got.Compression, jetstream.NoCompression)
	check(got.Mirror == nil, "mirror", got.Mirror != nil, false)
	check(len(got.Sources) == 0, "sources", len(got.Sources), 0)
	check(got.SubjectTransform == nil, "subject_transform", got.SubjectTransform != nil, false)
	check(got.RePublish == nil, "republish", got.RePublish != nil, false)
	check(got.PersistMode != jetstream.AsyncPersistMode, "persist_mode", got.PersistMode, jetstream.DefaultPersistMode)
	if len(wrong) > 0 {
		return fmt.Errorf("%w: stream %s: %s: correct the stream with the nats command line and start again",
			ErrConfig, got.Name, strings.Join(wrong, "; "))
	}
	return nil
}

// hasCode tells whether err is an answer of the server with one of the codes.
func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode)
}

// unavailable returns the error of a request that was not served: the context's cause
// when that has ended (see limit), eventstore.ErrDamaged when the stream is gone, else eventstore.ErrUnavailable.
func unavailable(ctx context.Context, doing string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
	case hasCode(err, jetstream.JSErrCodeStreamNotFound):
		return fmt.Errorf("%s: stream %s of keys is gone: restore it from its backup: %w",
			doing, StreamName, eventstore.ErrDamaged)
	}
	return fmt.Errorf("%s: %w: %w", doing, eventstore.ErrUnavailable, err)
}

// limit bounds a request. The cause of a context that runs out of this time is eventstore.ErrUnavailable.
func limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w: no answer in %v", eventstore.ErrUnavailable, timeout))
}
