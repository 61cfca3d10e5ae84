package messaging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/streams"
)

// Names of streams.
const (
	StreamExports     = "EXPORTS"
	StreamExportJobs  = "EXPORT_JOBS"
	StreamCommands    = "COMMANDS"
	StreamOutcomes    = "OUTCOMES"
	StreamDead        = "DEAD"
	StreamCheckpoints = "CHECKPOINTS"
)

// ErrStream means that a stream exists but is set up in a way that could lose messages
// or deliver them otherwise than expected.
var ErrStream = errors.New("the stream is not set up as it must be")

// exportsLife is how long the events of an export are kept.
const exportsLife = 30 * 24 * time.Hour

// exportsConfig returns the set-up of the stream of export events. Of each job and type of event
// the latest is kept, so that its size does not grow with the length of an export.
func exportsConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StreamExports,
		Description:       "Events of exports. Written by Rollcall alone.",
		Subjects:          []string{"accounts.export.>"},
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxAge:            exportsLife,
		MaxMsgsPerSubject: 1,
		AllowDirect:       true,
	}
}

// exportJobsConfig returns the set-up of the queue of export jobs. A job is in it at most once.
func exportJobsConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 StreamExportJobs,
		Description:          "Exports that are to be done. Written by Rollcall alone.",
		Subjects:             []string{exportJobPrefix + ">"},
		Storage:              jetstream.FileStorage,
		Replicas:             replicas,
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		MaxMsgsPerSubject:    1,
		DiscardNewPerSubject: true,
	}
}

// Bounds of the streams of commands.
const (
	// DefaultMaxWaiting is how many commands of one application and verb may wait; further ones are refused. So one application that sends
	// commands of common length cannot use up what is there for all; one that sends the longest can.
	DefaultMaxWaiting = 100_000
	maxCommandBytes   = 2 << 30 // of all that wait
	outcomesLife      = 24 * time.Hour
	maxOutcomeBytes   = 4 << 30 // about ten million; then the oldest go before their time
	maxDeadLetters    = 10_000  // of one application; then the oldest go
	maxDeadBytes      = 1 << 30
)

// commandsConfig returns the set-up of the queue of commands.
func commandsConfig(replicas int, maxWaiting int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                 StreamCommands,
		Description:          "Commands that are to be decided. Written by Rollcall alone, for those who publish on accounts.cmd.>.",
		Subjects:             []string{commandPrefix + "*.*"},
		Storage:              jetstream.FileStorage,
		Replicas:             replicas,
		Retention:            jetstream.WorkQueuePolicy,
		Discard:              jetstream.DiscardNew,
		MaxMsgsPerSubject:    maxWaiting,
		DiscardNewPerSubject: true,
		MaxBytes:             maxCommandBytes,
		AllowAtomicPublish:   true,
	}
}

// outcomesConfig returns the set-up of the stream of outcomes, which has one message a command.
func outcomesConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               StreamOutcomes,
		Description:        "What became of commands. Written by Rollcall alone.",
		Subjects:           []string{outcomePrefix + "*.*"},
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardOld,
		MaxAge:             outcomesLife,
		MaxBytes:           maxOutcomeBytes,
		MaxMsgsPerSubject:  1,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
}

// deadConfig returns the set-up of the stream of dead letters. What a person has dealt with is erased from it.
func deadConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StreamDead,
		Description:       "Commands that could not be understood. Written by Rollcall alone.",
		Subjects:          []string{deadPrefix + "*"},
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxMsgsPerSubject: maxDeadLetters,
		MaxBytes:          maxDeadBytes,
	}
}

// maxCheckpointBytes is room for some hundred thousand checkpoints, a week or more of them; then the oldest go.
const maxCheckpointBytes = 64 << 20

// checkpointsConfig returns the set-up of the stream of checkpoints.
func checkpointsConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        StreamCheckpoints,
		Description: "Signed checkpoints of the ledger. Written by Rollcall alone.",
		Subjects:    []string{checkpointSubject},
		Storage:     jetstream.FileStorage,
		Replicas:    replicas,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxBytes:    maxCheckpointBytes,
	}
}

// openStream returns a stream, which it creates when there is none. A stream that is set up
// otherwise is ErrStream; nothing is changed about it.
func openStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	want.Replicas = max(want.Replicas, 1)
	if want.Retention == jetstream.LimitsPolicy {
		want.RePublish = &jetstream.RePublish{Source: ">", Destination: eventstore.StoredPrefix + ">"}
	}
	stream, err := streams.Look(ctx, js, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = streams.Create(ctx, js, want)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", want.Name, err)
	}
	got := stream.CachedInfo().Config
	if err := checkStream(got, want); err != nil {
		return nil, err
	}
	if got.RePublish == nil && want.RePublish != nil { // of a stream that was made before others could hear it
		got.RePublish = want.RePublish
		if stream, err = js.UpdateStream(ctx, got); err != nil {
			return nil, fmt.Errorf("have stream %s tell of what is stored: %w", want.Name, err)
		}
	}
	return stream, nil
}

// checkStream names every difference of a stream's set-up that matters.
func checkStream(got, want jetstream.StreamConfig) error {
	c := streams.Compare(got, want)
	c.Check(!got.DenyDelete, "deny_delete", got.DenyDelete, false)
	c.Check(got.AllowDirect || !want.AllowDirect, "allow_direct", got.AllowDirect, want.AllowDirect)
	return c.Err(ErrStream)
}
