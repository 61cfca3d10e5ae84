package messaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// latest returns what the latest message on each subject that a pattern matches holds, in the order of their sequences. A replica may answer, but
// not one that lacks what the leader of the stream had when latest began.
func latest[T any](ctx context.Context, js jetstream.JetStream, stream, pattern string, unmarshal func(data []byte, sequence uint64) (T, error)) ([]T, error) {
	const between = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	for {
		// Asked again each time, for the latest message may have been removed since.
		_, last, err := lastMessage(ctx, js.Conn(), stream, pattern)
		if err != nil || last == 0 {
			return nil, err
		}
		all, seen, err := readLatest(ctx, js, stream, pattern, unmarshal)
		if err != nil || seen >= last {
			return all, err
		}
		if pause(ctx, between); ctx.Err() != nil {
			return nil, fmt.Errorf("read %s: the replicas are behind the leader: %w", pattern, ctx.Err())
		}
	}
}

// readLatest is latest as some replica knows it. It returns the latest sequence too. A message without content, which marks that something was removed,
// is left out.
func readLatest[T any](ctx context.Context, js jetstream.JetStream, stream, pattern string, unmarshal func([]byte, uint64) (T, error)) (all []T, seen uint64, err error) {
	answers, err := jetstreamext.GetLastMsgsFor(ctx, js, stream, []string{pattern})
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", pattern, err)
	}
	var messages []*jetstream.RawStreamMsg
	for m, err := range answers {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read %s: %w", pattern, err)
		}
		messages = append(messages, m)
	}
	slices.SortFunc(messages, func(a, b *jetstream.RawStreamMsg) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, m := range messages {
		if seen = m.Sequence; len(m.Data) == 0 {
			continue
		}
		v, err := unmarshal(m.Data, m.Sequence)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, v)
	}
	return all, seen, nil
}
