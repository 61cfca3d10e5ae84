package wire

import (
	"encoding/json"
	"time"
)

// EventSource is the CloudEvents source of what this service publishes.
const EventSource = "/rollcall"

// CloudEvent is the structured JSON form of CloudEvents 1.0 (https://github.com/cloudevents/spec, JSON event
// format), with the extensions of Rollcall.
type CloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            time.Time       `json:"time,omitzero"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	App             string          `json:"app,omitempty"`
	Actor           string          `json:"actor,omitempty"`
	CommandID       string          `json:"commandid,omitempty"`
	CausationID     string          `json:"causationid,omitempty"`
	CorrelationID   string          `json:"correlationid,omitempty"`
	TraceParent     string          `json:"traceparent,omitempty"`
	Data            json.RawMessage `json:"data"`
}
