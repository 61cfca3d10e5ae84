package keyring

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"rollcall/eventstore"
)

// A block that is not found is looked for again, for a leader that was just
// elected may not have applied yet what the one before it acknowledged.
const (
	findAttempts = 4
	findPause    = 250 * time.Millisecond
)

// errConflict means that a block has a newer version than expected.
var errConflict = errors.New("the block of keys has changed since it was read")

// store reads and writes blocks on the stream of keys. All reads are answered by
// the stream's leader. It is safe for concurrent use.
type store struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	wrapper wrapper
	timeout time.Duration
}

// openStore opens the stream and checks the master key against its newest block, whose sequence it returns, zero for none.
func openStore(ctx context.Context, js jetstream.JetStream, w wrapper, opts Options) (s store, newest uint64, err error) {
	ctx, cancel := limit(ctx, opts.Timeout)
	defer cancel()
	stream, err := openStream(ctx, js, opts)
	if err != nil {
		return store{}, 0, err
	}
	s = store{js: js, stream: stream, wrapper: w, timeout: opts.Timeout}
	msg, err := stream.GetLastMsgForSubject(ctx, allSubjects)
	if errors.Is(err, jetstream.ErrMsgNotFound) && stream.CachedInfo().State.Msgs == 0 {
		return s, 0, nil
	}
	if err != nil {
		return store{}, 0, unavailable(ctx, "read the newest block of keys", err)
	}
	id, err := blockOfSubject(msg.Subject)
	if err != nil {
		return store{}, 0, err
	}
	b, err := w.unwrap(id, msg.Data)
	if err != nil {
		return store{}, 0, err
	}
	b.wipe()
	return s, msg.Sequence, nil
}

func subjectOf(id ulid.ULID) string { return subjectPrefix + id.String() }

func blockOfSubject(subject string) (ulid.ULID, error) {
	id, err := ulid.ParseStrict(strings.TrimPrefix(subject, subjectPrefix))
	if err != nil {
		return id, fmt.Errorf("stream %s has a message on %q, which Rollcall did not write: delete it: %w",
			StreamName, subject, eventstore.ErrDamaged)
	}
	return id, nil
}

// latest returns the newest version of a block and its sequence in the stream. A block that
// does not exist is eventstore.ErrDamaged: keys are only ever named once their block is on disk.
func (s store) latest(ctx context.Context, id ulid.ULID) (*block, uint64, error) {
	b, seq, _, err := s.read(ctx, id)
	return b, seq, err
}

// read is latest that tells the master key too that has wrapped the block.
func (s store) read(ctx context.Context, id ulid.ULID) (b *block, seq uint64, by masterID, err error) {
	for attempt := range findAttempts {
		if attempt > 0 {
			if err := pause(ctx, findPause); err != nil {
				return nil, 0, by, err
			}
		}
		msg, err := s.last(ctx, id)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, 0, by, err
		}
		if b, err = s.wrapper.unwrap(id, msg.Data); err != nil {
			return nil, 0, by, err
		}
		by, err = wrappedBy(msg.Data)
		return b, msg.Sequence, by, err
	}
	return nil, 0, by, fmt.Errorf("block %s of keys is missing from stream %s: restore the backup of the keys: %w",
		id, StreamName, eventstore.ErrDamaged)
}

func (s store) last(ctx context.Context, id ulid.ULID) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := limit(ctx, s.timeout)
	defer cancel()
	msg, err := s.stream.GetLastMsgForSubject(ctx, subjectOf(id))
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, unavailable(ctx, fmt.Sprintf("read block %s of keys", id), err)
	}
	return msg, err
}

// newest returns the sequence of the version that was written last and is still there, zero for none. The last sequence of the stream may be
// that of one which has been erased, and which nobody is ever given.
func (s store) newest(ctx context.Context) (uint64, error) {
	ctx, cancel := limit(ctx, s.timeout)
	defer cancel()
	msg, err := s.stream.GetLastMsgForSubject(ctx, allSubjects)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, nil
	case err != nil:
		return 0, unavailable(ctx, "read the newest block of keys", err)
	}
	return msg.Sequence, nil
}

// publish writes a version of a block, on condition that the version before it is
// the one at expected, zero for none. When it returns, the version is on disk. Errors: errConflict; eventstore.ErrUnavailable,
// after which the version may or may not have been written.
func (s store) publish(ctx context.Context, b *block, expected uint64) (seq uint64, err error) {
	wrapped, err := s.wrapper.wrap(b)
	if err != nil {
		return 0, err
	}
	ctx, cancel := limit(ctx, s.timeout)
	defer cancel()
	ack, err := s.js.Publish(ctx, subjectOf(b.id), wrapped,
		jetstream.WithExpectStream(StreamName), jetstream.WithExpectLastSequencePerSubject(expected))
	switch {
	case err == nil:
		return ack.Sequence, nil
	case hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, errConflict
	}
	return 0, unavailable(ctx, fmt.Sprintf("write block %s of keys", b.id), err)
}

// eraseOlder overwrites, on disk, all versions of a block before the one at newest.
func (s store) eraseOlder(ctx context.Context, id ulid.ULID, newest uint64) error {
	var tried uint64
	var refusal error
	for {
		seq, err := s.oldest(ctx, id)
		if err != nil || seq >= newest {
			return err
		}
		if seq == tried {
			return fmt.Errorf("erase version %d of block %s of keys: %w: %w", seq, id, eventstore.ErrUnavailable, refusal)
		}
		// A refusal may mean that another instance was quicker; then the version is gone.
		refusal, err = s.erase(ctx, id, seq)
		if err != nil {
			return err
		}
		tried = seq
	}
}

// oldest returns the sequence of the first version of a block that is left.
func (s store) oldest(ctx context.Context, id ulid.ULID) (uint64, error) {
	ctx, cancel := limit(ctx, s.timeout)
	defer cancel()
	msg, err := s.stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subjectOf(id)))
	if err != nil {
		return 0, unavailable(ctx, fmt.Sprintf("look for older versions of block %s of keys", id), err)
	}
	return msg.Sequence, nil
}

// erase overwrites one version. It tells apart that the server refused and that it did not answer.
func (s store) erase(ctx context.Context, id ulid.ULID, seq uint64) (refusal, err error) {
	ctx, cancel := limit(ctx, s.timeout)
	defer cancel()
	err = s.stream.SecureDeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return err, nil
	}
	if err != nil {
		return nil, unavailable(ctx, fmt.Sprintf("erase version %d of block %s of keys", seq, id), err)
	}
	return errors.New("it is still there after it was deleted"), nil
}

// resume erases the older versions that a destruction which was cut off has left,
// and returns how many blocks had some. Where there are none it costs one request.
func (s store) resume(ctx context.Context) (int, error) {
	info, err := s.info(ctx)
	if err != nil {
		return 0, err
	}
	if info.State.Msgs == info.State.NumSubjects {
		return 0, nil
	}
	if info, err = s.info(ctx, jetstream.WithSubjectFilter(allSubjects)); err != nil {
		return 0, err
	}
	n := 0
	for subject, versions := range info.State.Subjects {
		if versions < 2 {
			continue
		}
		id, err := blockOfSubject(subject)
		if err != nil {
			return n, err
		}
		// The older versions are all there is, should the newest be unreadable.
		b, seq, err := s.latest(ctx, id)
		if err != nil {
			return n, err
		}
		b.wipe()
		if err := s.eraseOlder(ctx, id, seq); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (s store) info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	ctx, cancel := limit(ctx, s.timeout)
	defer cancel()
	info, err := s.stream.Info(ctx, opts...)
	if err != nil {
		return nil, unavailable(ctx, "ask for the state of stream "+StreamName, err)
	}
	return info, nil
}

// pause waits for d or for the end of the context.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
