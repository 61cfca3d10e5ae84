package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
)

// directRequest asks for stored messages without the leader's help, see ADR-31 of NATS.
type directRequest struct {
	Seq        uint64 `json:"seq,omitempty"`
	NextFor    string `json:"next_by_subj,omitempty"`
	LastFor    string `json:"last_by_subj,omitempty"`
	Batch      int    `json:"batch,omitempty"`
	MaxBytes   int    `json:"max_bytes,omitempty"`
}

// errNoMessage means that the log has no such message.
var errNoMessage = errors.New("no such message in the log")

// Load yields the events of an aggregate, oldest first.
func (s *Store) Load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		events, err := s.load(ctx, id.Subject())
		if err != nil {
			yield(eventstore.Envelope{}, err)
			return
		}
		for i := len(events) - 1; i >= 0; i-- {
			if !yield(events[i], nil) {
				return
			}
		}
	}
}

// load returns the events of a subject, newest first. Each event's guard was
// the position of the one before it, so that the way back misses none: an
// aggregate without events, and one with a single event, cost one round trip.
func (s *Store) load(ctx context.Context, subject string) ([]eventstore.Envelope, error) {
	var events []eventstore.Envelope
	req := directRequest{LastFor: subject}
	for {
		m, err := s.direct(ctx, req)
		if errors.Is(err, errNoMessage) && len(events) == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		e, err := stored(m)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
		prev, err := strconv.ParseUint(m.Header.Get(jetstream.ExpectedLastSubjSeqHeader), 10, 64)
		if err != nil || prev >= uint64(e.Position) {
			return nil, fmt.Errorf("%w: the event at position %d was not written under a guard", eventstore.ErrDamaged, e.Position)
		}
		if prev == 0 {
			return events, nil
		}
		req = directRequest{Seq: prev}
	}
}

// direct asks a replica of the log for one message.
func (s *Store) direct(ctx context.Context, req directRequest) (*nats.Msg, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	m, err := s.request(ctx, s.directGet, b)
	if err != nil {
		return nil, unavailable("read the log", err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		return m, nil
	case "404":
		return nil, errNoMessage
	default:
		return nil, unavailable("read the log", fmt.Errorf("status %s %s", status, m.Header.Get("Description")))
	}
}

// request is a request with a time limit of its own where ctx has none.
func (s *Store) request(ctx context.Context, subject string, data []byte) (*nats.Msg, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.AckTimeout)
		defer cancel()
	}
	return s.nc.RequestWithContext(ctx, subject, data)
}

// stored returns the event that the log keeps as m.
func stored(m *nats.Msg) (eventstore.Envelope, error) {
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return eventstore.Envelope{}, fmt.Errorf("%w: an answer of the log has no position", eventstore.ErrDamaged)
	}
	recorded, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return eventstore.Envelope{}, damaged(eventstore.Position(seq), err)
	}
	return event(eventstore.Position(seq), recorded, m.Header.Get(jetstream.SubjectHeader), m.Data)
}

// event decodes what the log keeps at a position.
func event(at eventstore.Position, recorded time.Time, subject string, data []byte) (eventstore.Envelope, error) {
	e, err := eventstore.Unmarshal(data)
	if err != nil {
		return eventstore.Envelope{}, damaged(at, err)
	}
	if e.Aggregate.Subject() != subject {
		return eventstore.Envelope{}, damaged(at, fmt.Errorf("an event of %s lies under subject %s", e.Aggregate, subject))
	}
	e.Position, e.Recorded = at, recorded
	return e, nil
}

func damaged(at eventstore.Position, err error) error {
	return fmt.Errorf("%w at position %d: %w", eventstore.ErrDamaged, at, err)
}

// Revision returns the position of an aggregate's latest event as the leader of the
// stream knows it.
func (s *Store) Revision(ctx context.Context, id eventstore.AggregateID) (eventstore.Revision, error) {
	b, err := json.Marshal(directRequest{LastFor: id.Subject()})
	if err != nil {
		return 0, err
	}
	// Not Stream.GetLastMsgForSubject: it asks any replica where the stream allows that.
	m, err := s.request(ctx, "$JS.API.STREAM.MSG.GET."+s.cfg.Stream, b)
	if err != nil {
		return 0, unavailable("read the log", err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64 `json:"seq"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return 0, unavailable("read the log", err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return 0, nil
	case answer.Error != nil:
		return 0, unavailable("read the log", answer.Error)
	case answer.Message.Sequence == 0:
		return 0, unavailable("read the log", errors.New("the answer has no position"))
	}
	return eventstore.Revision(answer.Message.Sequence), nil
}
