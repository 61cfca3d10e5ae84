package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/intake"
	"rollcall/handlers/wire"
)

// Outcomes keeps outcomes in their stream, one a command. It implements intake.Outcomes.
type Outcomes struct {
	js    jetstream.JetStream
	group *group
}

var _ intake.Outcomes = (*Outcomes)(nil)

// OpenOutcomes opens the stream OUTCOMES, and creates it on the given number of servers where there is
// none; zero replicas means one. ErrStream when it exists with another set-up.
func OpenOutcomes(ctx context.Context, js jetstream.JetStream, replicas int) (*Outcomes, error) {
	if _, err := openStream(ctx, js, outcomesConfig(replicas)); err != nil {
		return nil, err
	}
	return &Outcomes{js: js, group: newGroup(js, defaultTimeout)}, nil
}

// Close waits for what is being kept.
func (o *Outcomes) Close() { o.group.close() }

// Load returns the outcome of a command as the leader of the stream knows it. Errors: intake.ErrNoOutcome; eventstore.ErrUnavailable.
func (o *Outcomes) Load(ctx context.Context, app domain.AppID, commandID string) (intake.Outcome, error) {
	out, _, err := o.load(ctx, app, commandID)
	return out, err
}

func (o *Outcomes) load(ctx context.Context, app domain.AppID, commandID string) (intake.Outcome, uint64, error) {
	data, sequence, err := lastMessage(ctx, o.js.Conn(), StreamOutcomes, outcomeSubject(app, commandID))
	if err != nil {
		return intake.Outcome{}, 0, unanswered(eventstore.ErrUnavailable, err)
	}
	if sequence == 0 {
		return intake.Outcome{}, 0, intake.ErrNoOutcome
	}
	out, err := unmarshalOutcome(data)
	return out, sequence, err
}

// Keep keeps an outcome under the guard that there is none, or a dead one that this one replaces.
func (o *Outcomes) Keep(ctx context.Context, out intake.Outcome) error {
	data, err := marshalOutcome(out)
	if err != nil {
		return err
	}
	subject, replaces := outcomeSubject(out.App, out.CommandID), uint64(0)
	for {
		_, err := o.group.publish(ctx, &nats.Msg{Subject: subject, Data: data, Header: nats.Header{
			headerContentType:                   {cloudEventsType},
			jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(replaces, 10)},
		}})
		if !isConflict(err) {
			return err
		}
		had, sequence, err := o.load(ctx, out.App, out.CommandID)
		switch {
		case errors.Is(err, intake.ErrNoOutcome): // its time was over a moment ago
		case err != nil:
			return err
		case had.Status.Final() || !out.Status.Final():
			return fmt.Errorf("%w: %s", intake.ErrDecided, had.Status)
		}
		replaces = sequence
	}
}

const outcomeType = "command."

// marshalOutcome returns an outcome as a CloudEvent in structured JSON.
func marshalOutcome(o intake.Outcome) ([]byte, error) {
	data, err := json.Marshal(wire.OutcomeOf(o))
	if err != nil {
		return nil, fmt.Errorf("write the outcome of command %s: %w", o.CommandID, err)
	}
	return json.Marshal(wire.CloudEvent{
		SpecVersion: "1.0", ID: ulid.Make().String(), Source: wire.EventSource, Type: outcomeType + string(o.Status) + ".v1",
		Subject: outcomeSubject(o.App, o.CommandID), Time: o.Time.UTC(), DataContentType: "application/json",
		App: string(o.App), Actor: o.Actor, CommandID: o.CommandID, CausationID: o.CausationID,
		CorrelationID: o.CorrelationID, TraceParent: o.TraceParent, Data: data,
	})
}

func unmarshalOutcome(b []byte) (intake.Outcome, error) {
	var e wire.CloudEvent
	err := json.Unmarshal(b, &e)
	var data wire.Outcome
	if err == nil {
		err = json.Unmarshal(e.Data, &data)
	}
	if err != nil {
		return intake.Outcome{}, fmt.Errorf("read an outcome: %w", err)
	}
	o := data.Outcome()
	o.CausationID, o.CorrelationID, o.TraceParent = e.CausationID, e.CorrelationID, e.TraceParent
	return o, nil
}
