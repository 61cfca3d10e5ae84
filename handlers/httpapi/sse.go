package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/export"
	"rollcall/handlers/wire"
)

type eventsInput struct {
	ExportParam
	UnusedReadParams
	LastEventID string `header:"Last-Event-ID" doc:"Id of the last event that the client has; what came after it is sent"`
}

func (h *Handler) registerExportEvents(who rule, path string, tags []string) {
	register(h, who, huma.Operation{
		OperationID: "follow-export", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Follow an export",
		Description: "Server-sent events: the id is the event's sequence, the name is what happened (requested, started, progressed, completed, failed, cancelled, expired, recalled, interrupted, withdrawn), " +
			"the data is the event as a CloudEvent. The stream ends with the event that ends the export, or completes its file once more after it was withdrawn; when the client has that one already, the answer is 204.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The events, past and to come",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, nil, h.followExport)
}

func (h *Handler) followExport(ctx context.Context, in *eventsInput) (*streamOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var after uint64
	if in.LastEventID != "" {
		n, err := strconv.ParseUint(in.LastEventID, 10, 64)
		if err != nil {
			return nil, wire.Invalid("the request", "Last-Event-ID", domain.CodeBadValue, "must be the id of an event of this stream")
		}
		after = n
	}
	job, err := h.Exports.Get(ctx, in.App, in.ID)
	if err != nil {
		return nil, h.exportError(ctx, err, wire.CodeUnavailable, "the export cannot be read; follow it again in a moment")
	}
	s := &eventStream{handler: h, writer: callOf(ctx).writer, app: in.App, job: in.ID, after: after}
	s.control = http.NewResponseController(s.writer)
	s.lazy = after > 0 && job.Status.Finished()
	return &streamOutput{Body: func(huma.Context) { s.run(ctx) }}, nil
}

// eventStream sends the events of one export (the format is that of
// https://html.spec.whatwg.org/multipage/server-sent-events.html).
type eventStream struct {
	handler *Handler
	writer  http.ResponseWriter
	control *http.ResponseController
	app     domain.AppID
	job     string
	after   uint64 // what the client has
	lazy    bool   // nothing more may come: 204 tells a client not to ask again
	begun   bool
}

type watched struct {
	event export.Event
	err   error
}

func (s *eventStream) run(ctx context.Context) {
	streaming(s.writer, false)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.handler.draining, cancel)
	defer stop()
	events := make(chan watched)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel()
	watcher.Go(func() {
		defer close(events)
		if err := recovering(func() error { return s.watch(ctx, events) }); err != nil {
			select {
			case events <- watched{err: err}:
			case <-ctx.Done():
			}
		}
	})
	if !s.lazy {
		s.begin()
	}
	err := s.relay(ctx, events)
	if err != nil && ctx.Err() == nil {
		s.handler.logger.LogAttrs(ctx, slog.LevelWarn, "a stream of export events broke off", slog.String("job", s.job), slog.Any("error", err))
	}
	switch {
	case s.begun:
	case err != nil:
		s.begin() // and ends: the client asks again, which 204 tells it not to
	default:
		s.writer.WriteHeader(http.StatusNoContent)
	}
	_ = s.control.SetWriteDeadline(time.Time{})
}

// watch passes the events of the job on.
func (s *eventStream) watch(ctx context.Context, events chan<- watched) error {
	for e, err := range s.handler.Exports.Watch(ctx, s.app, s.job) {
		if err != nil {
			return err
		}
		select {
		case events <- watched{event: e}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// relay sends events until there are no more, and heartbeats between them.
func (s *eventStream) relay(ctx context.Context, events <-chan watched) error {
	heartbeat := time.NewTicker(s.handler.Heartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case w, ok := <-events:
			switch {
			case !ok:
				return ctx.Err()
			case w.err != nil:
				return w.err
			case w.event.Sequence <= s.after:
				continue
			}
			if err := s.send(w.event); err != nil {
				return err
			}
		case <-heartbeat.C:
			if !s.begun {
				continue
			}
			if err := s.write([]byte(": still here\n\n")); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *eventStream) begin() {
	header := s.writer.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	s.writer.WriteHeader(http.StatusOK)
	_ = s.control.Flush()
	s.begun = true
}

func (s *eventStream) send(e export.Event) error {
	data, err := export.MarshalEvent(e) // one line: JSON escapes line breaks
	if err != nil {
		return err
	}
	if !s.begun {
		s.begin()
	}
	return s.write(fmt.Appendf(nil, "id: %d\nevent: %s\ndata: %s\n\n", e.Sequence, e.Type, data))
}

func (s *eventStream) write(b []byte) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(s.handler.BodyTimeout))
	if _, err := s.writer.Write(b); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
