package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"rollcall/domain"
)

const (
	source        = "/rollcall"
	subjectPrefix = "accounts.export."
	typePrefix    = "export."
	typeSuffix    = ".v1"
)

// Subject returns the subject that the event is published on.
func (e Event) Subject() string {
	return subjectPrefix + string(e.App) + "." + e.Job + "." + string(e.Type)
}

// cloudEvent is the structured JSON form of CloudEvents 1.0 with the extensions of Rollcall.
type cloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	App             string    `json:"app"`
	Actor           string    `json:"actor"`
	CommandID       string    `json:"commandid"`
	CausationID     string    `json:"causationid,omitempty"`
	CorrelationID   string    `json:"correlationid,omitempty"`
	TraceParent     string    `json:"traceparent,omitempty"`
	Data            eventData `json:"data"`
}

// eventData holds the data of all types of events; each writes its own members.
type eventData struct {
	JobID   string `json:"job_id"`
	Rebuild int    `json:"rebuild,omitempty"`

	Format      Format          `json:"format,omitempty"`
	Compression Compression     `json:"compression,omitempty"`
	Fields      []string        `json:"fields,omitempty"`
	UserIDs     []domain.UserID `json:"user_ids,omitempty"`
	Filter      *filterData     `json:"filter,omitempty"`
	MinPosition uint64          `json:"min_position,omitempty"`
	AsOf        uint64          `json:"as_of,omitempty"`
	AsOfTime    *time.Time      `json:"as_of_time,omitempty"`

	Attempt int `json:"attempt,omitempty"`
	Recalls int `json:"recalls,omitempty"`

	Progress *progressData `json:"progress,omitempty"`
	Position uint64        `json:"position,omitempty"`

	ErasedUntil uint64 `json:"erased_until,omitempty"`

	Rows        *int64     `json:"rows,omitempty"`
	Bytes       *int64     `json:"bytes,omitempty"`
	SHA256      string     `json:"sha256,omitempty"`
	DownloadURL string     `json:"download_url,omitempty"`
	ManifestURL string     `json:"manifest_url,omitempty"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`

	Reason string `json:"reason,omitempty"`
}

// filterData is a filter whose text may be personal and is never written in clear.
type filterData struct {
	Type       domain.AccountType `json:"type,omitempty"`
	KeyID      string             `json:"key_id,omitempty"`
	SealedText []byte             `json:"sealed_q,omitempty"` // in base64
}

type progressData struct {
	Done    int64   `json:"done"`
	Total   int64   `json:"total"`
	Bytes   int64   `json:"bytes,omitempty"`
	PerSec  float64 `json:"rows_per_second,omitempty"`
	SecLeft float64 `json:"seconds_left,omitempty"`
}

// MarshalEvent returns the event as a CloudEvent in structured JSON, in which
// data holds job_id and, by type: of requested the spec, with as_of as a position and as_of_time where a time was told, without the text that its filter searches
// for unless it is sealed; of started the attempt and, once it is known, the position; of interrupted the attempts that count, how many were in vain because accounts were deleted, and the reason; of
// progressed the progress, position and erased_until; of completed position, erased_until, format, rows,
// bytes, sha256, download_url, manifest_url and expires_at; of failed and expired the reason; of recalled and withdrawn
// the position of the deletion and the reason. Once the file has been withdrawn all have rebuild, which counts how often.
func MarshalEvent(e Event) ([]byte, error) {
	d := eventData{JobID: e.Job, Rebuild: e.Rebuild, Position: e.Position, ErasedUntil: e.ErasedUntil, Reason: e.Reason}
	switch e.Type {
	case Requested:
		d.Format, d.Compression, d.UserIDs = e.Spec.Format, e.Spec.Compression, e.Spec.UserIDs
		d.MinPosition, d.AsOf = e.MinPosition, e.Spec.AsOf.Position
		if t := e.Spec.AsOf.Time.UTC(); !t.IsZero() {
			d.AsOfTime = &t
		}
		for _, f := range e.Spec.Fields {
			d.Fields = append(d.Fields, f.String())
		}
		if e.Spec.Filter.Type != "" || e.KeyID != "" {
			d.Filter = &filterData{Type: e.Spec.Filter.Type, KeyID: e.KeyID, SealedText: e.SealedText}
		}
	case Started, Interrupted:
		d.Attempt, d.Recalls = e.Attempt, e.Recalls
	case Progressed:
		d.Progress = new(progressData(e.Progress))
	case Completed:
		r, expires := e.Result, e.Result.ExpiresAt.UTC()
		d.Format, d.Rows, d.Bytes, d.SHA256 = e.Spec.Format, &r.Rows, &r.Bytes, r.SHA256
		d.DownloadURL, d.ManifestURL, d.ExpiresAt = r.DownloadURL, r.ManifestURL, &expires
	}
	c := cloudEvent{
		SpecVersion: "1.0", ID: e.ID, Source: source, Type: typePrefix + string(e.Type) + typeSuffix,
		Subject: e.Subject(), Time: e.Time.UTC(), DataContentType: "application/json",
		App: string(e.App), Actor: e.Actor, CommandID: e.CommandID, CausationID: e.CausationID,
		CorrelationID: e.CorrelationID, TraceParent: e.TraceParent, Data: d,
	}
	// A user id may consist of <, > and & alone; written as \u003c ten thousand of them
	// would not fit into a message.
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("write %s event: %w", e.Type, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// UnmarshalEvent reads what MarshalEvent wrote. The sequence is left for the caller.
func UnmarshalEvent(b []byte) (Event, error) {
	var c cloudEvent
	if err := json.Unmarshal(b, &c); err != nil {
		return Event{}, fmt.Errorf("read export event: %w", err)
	}
	name, versioned := strings.CutSuffix(strings.TrimPrefix(c.Type, typePrefix), typeSuffix)
	if c.SpecVersion != "1.0" || !versioned || !strings.HasPrefix(c.Type, typePrefix) {
		return Event{}, fmt.Errorf("read export event %s: type is %q of CloudEvents %q, want export.….v1 of 1.0", c.ID, c.Type, c.SpecVersion)
	}
	d := c.Data
	e := Event{
		ID: c.ID, Type: EventType(name), App: domain.AppID(c.App), Job: d.JobID, Time: c.Time, Actor: c.Actor,
		CommandID: c.CommandID, CausationID: c.CausationID, CorrelationID: c.CorrelationID, TraceParent: c.TraceParent,
		MinPosition: d.MinPosition, Rebuild: d.Rebuild, Attempt: d.Attempt, Recalls: d.Recalls, Position: d.Position, ErasedUntil: d.ErasedUntil, Reason: d.Reason,
	}
	switch e.Type {
	case Requested:
		e.Spec = Spec{App: e.App, Format: d.Format, Compression: d.Compression, UserIDs: d.UserIDs, UserCount: len(d.UserIDs)}
		if e.Spec.AsOf.Position = d.AsOf; d.AsOfTime != nil {
			e.Spec.AsOf.Time = *d.AsOfTime
		}
		if d.Filter != nil {
			e.Spec.Filter.Type, e.KeyID, e.SealedText = d.Filter.Type, d.Filter.KeyID, d.Filter.SealedText
		}
		for _, n := range d.Fields {
			f, ok := domain.FieldNamed(n)
			if !ok {
				return Event{}, fmt.Errorf("read export event %s: there is no field %q", c.ID, n)
			}
			e.Spec.Fields = append(e.Spec.Fields, f)
		}
	case Progressed:
		if d.Progress != nil {
			e.Progress = Progress(*d.Progress)
		}
	case Completed:
		if d.Rows == nil || d.Bytes == nil || d.ExpiresAt == nil {
			return Event{}, fmt.Errorf("read export event %s: completed needs rows, bytes and expires_at", c.ID)
		}
		e.Spec.Format = d.Format
		e.Result = FileResult{Rows: *d.Rows, Bytes: *d.Bytes, SHA256: d.SHA256, DownloadURL: d.DownloadURL, ManifestURL: d.ManifestURL, ExpiresAt: *d.ExpiresAt}
	}
	return e, nil
}
