package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/streams"
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
	stream, err := streams.Look(ctx, js, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := checkEmptyLog(ctx, js, opts.LogStream); err != nil {
			return nil, err
		}
		stream, err = streams.Create(ctx, js, want)
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

// checkConfig names every difference of the stream's set-up that matters.
func checkConfig(got, want jetstream.StreamConfig) error {
	c := streams.Compare(got, want)
	c.Check(!got.DenyDelete, "deny_delete", got.DenyDelete, false)
	c.Check(got.DenyPurge, "deny_purge", got.DenyPurge, true)
	c.Check(!got.AllowDirect, "allow_direct", got.AllowDirect, false)
	c.Check(got.Compression == jetstream.NoCompression, "compression", got.Compression, jetstream.NoCompression)
	return c.Err(ErrConfig)
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
