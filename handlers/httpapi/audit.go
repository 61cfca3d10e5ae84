package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/wire"
)

// Audit answers those who examine what happened, see audit.Service.
type Audit interface {
	Reach(ctx context.Context, minimum eventstore.Position) error
	Resolve(ctx context.Context, m audit.Moment) (eventstore.Position, error)
	Account(ctx context.Context, app domain.AppID, id domain.UserID, at audit.Moment) (domain.Account, eventstore.Position, error)
	History(ctx context.Context, app domain.AppID, id domain.UserID, p audit.Page) (entries []audit.Entry, more bool, err error)
	Events(ctx context.Context, q audit.Query) (iter.Seq2[eventstore.Envelope, error], error)
}

// HistoryEntry is one event in the history of an account.
type HistoryEntry struct {
	Position      uint64          `json:"position"`
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	Time          time.Time       `json:"time" doc:"When the command was given, for people"`
	RecordedAt    time.Time       `json:"recorded_at" doc:"When the log took it, by the log's clock"`
	Actor         string          `json:"actor" doc:"Who gave the command: the name of a token, a slash, and its id"`
	CommandID     string          `json:"command_id"`
	CausationID   string          `json:"causation_id,omitempty"`
	CorrelationID string          `json:"correlation_id,omitempty"`
	Erased        bool            `json:"erased,omitempty" doc:"What the event held is gone; changes name the fields alone"`
	Changes       []HistoryChange `json:"changes" nullable:"false"`
}

// HistoryChange is what an event did to one field.
type HistoryChange struct {
	Field  string `json:"field"`
	Before any    `json:"before,omitempty" doc:"Absent when it was unset, and when it is erased"`
	After  any    `json:"after,omitempty" doc:"Absent when it is unset since, and when it is erased"`
}

// History is one page of a history.
type History struct {
	Events     []HistoryEntry `json:"events" nullable:"false"`
	NextCursor string         `json:"next_cursor,omitempty" doc:"Cursor of the next page, absent at the end"`
}

type historyOutput struct{ Body History }

func (h *Handler) registerAudit() {
	if h.Audit == nil {
		return
	}
	who, tags := rule{action: access.Audit, scope: inApp}, []string{"Audit"}
	register(h, who, huma.Operation{
		OperationID: "account-history", Method: http.MethodGet, Path: "/v1/apps/{app}/accounts/{user_id}/history", Tags: tags,
		Summary:     "Show who changed an account, when, and from what to what",
		Description: "The events of all accounts that had the user id, those of a deleted one too. What has been erased is gone; that it happened stays.",
	}, nil, h.history)
	register(h, who, huma.Operation{
		OperationID: "read-events", Method: http.MethodGet, Path: "/v1/apps/{app}/events", Tags: tags,
		Summary: "Read the events of an application",
		Description: "A CloudEvent a line as the log keeps it, personal data sealed, byte for byte, with the extensions position, recordedtime and previous (the position of the event before on the same subject) in front. " +
			"A stream that broke off goes on with from = the last position + 1.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The events", Content: map[string]*huma.MediaType{ndjsonType: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, nil, h.readEvents)
	register(h, rule{action: access.Operate, scope: inInstance}, huma.Operation{
		OperationID: "read-log", Method: http.MethodGet, Path: "/v1/events", Tags: tags,
		Summary:     "Read the events of all applications",
		Description: "The whole log, in the form that the events of one application are read in.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The events", Content: map[string]*huma.MediaType{ndjsonType: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, nil, func(ctx context.Context, in *EventsParams) (*streamOutput, error) {
		return h.streamEvents(ctx, audit.Query{All: true}, *in)
	})
}

func (h *Handler) history(ctx context.Context, in *struct {
	AccountParam
	ReadParams
	Order  domain.Order `query:"order" enum:"asc,desc" default:"asc" doc:"asc: the oldest first"`
	Limit  int          `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Events on a page"`
	Cursor string       `query:"cursor" doc:"next_cursor of the page before; order must be the same"`
}) (*historyOutput, error) {
	id, err := callOf(ctx).userID(string(in.App), in.UserID)
	if err != nil {
		return nil, err
	}
	page := audit.Page{Limit: in.Limit, Newest: in.Order == domain.Descending}
	if in.Cursor != "" {
		after, err := strconv.ParseUint(in.Cursor, 10, 64)
		if err != nil {
			return nil, wire.Refuse(wire.CodeInvalidCursor, "the cursor is none that this list gave; begin without one")
		}
		page.After = eventstore.Position(after)
	}
	if err := h.Audit.Reach(ctx, eventstore.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	entries, more, err := h.Audit.History(ctx, in.App, id, page)
	if err != nil {
		return nil, err
	}
	out := History{Events: make([]HistoryEntry, len(entries))}
	for i, e := range entries {
		out.Events[i] = historyEntryOf(e)
	}
	if more {
		out.NextCursor = strconv.FormatUint(out.Events[len(entries)-1].Position, 10)
	}
	return &historyOutput{out}, nil
}

func historyEntryOf(e audit.Entry) HistoryEntry {
	out := HistoryEntry{
		Position: uint64(e.Event.Position), ID: e.Event.ID, Type: e.Event.Type, Time: e.Event.Time.UTC(), RecordedAt: e.Event.Recorded.UTC(),
		Actor: e.Event.Actor, CommandID: e.Event.CommandID, CausationID: e.Event.CausationID, CorrelationID: e.Event.CorrelationID,
		Erased: e.Erased, Changes: make([]HistoryChange, len(e.Changes)),
	}
	for i, c := range e.Changes {
		out.Changes[i] = HistoryChange{Field: c.Field.String(), Before: valueOf(c.Field, c.Before), After: valueOf(c.Field, c.After)}
	}
	return out
}

// valueOf returns a value as JSON has it in an account, nil for none.
func valueOf(f domain.Field, v domain.Value) any {
	switch {
	case !v.Set:
		return nil
	case f.Kind() == domain.KindNumber:
		return v.Number
	case f.Kind() == domain.KindTime:
		return v.Time.UTC()
	}
	return v.Text
}

func (h *Handler) readEvents(ctx context.Context, in *struct {
	AppParam
	EventsParams
	UserID string `query:"user_id" doc:"Only the events of this account"`
}) (*streamOutput, error) {
	return h.streamEvents(ctx, audit.Query{App: in.App, UserID: domain.UserID(in.UserID)}, in.EventsParams)
}

// EventsParams tell which events are read.
type EventsParams struct {
	ReadParams
	From   string `query:"from" doc:"The first position, or the time from which on, which must have come; the beginning when left out"`
	Until  string `query:"until" doc:"The last position, or the time up to which; the present end when left out"`
	Type   string `query:"type" doc:"Only events of these types, with or without their version, separated by commas"`
	Follow bool   `query:"follow" doc:"And those to come, until the client goes"`
}

func (h *Handler) streamEvents(ctx context.Context, q audit.Query, in EventsParams) (*streamOutput, error) {
	q.Follow = in.Follow
	var err error
	if q.From, err = wire.MomentOf("from", in.From); err != nil {
		return nil, err
	}
	if q.Until, err = wire.MomentOf("until", in.Until); err != nil {
		return nil, err
	}
	if in.Type != "" {
		q.Types = strings.Split(in.Type, ",")
	}
	if q.Follow && !q.Until.IsZero() {
		return nil, wire.Invalid("the query", "until", domain.CodeBadValue, "leave it out to follow the events to come")
	}
	if err := h.Audit.Reach(ctx, eventstore.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	s, err := h.startAudit(ctx, q)
	if err != nil {
		return nil, err
	}
	if q.Follow {
		return &streamOutput{Body: func(huma.Context) { s.run(ctx) }}, nil
	}
	// That there are none to be had is told by a status.
	first, more := <-s.events
	if !more && s.broken != nil {
		s.stop()
		return nil, s.broken
	}
	return &streamOutput{Body: func(huma.Context) { s.run(ctx, first) }}, nil
}

// auditStream writes events as they come. Its answer ends as one that is complete only when it is.
type auditStream struct {
	handler *Handler
	writer  http.ResponseWriter
	events  chan eventstore.Envelope // closed at the end
	broken  error                    // why there are no more, nil when they are complete; set before events is closed
	cancel  context.CancelFunc
	reader  sync.WaitGroup
}

// startAudit begins to read events. The stream is to be run or stopped.
func (h *Handler) startAudit(ctx context.Context, q audit.Query) (*auditStream, error) {
	const ahead = 256
	ctx, cancel := context.WithCancelCause(ctx)
	events, err := h.Audit.Events(ctx, q)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	undrain := context.AfterFunc(h.draining, func() {
		cancel(wire.Refuse(wire.CodeStopping, "the service is stopping; ask again in a moment"))
	})
	s := &auditStream{handler: h, writer: callOf(ctx).writer, events: make(chan eventstore.Envelope, ahead)}
	s.cancel = func() { undrain(); cancel(nil) }
	s.reader.Go(func() {
		defer close(s.events)
		s.broken = recovering(func() error { return s.read(ctx, events) })
	})
	return s, nil
}

// read passes the events on and returns why they are not complete.
func (s *auditStream) read(ctx context.Context, events iter.Seq2[eventstore.Envelope, error]) error {
	for e, err := range events {
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		select {
		case s.events <- e:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// stop ends the reading.
func (s *auditStream) stop() {
	s.cancel()
	s.reader.Wait()
}

// run writes the given events and those behind them. It breaks off where they do, so that the client does not take that for the end.
func (s *auditStream) run(ctx context.Context, first ...eventstore.Envelope) {
	defer s.stop()
	streaming(s.writer, false)
	s.writer.Header().Set("Content-Type", ndjsonType)
	s.writer.Header().Set("Cache-Control", "no-store")
	s.writer.WriteHeader(http.StatusOK)
	if err := s.write(first); err != nil {
		if ctx.Err() == nil && s.handler.draining.Err() == nil {
			s.handler.logger.LogAttrs(ctx, slog.LevelWarn, "a stream of events broke off", slog.Any("error", err))
		}
		panic(http.ErrAbortHandler)
	}
}

// auditFlush is how much is written at once while there is more.
const auditFlush = 32 << 10

// write writes the given events and those behind them, and returns why they are not complete.
func (s *auditStream) write(first []eventstore.Envelope) error {
	control := http.NewResponseController(s.writer)
	buf := make([]byte, 0, 2*auditFlush)
	var err error
	for _, e := range first {
		if e.Position > 0 {
			if buf, err = appendEvent(buf, e); err != nil {
				return err
			}
		}
	}
	if err := s.flush(control, buf); err != nil { // the header too
		return err
	}
	buf = buf[:0]
	for e := range s.events {
		if buf, err = appendEvent(buf, e); err != nil {
			return err
		}
		if len(buf) < auditFlush && len(s.events) > 0 {
			continue
		}
		if err := s.flush(control, buf); err != nil {
			return err
		}
		buf = buf[:0]
	}
	return cmp.Or(s.flush(control, buf), s.broken)
}

// flush sends what there is.
func (s *auditStream) flush(control *http.ResponseController, buf []byte) error {
	_ = control.SetWriteDeadline(time.Now().Add(s.handler.BodyTimeout))
	if _, err := s.writer.Write(buf); err != nil {
		return err
	}
	return control.Flush()
}

// appendEvent appends the line of an event.
func appendEvent(dst []byte, e eventstore.Envelope) ([]byte, error) {
	dst, err := eventstore.AppendLine(dst, e)
	if err != nil {
		return nil, fmt.Errorf("write the event at position %d: %w", e.Position, err)
	}
	return append(dst, '\n'), nil
}
