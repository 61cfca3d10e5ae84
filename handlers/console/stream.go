package console

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"rollcall/handlers/wire"
)

const (
	// maxStreams bounds the streams that are open at once.
	maxStreams = 256
	// gather is how long changes are gathered before they are told, so that an import of thousands is a few messages.
	gather = 200 * time.Millisecond
	// writeTime is how long a browser has to take a message.
	writeTime = 30 * time.Second
)

// stream is one browser that is told of changes, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type stream struct {
	v       *visit
	control *http.ResponseController
}

// stream answers with what tell tells, until it ends, the client leaves or the server stops.
func (h *Handler) stream(v *visit, tell func(context.Context, *stream) error) error {
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		return wire.Refuse(wire.CodeUnavailable, "too many pages follow changes now; this one shows what is there when it is loaded")
	}
	ctx, cancel := context.WithCancel(v.r.Context())
	defer cancel()
	defer context.AfterFunc(h.draining, cancel)()
	s := &stream{v: v, control: http.NewResponseController(v.w)}
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }()
	if err := s.begin(); err != nil {
		return nil // the client is gone
	}
	if err := tell(ctx, s); err != nil && ctx.Err() == nil {
		h.Logger.LogAttrs(ctx, slog.LevelWarn, "a stream of changes broke off", slog.Any("error", err))
	}
	return nil
}

// gatherer gathers what happened until it is told.
type gatherer[T any] interface {
	add(T)
	any() bool // there is something to tell
	take() news
}

// relay tells of what read returns until ctx ends, the client leaves or its token is revoked.
func relay[T any](ctx context.Context, s *stream, read func(context.Context) (T, error), gathered gatherer[T]) error {
	ctx, cancel := context.WithCancel(ctx)
	happened := make(chan T)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	var broken error
	reader.Go(func() {
		defer close(happened)
		for {
			batch, err := read(ctx)
			if err != nil {
				broken = err
				return
			}
			select {
			case happened <- batch:
			case <-ctx.Done():
				return
			}
		}
	})
	heartbeat := time.NewTicker(s.v.h.Heartbeat)
	defer heartbeat.Stop()
	var due <-chan time.Time
	for {
		var err error
		select {
		case batch, ok := <-happened:
			if !ok {
				return broken
			}
			gathered.add(batch)
			if due == nil && gathered.any() {
				due = time.After(gather)
			}
		case <-due:
			due, err = nil, s.tell(gathered.take())
		case <-heartbeat.C:
			if !s.v.known() {
				return nil // the browser asks again, and is told to sign in
			}
			err = s.write([]byte(": still here\n\n"))
		}
		if err != nil {
			return nil // the client is gone
		}
	}
}

func (s *stream) begin() error {
	header := s.v.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no")
	s.v.w.WriteHeader(http.StatusOK)
	return s.write([]byte(": changes\nretry: 2000\n\n"))
}

func (s *stream) tell(n news) error {
	data, err := json.Marshal(n) // one line: JSON escapes line breaks
	if err != nil {
		return err
	}
	return s.write(fmt.Appendf(nil, "id: %d\nevent: changes\ndata: %s\n\n", n.Position, data))
}

func (s *stream) write(b []byte) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTime)) // where there are none it waits for the connection
	if _, err := s.v.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}
