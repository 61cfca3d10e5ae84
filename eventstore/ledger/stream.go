package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"rollcall/eventstore"
	"rollcall/eventstore/streams"
)

// StreamName is the stream that keeps a tree on a cluster.
const StreamName = "LEDGER"

// Subjects of the stream: of each tile and of the size the latest message counts.
const (
	streamPrefix = "accounts.ledger."
	sizeSubject  = streamPrefix + "size"
	tilePrefix   = streamPrefix + "tile." // <level>.<number>
)

// Stream keeps a tree in a JetStream stream, which any number of instances share. One batch writes the tiles and, guarded by what it
// was before, the size.
type Stream struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

var _ Storage = (*Stream)(nil)

// ErrConfig means that the stream exists but is set up in a way that could lose hashes.
var ErrConfig = errors.New("the stream of the ledger is not set up as it must be")

// streamConfig returns the set-up of the stream. Direct gets are off, so that every read is answered by the leader.
func streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               StreamName,
		Description:        "The Merkle tree over the log. Written by Rollcall alone.",
		Subjects:           []string{streamPrefix + ">"},
		Storage:            jetstream.FileStorage,
		Replicas:           max(replicas, 1),
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardOld,
		MaxMsgsPerSubject:  1,
		AllowAtomicPublish: true,
	}
}

// OpenStream returns the tree in the stream, which is created on the given number of servers where there is none. Zero replicas
// means one. ErrConfig when it exists with another set-up.
func OpenStream(ctx context.Context, js jetstream.JetStream, replicas int) (*Stream, error) {
	want := streamConfig(replicas)
	stream, err := streams.Look(ctx, js, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = streams.Create(ctx, js, want)
	}
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", StreamName, err)
	}
	if err := checkStream(stream.CachedInfo().Config, want); err != nil {
		return nil, err
	}
	return &Stream{js: js, stream: stream}, nil
}

// checkStream names every difference of a stream's set-up that matters.
func checkStream(got, want jetstream.StreamConfig) error {
	c := streams.Compare(got, want)
	c.Check(!got.AllowDirect, "allow_direct", got.AllowDirect, false)
	return c.Err(ErrConfig)
}

// Size returns how many leaves are kept, as the leader of the stream knows.
func (s *Stream) Size(ctx context.Context) (uint64, error) {
	size, _, err := s.size(ctx)
	return size, err
}

// size returns the size and the sequence of the message that tells it, zero for none.
func (s *Stream) size(ctx context.Context) (size, sequence uint64, err error) {
	m, err := s.stream.GetLastMsgForSubject(ctx, sizeSubject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, unavailable("read the size of the ledger", err)
	}
	if size, err = strconv.ParseUint(string(m.Data), 10, 63); err != nil {
		return 0, 0, fmt.Errorf("%w: its size in stream %s is %.40q", ErrBroken, StreamName, m.Data)
	}
	return size, m.Sequence, nil
}

// Append writes the tiles and the size in one batch. Its guard is the exact subject of the size.
func (s *Stream) Append(ctx context.Context, from, to uint64, spans []Span) error {
	size, sequence, err := s.size(ctx)
	if err != nil {
		return err
	}
	if size != from {
		return fmt.Errorf("%w: its size is %d, not %d", ErrFenced, size, from)
	}
	var batch []*nats.Msg
	for _, span := range spans {
		n := span.Start / tileWidth
		for tile := range slices.Chunk(span.Hashes, tileWidth) {
			batch = append(batch, &nats.Msg{Subject: tileSubject(span.Level, n), Data: bytesOf(tile), Header: nats.Header{}})
			n++
		}
	}
	batch = append(batch, &nats.Msg{Subject: sizeSubject, Data: strconv.AppendUint(nil, to, 10), Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(sequence, 10)},
	}})
	// What the batch came to is not guessed: after an error the size is read again.
	if _, err := jetstreamext.PublishMsgBatch(ctx, s.js, batch); err != nil {
		return unavailable("write the ledger", err)
	}
	return nil
}

func tileSubject(level int, n uint64) string {
	return tilePrefix + strconv.Itoa(level) + "." + strconv.FormatUint(n, 10)
}

// Tile reads hashes of a tile from the leader of the stream.
func (s *Stream) Tile(ctx context.Context, level int, n uint64, width int) ([]Hash, error) {
	m, err := s.stream.GetLastMsgForSubject(ctx, tileSubject(level, n))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%w: stream %s has no tile %d of level %d", ErrBroken, StreamName, n, level)
	}
	if err != nil {
		return nil, unavailable("read the ledger", err)
	}
	hashes := hashesOf(m.Data)
	if len(hashes) < width {
		return nil, fmt.Errorf("%w: tile %d of level %d in stream %s has %d hashes, %d are looked for", ErrBroken, n, level, StreamName, len(hashes), width)
	}
	return hashes[:width], nil
}

// unavailable names what could not be done because the stream did not answer.
func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", eventstore.ErrUnavailable, what, err)
}
