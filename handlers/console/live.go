package console

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/wire"
)

const (
	// maxStreams bounds the streams that are open at once, each of which follows the log.
	maxStreams = 256
	// gather is how long changes are gathered before they are told, so that an import of thousands is a few messages.
	gather = 200 * time.Millisecond
	// maxTold bounds the accounts that one message names.
	maxTold = 100
	// maxBehind is how many events a stream begins behind the end of the log at most; a page that is older is told to load itself anew.
	maxBehind = 200_000
	// maxRead bounds how many events are taken from the log at once.
	maxRead = 512
)

// change tells that something happened to an account; what it is now is asked for.
type change struct {
	UserID   string `json:"user_id"`
	Kind     string `json:"kind"` // created, edited or deleted
	Position uint64 `json:"position"`
}

// news is a message of a stream.
type news struct {
	Changes []change `json:"changes"`
	More    int      `json:"more,omitempty"` // accounts that changed as well
	// Position is that of the latest event, from which on a stream goes on.
	Position uint64 `json:"position"`
}

// live tells of changes of an application's accounts behind a position, as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html). The event changes has news as its data; stale says that too much happened since.
// With user_id in the query it tells of all that is recorded of that account alone, with events=all of every event of the application.
func (h *Handler) live(v *visit) error {
	from, err := startOf(v.r)
	if err != nil {
		return err
	}
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		return wire.Refuse(wire.CodeUnavailable, "too many pages follow changes now; this one shows what is there when it is loaded")
	}
	last, err := h.Log.Last(v.r.Context())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(v.r.Context())
	defer cancel()
	defer context.AfterFunc(h.draining, cancel)()
	s := &stream{v: v, control: http.NewResponseController(v.w), wanted: wantedBy(v.r)}
	if err := s.begin(); err != nil {
		return nil // the client is gone
	}
	if from+maxBehind < uint64(last) {
		_ = s.write(fmt.Appendf(nil, "id: %d\nevent: stale\ndata: {}\n\n", last))
		from = uint64(last)
	}
	sub, err := h.Log.SubscribeApp(ctx, string(v.app()), eventstore.Position(from+1))
	if err == nil {
		defer sub.Close()
		err = s.follow(ctx, sub)
	}
	if err != nil && ctx.Err() == nil {
		h.Logger.LogAttrs(ctx, slog.LevelWarn, "a stream of changes broke off", slog.Any("error", err))
	}
	return nil
}

// startOf returns the position that the page shows: the browser tells the latest message when it comes back.
func startOf(r *http.Request) (uint64, error) {
	s := r.Header.Get("Last-Event-ID")
	if s == "" {
		s = r.URL.Query().Get("after")
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, wire.Invalid("the query", "after", domain.CodeBadValue, "must be a position")
	}
	return n, nil
}

// wantedBy returns which events a page wants to hear of.
func wantedBy(r *http.Request) func(eventstore.AggregateID) bool {
	q := r.URL.Query()
	id := q.Get("user_id")
	switch {
	case id != "":
		return func(a eventstore.AggregateID) bool { return a.Name == id }
	case q.Get("events") == "all":
		return func(eventstore.AggregateID) bool { return true }
	}
	return func(a eventstore.AggregateID) bool { return a.Kind == eventstore.KindAccount }
}

// stream is one browser that is told of changes.
type stream struct {
	v       *visit
	control *http.ResponseController
	wanted  func(eventstore.AggregateID) bool
}

// follow tells of changes until ctx ends, the client leaves or its token is revoked.
func (s *stream) follow(ctx context.Context, sub eventstore.Subscription) error {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan []eventstore.Envelope)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	var broken error
	reader.Go(func() {
		defer close(events)
		for {
			batch, err := sub.Next(ctx, maxRead)
			if err != nil {
				broken = err
				return
			}
			select {
			case events <- batch:
			case <-ctx.Done():
				return
			}
		}
	})
	heartbeat := time.NewTicker(s.v.h.Heartbeat)
	defer heartbeat.Stop()
	gathered := gathering{wanted: s.wanted}
	var due <-chan time.Time
	for {
		var err error
		select {
		case batch, ok := <-events:
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
	if _, err := s.v.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}

// gathering is what happened since the last message, each account once.
type gathering struct {
	wanted   func(eventstore.AggregateID) bool
	changes  map[string]change
	more     int
	position uint64
}

func (g *gathering) any() bool { return len(g.changes)+g.more > 0 }

func (g *gathering) add(batch []eventstore.Envelope) {
	for _, e := range batch {
		g.position = uint64(e.Position)
		if !g.wanted(e.Aggregate) {
			continue
		}
		id := e.Aggregate.Name
		c := change{UserID: id, Kind: kindOf(e.Type), Position: uint64(e.Position)}
		known, ok := g.changes[id]
		switch {
		case ok && known.Kind == "created" && c.Kind == "edited":
			c.Kind = "created"
		case !ok && len(g.changes) >= maxTold:
			g.more++
			continue
		case g.changes == nil:
			g.changes = make(map[string]change)
		}
		g.changes[id] = c
	}
}

func (g *gathering) take() news {
	n := news{Changes: make([]change, 0, len(g.changes)), More: g.more, Position: g.position}
	for _, c := range g.changes {
		n.Changes = append(n.Changes, c)
	}
	slices.SortFunc(n.Changes, func(a, b change) int { return int(int64(a.Position) - int64(b.Position)) })
	*g = gathering{wanted: g.wanted, position: g.position}
	return n
}

// kindOf returns what happened: "edited" for account.edited.v1.
func kindOf(eventType string) string {
	_, rest, _ := strings.Cut(eventType, ".")
	kind, _, _ := strings.Cut(rest, ".")
	return kind
}
