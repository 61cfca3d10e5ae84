// Package streams makes JetStream streams, and refuses those that are there but set up in a way that could lose what Rollcall keeps in them.
//
// It must never change a stream.
package streams

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Look returns a stream. ErrStreamNotFound of the client when there is none.
func Look(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	return Answered(ctx, func() (jetstream.Stream, error) { return js.Stream(ctx, name) })
}

// Create creates a stream. One that another instance has just created is returned as that has set it up.
func Create(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	return Settled(ctx, func() (jetstream.Stream, error) {
		stream, err := js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return js.Stream(ctx, want.Name)
		}
		return stream, err
	})
}

// How long the servers of a cluster may take to agree, and how long is waited before they are asked again.
const (
	agreeWithin = 15 * time.Second
	askAgain    = 100 * time.Millisecond
)

// Answered calls ask until the servers of a cluster answer it, which they do not while a leader is elected, and returns what they
// answer, or after a while that they do not.
func Answered[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	return until(ctx, ask, silent)
}

// Settled calls ask, about what is there or has just been created, until the servers of a cluster agree that it is: they learn of it one
// after another, and while several instances start at once one may say that there is no such thing. It returns what was answered last.
func Settled[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	return until(ctx, ask, func(err error) bool {
		return silent(err) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound)
	})
}

// until calls ask until its error does not pass.
func until[T any](ctx context.Context, ask func() (T, error), passes func(error) bool) (T, error) {
	end := time.Now().Add(agreeWithin)
	for {
		v, err := ask()
		if err == nil || !passes(err) || ctx.Err() != nil || time.Now().After(end) {
			return v, err
		}
		again := time.NewTimer(askAgain)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return v, err
		}
	}
}

// silent tells whether an error means that no server answered for now.
func silent(err error) bool {
	told, ok := errors.AsType[*jetstream.APIError](err)
	return ok && told.Code == http.StatusServiceUnavailable || errors.Is(err, context.DeadlineExceeded)
}

// Comparison is what differs between how a stream is set up and how it must be.
type Comparison struct {
	stream string
	wrong  []string
}

// Compare compares what matters of the set-up of every stream. A republishing that is missing is not a difference. What matters of some streams
// alone, such as who may read and delete directly, is left to Check.
func Compare(got, want jetstream.StreamConfig) *Comparison {
	c := &Comparison{stream: got.Name}
	c.Check(slices.Equal(got.Subjects, want.Subjects), "subjects", got.Subjects, want.Subjects)
	c.Check(got.Storage == want.Storage, "storage", got.Storage, want.Storage)
	c.Check(got.Replicas >= want.Replicas, "replicas", got.Replicas, fmt.Sprint("at least ", want.Replicas))
	c.Check(got.Retention == want.Retention, "retention", got.Retention, want.Retention)
	c.Check(got.Discard == want.Discard, "discard", got.Discard, want.Discard)
	c.Check(got.DiscardNewPerSubject == want.DiscardNewPerSubject, "discard_new_per_subject", got.DiscardNewPerSubject, want.DiscardNewPerSubject)
	limit(c, "max_msgs_per_subject", got.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	limit(c, "max_msgs", got.MaxMsgs, want.MaxMsgs)
	limit(c, "max_bytes", got.MaxBytes, want.MaxBytes)
	limit(c, "max_msg_size", got.MaxMsgSize, want.MaxMsgSize)
	limit(c, "max_consumers", got.MaxConsumers, want.MaxConsumers)
	limit(c, "max_age", got.MaxAge, want.MaxAge)
	c.Check(got.AllowAtomicPublish || !want.AllowAtomicPublish, "allow_atomic", got.AllowAtomicPublish, want.AllowAtomicPublish)
	c.Check(!got.AllowRollup, "allow_rollup_hdrs", got.AllowRollup, false)
	c.Check(!got.AllowMsgTTL, "allow_msg_ttl", got.AllowMsgTTL, false)
	c.Check(!got.AllowMsgCounter, "allow_msg_counter", got.AllowMsgCounter, false)
	c.Check(!got.NoAck, "no_ack", got.NoAck, false)
	c.Check(!got.Sealed, "sealed", got.Sealed, false)
	c.Check(got.Mirror == nil, "mirror", got.Mirror != nil, false)
	c.Check(len(got.Sources) == 0, "sources", len(got.Sources), 0)
	c.Check(got.SubjectTransform == nil, "subject_transform", got.SubjectTransform != nil, false)
	c.Check(got.PersistMode != jetstream.AsyncPersistMode, "persist_mode", got.PersistMode, jetstream.DefaultPersistMode)
	if got.RePublish != nil {
		ok := want.RePublish != nil && *got.RePublish == *want.RePublish
		c.Check(ok, "republish", told(got.RePublish), told(want.RePublish))
	}
	return c
}

// limit compares limits, of which zero and less are none.
func limit[T int | int32 | int64 | time.Duration](c *Comparison, name string, got, want T) {
	if want <= 0 {
		c.Check(got <= 0, name, got, "no limit")
		return
	}
	c.Check(got == want, name, got, want)
}

// told tells a republishing.
func told(r *jetstream.RePublish) any {
	if r == nil {
		return "none"
	}
	return *r
}

// Check notes a difference unless ok.
func (c *Comparison) Check(ok bool, name string, got, want any) {
	if !ok {
		c.wrong = append(c.wrong, fmt.Sprintf("%s is %v, want %v", name, got, want))
	}
}

// Err returns the given error with every difference named, or nil when there is none.
func (c *Comparison) Err(of error) error {
	if len(c.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: stream %s: %s; correct the stream with the nats command line and start again", of, c.stream, strings.Join(c.wrong, "; "))
}
