package messaging

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// Exports keeps the events of exports and the queue of their jobs in streams. It
// implements export.Events and export.Queue and is safe for concurrent use.
type Exports struct {
	js     jetstream.JetStream
	events jetstream.Stream
}

var (
	_ export.Events = (*Exports)(nil)
	_ export.Queue  = (*Exports)(nil)
)

// OpenExports opens the streams EXPORTS and EXPORT_JOBS, and creates them on the given number of servers
// where there are none; zero replicas means one. ErrStream when one exists with another set-up.
func OpenExports(ctx context.Context, js jetstream.JetStream, replicas int) (*Exports, error) {
	events, err := openStream(ctx, js, exportsConfig(replicas))
	if err != nil {
		return nil, err
	}
	if _, err := openStream(ctx, js, exportJobsConfig(replicas)); err != nil {
		return nil, err
	}
	return &Exports{js: js, events: events}, nil
}

// Publish adds an event to the stream.
func (x *Exports) Publish(ctx context.Context, e export.Event, c export.Condition) (uint64, error) {
	data, err := export.MarshalEvent(e)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	opts := []jetstream.PublishOpt{jetstream.WithMsgID(e.ID)}
	switch c.On {
	case export.OnType:
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(c.Last))
	case export.OnAll:
		opts = append(opts, jetstream.WithExpectLastSequence(c.Last))
	}
	ack, err := x.js.PublishMsg(ctx, &nats.Msg{
		Subject: e.Subject(), Data: data,
		Header: nats.Header{"Content-Type": {"application/cloudevents+json"}},
	}, opts...)
	if isConflict(err) {
		return 0, fmt.Errorf("publish on %s: %w", e.Subject(), export.ErrConflict)
	}
	if err != nil {
		return 0, fmt.Errorf("publish on %s: %w", e.Subject(), err)
	}
	return ack.Sequence, nil
}

// isConflict tells whether the stream refused a message because its latest, or that of the subject, is
// another. A replicated stream has two codes for it.
func isConflict(err error) bool {
	const wrongLastSequence, wrongLastSequenceInFlight = 10071, 10164
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == wrongLastSequence || api.ErrorCode == wrongLastSequenceInFlight)
}

// Load returns the events of a job, of each type the latest. It may be answered by a replica, but
// not by one that lacks what the leader of the stream had when Load began.
func (x *Exports) Load(ctx context.Context, app domain.AppID, job string) ([]export.Event, error) {
	return latest(ctx, x.js, StreamExports, jobSubject(app, job), func(data []byte, sequence uint64) (export.Event, error) {
		e, err := export.UnmarshalEvent(data)
		e.Sequence = sequence
		return e, err
	})
}

func jobSubject(app domain.AppID, job string) string {
	return "accounts.export." + string(app) + "." + job + ".*"
}

// followHeartbeat is how often the server tells a reader that there is nothing new. A request to it that got lost is noticed
// after twice that; by default it would be half a minute.
const followHeartbeat = time.Second

// Follow yields the events from a sequence onwards.
func (x *Exports) Follow(ctx context.Context, from uint64, app domain.AppID, job string) iter.Seq2[export.Event, error] {
	return func(yield func(export.Event, error) bool) {
		err := x.follow(ctx, from, app, job, yield)
		if err != nil {
			yield(export.Event{}, err)
		}
	}
}

// follow calls yield until it has had enough, which is no error.
func (x *Exports) follow(ctx context.Context, from uint64, app domain.AppID, job string, yield func(export.Event, error) bool) error {
	cfg := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
		InactiveThreshold: time.Minute,
	}
	if job != "" {
		cfg.FilterSubjects = []string{jobSubject(app, job)}
	}
	consumer, err := x.js.OrderedConsumer(ctx, StreamExports, cfg)
	if err != nil {
		return fmt.Errorf("follow the events of exports: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(followHeartbeat))
	if err != nil {
		return fmt.Errorf("follow the events of exports: %w", err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("follow the events of exports: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("follow the events of exports: %w", err)
		}
		e, err := export.UnmarshalEvent(m.Data())
		if err != nil {
			return fmt.Errorf("follow the events of exports: at %d: %w", meta.Sequence.Stream, err)
		}
		e.Sequence = meta.Sequence.Stream
		if !yield(e, nil) {
			return nil
		}
	}
}

// Last returns the sequence of the latest event.
func (x *Exports) Last(ctx context.Context) (uint64, error) {
	info, err := x.events.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", StreamExports, err)
	}
	if info.State.Msgs == 0 {
		return 0, nil
	}
	return info.State.LastSeq, nil
}
