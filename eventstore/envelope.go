package eventstore

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// source is the CloudEvents source of every event.
const source = "/rollcall"

// cloudEvent is the structured JSON form of CloudEvents 1.0
// (https://github.com/cloudevents/spec, JSON event format), with the extensions of Rollcall.
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	App             string          `json:"app"`
	Actor           string          `json:"actor"`
	CommandID       string          `json:"commandid"`
	CausationID     string          `json:"causationid,omitempty"`
	CorrelationID   string          `json:"correlationid,omitempty"`
	TraceParent     string          `json:"traceparent,omitempty"`
	Fields          string          `json:"fields,omitempty"` // a list joined by commas: CloudEvents attributes cannot be arrays
	KeyID           string          `json:"keyid,omitempty"`
	Data            json.RawMessage `json:"data"`
}

// Marshal returns the event as a CloudEvent in structured JSON, the bytes that
// the log keeps. What the log gives is left out.
func Marshal(e Envelope) ([]byte, error) {
	if e.Aggregate.IsZero() || e.ID == "" || e.Type == "" || e.CommandID == "" || e.Time.IsZero() || len(e.Data) == 0 {
		return nil, fmt.Errorf("%w: an event needs an aggregate, id, type, command id, time and data", ErrInvalid)
	}
	b, err := json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: e.ID, Source: source, Type: e.Type, Subject: e.Aggregate.Subject(),
		Time: e.Time.UTC(), DataContentType: "application/json", App: e.Aggregate.App, Actor: e.Actor,
		CommandID: e.CommandID, CausationID: e.CausationID, CorrelationID: e.CorrelationID,
		TraceParent: e.TraceParent, Fields: strings.Join(e.Fields, ","), KeyID: e.KeyID, Data: e.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return b, nil
}

// Unmarshal reads what Marshal wrote. What the log gives is left for the
// caller. The event's data may be a part of b, which must not
// be changed any more.
func Unmarshal(b []byte) (Envelope, error) {
	var c cloudEvent
	if !decode(b, &c) {
		c = cloudEvent{}
		if err := json.Unmarshal(b, &c); err != nil {
			return Envelope{}, fmt.Errorf("read event: %w", err)
		}
	}
	if c.SpecVersion != "1.0" {
		return Envelope{}, fmt.Errorf("read event: CloudEvents specversion is %q, want 1.0", c.SpecVersion)
	}
	id, err := ParseSubject(c.Subject)
	if err != nil {
		return Envelope{}, fmt.Errorf("read event: %w", err)
	}
	var fields []string
	if c.Fields != "" {
		fields = strings.Split(c.Fields, ",")
	}
	return Envelope{
		ID: c.ID, Type: c.Type, Aggregate: id, Time: c.Time, Actor: c.Actor,
		CommandID: c.CommandID, CausationID: c.CausationID, CorrelationID: c.CorrelationID,
		TraceParent: c.TraceParent, Fields: fields, KeyID: c.KeyID, Data: c.Data,
	}, nil
}
