package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"rollcall/eventstore"
)

// walked is how many events of an aggregate are loaded one by one, which takes
// 30 to 60 microseconds each in the process. More are fetched together, for which the server
// looks through the index of every block in between: 11 ms for 30 events spread over 300,000.
const walked = 64

// getRequest asks for one stored message, see ADR-31 of NATS.
type getRequest struct {
	Seq     uint64 `json:"seq,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
}

// errNoMessage means that the log, or the replica that was asked, has no such message.
var errNoMessage = errors.New("no such message in the log")

// Load yields the events of an aggregate, oldest first. An aggregate without events,
// and one with a single event, cost one round trip. What is in memory at a time does not grow with their number.
func (s *Store) Load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		latest, before, err := s.latest(ctx, id.Subject())
		if err != nil {
			yield(eventstore.Envelope{}, err)
			return
		}
		if before != 0 {
			for e, err := range s.loadUntil(ctx, id.Subject(), before) {
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
		for _, e := range latest {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// latest goes back from the latest event of a subject, walked events at most, and returns them, oldest first, and the position of the one before
// them, zero for none. Each event was guarded by the position of the one before it, so that the way back misses none.
func (s *Store) latest(ctx context.Context, subject string) (events []eventstore.Envelope, before eventstore.Position, err error) {
	m, err := s.direct(ctx, getRequest{LastFor: subject})
	if errors.Is(err, errNoMessage) {
		return nil, 0, nil
	}
	for {
		if err != nil {
			return nil, 0, err
		}
		e, before, err := guarded(m, subject)
		if err != nil {
			return nil, 0, err
		}
		if events = append(events, e); before == 0 || len(events) == walked {
			slices.Reverse(events)
			return events, before, nil
		}
		if m, err = s.get(ctx, before); err != nil {
			return nil, 0, err
		}
	}
}

// loadUntil yields the events of a subject, oldest first, up to the position of one of them. An error ends it.
func (s *Store) loadUntil(ctx context.Context, subject string, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		fail := func(err error) { yield(eventstore.Envelope{}, err) }
		for last := eventstore.Position(0); last < until; {
			progress := last
			for m, err := range s.fetch(ctx, last+1, subject) {
				if err != nil {
					fail(err)
					return
				}
				e, before, err := guarded(m, subject)
				if err != nil {
					fail(err)
					return
				}
				if before != last {
					fail(fmt.Errorf("%w: the events of %s between the positions %d and %d are missing", eventstore.ErrDamaged, subject, last, e.Position))
					return
				}
				if last = e.Position; !yield(e, nil) || last == until {
					return
				}
			}
			if last == progress {
				fail(unavailable("read the log", fmt.Errorf("position %d of %s did not come", until, subject)))
				return
			}
		}
	}
}

// guarded returns the event of a message and the revision that its append expected.
func guarded(m *jetstream.RawStreamMsg, subject string) (eventstore.Envelope, eventstore.Revision, error) {
	at := eventstore.Position(m.Sequence)
	if m.Subject != subject {
		return eventstore.Envelope{}, 0, damaged(at, fmt.Errorf("an event of %s is expected here, %s is found", subject, m.Subject))
	}
	e, err := event(at, m.Time, m.Subject, m.Header, m.Data)
	return e, e.Previous, err
}

// event decodes what the log keeps at a position.
func event(at eventstore.Position, recorded time.Time, subject string, header nats.Header, data []byte) (eventstore.Envelope, error) {
	e, err := eventstore.Unmarshal(data)
	if err != nil {
		return eventstore.Envelope{}, damaged(at, err)
	}
	if id, err := eventstore.ParseSubject(subject); err != nil || e.Aggregate != id {
		return eventstore.Envelope{}, damaged(at, fmt.Errorf("an event of %s lies under subject %s", e.Aggregate, subject))
	}
	before, err := strconv.ParseUint(header.Get(jetstream.ExpectedLastSubjSeqHeader), 10, 64)
	if err != nil || before >= uint64(at) {
		return eventstore.Envelope{}, damaged(at, errors.New("the event was not written under a guard"))
	}
	e.Position, e.Recorded, e.Previous, e.Stored = at, recorded, eventstore.Revision(before), data
	return e, nil
}

// Revision returns the position of an aggregate's latest event as the leader of the
// stream knows it.
func (s *Store) Revision(ctx context.Context, id eventstore.AggregateID) (eventstore.Revision, error) {
	m, err := s.leader(ctx, getRequest{LastFor: id.Subject()})
	if errors.Is(err, errNoMessage) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return eventstore.Revision(m.Sequence), nil
}

// get returns the message at a position that is known to be in the log: a
// replica that does not have it is behind, or the log has a hole.
func (s *Store) get(ctx context.Context, at eventstore.Position) (*jetstream.RawStreamMsg, error) {
	m, err := s.direct(ctx, getRequest{Seq: uint64(at)})
	if errors.Is(err, errNoMessage) {
		m, err = s.leader(ctx, getRequest{Seq: uint64(at)})
	}
	if errors.Is(err, errNoMessage) {
		return nil, missing(at, at)
	}
	return m, err
}

// Recorded returns when the log took an event in, by the clock of the log.
func (s *Store) Recorded(ctx context.Context, at eventstore.Position) (time.Time, error) {
	m, err := s.get(ctx, at)
	if err != nil {
		return time.Time{}, err
	}
	return m.Time, nil
}

// direct asks any replica of the log for one message.
func (s *Store) direct(ctx context.Context, req getRequest) (*jetstream.RawStreamMsg, error) {
	m, err := s.request(ctx, "$JS.API.DIRECT.GET."+s.cfg.Stream, req)
	if err != nil {
		return nil, err
	}
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return nil, errNoMessage
	default:
		return nil, unavailable("read the log", fmt.Errorf("status %s %s", status, m.Header.Get("Description")))
	}
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, unavailable("read the log", fmt.Errorf("an answer without a position: %w", err))
	}
	recorded, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return nil, unavailable("read the log", fmt.Errorf("an answer without a time: %w", err))
	}
	return &jetstream.RawStreamMsg{
		Subject: m.Header.Get(jetstream.SubjectHeader), Sequence: seq, Header: m.Header, Data: m.Data, Time: recorded,
	}, nil
}

// leader asks the leader of the stream for one message. Stream.GetMsg would ask any
// replica where the stream allows that.
func (s *Store) leader(ctx context.Context, req getRequest) (*jetstream.RawStreamMsg, error) {
	m, err := s.request(ctx, "$JS.API.STREAM.MSG.GET."+s.cfg.Stream, req)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, unavailable("read the log", err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, errNoMessage
	case answer.Error != nil:
		return nil, unavailable("read the log", answer.Error)
	case answer.Message.Seq == 0:
		return nil, unavailable("read the log", errors.New("an answer without a position"))
	}
	msg := &jetstream.RawStreamMsg{
		Subject: answer.Message.Subject, Sequence: answer.Message.Seq, Data: answer.Message.Data, Time: answer.Message.Time,
	}
	if len(answer.Message.Header) > 0 {
		if msg.Header, err = nats.DecodeHeadersMsg(answer.Message.Header); err != nil {
			return nil, damaged(eventstore.Position(msg.Sequence), err)
		}
	}
	return msg, nil
}

// readTimeout is how long an answer to a read is waited for before it is asked for
// again: the answer, or the request, may have gone down with a connection.
const readTimeout = time.Second

// request sends a request until it is answered, with a time limit of its own where ctx has none.
func (s *Store) request(ctx context.Context, subject string, req getRequest) (*nats.Msg, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	overall, cancel := context.WithTimeout(ctx, s.cfg.AckTimeout)
	defer cancel()
	for {
		once, cancel := context.WithTimeout(overall, readTimeout)
		m, err := s.nc.RequestWithContext(once, subject, b)
		cancel()
		if err == nil {
			return m, nil
		}
		if overall.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return nil, unavailable("read the log", err)
		}
	}
}

// Limits of one fetch.
const (
	fetchMsgs  = 1000
	fetchBytes = 4 << 20
)

// fetch yields the messages from a position onwards, of a subject unless that is empty,
// that a replica has and that fit into one answer: none at its end.
func (s *Store) fetch(ctx context.Context, from eventstore.Position, subject string) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		opts := []jetstreamext.GetBatchOpt{jetstreamext.GetBatchSeq(uint64(from)), jetstreamext.GetBatchMaxBytes(fetchBytes)}
		if subject != "" {
			opts = append(opts, jetstreamext.GetBatchSubject(subject))
		}
		msgs, err := jetstreamext.GetBatch(ctx, s.js, s.cfg.Stream, fetchMsgs, opts...)
		if err != nil {
			yield(nil, unavailable("read the log", err))
			return
		}
		for m, err := range msgs {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				return
			}
			if err != nil {
				yield(nil, unavailable("read the log", err))
				return
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

func damaged(at eventstore.Position, err error) error {
	return fmt.Errorf("%w at position %d: %w", eventstore.ErrDamaged, at, err)
}
