package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/wire"
)

const (
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

// live tells of changes of an application's accounts behind a position. The event changes has news as its data; stale says that too much happened since.
// With user_id in the query it tells of all that is recorded of that account alone, with events=all of every event of the application.
func (h *Handler) live(v *visit) error {
	from, err := startOf(v.r)
	if err != nil {
		return err
	}
	last, err := h.Log.Last(v.r.Context())
	if err != nil {
		return err
	}
	return h.stream(v, func(ctx context.Context, s *stream) error {
		if from+maxBehind < uint64(last) {
			_ = s.write(fmt.Appendf(nil, "id: %d\nevent: stale\ndata: {}\n\n", last))
			from = uint64(last)
		}
		sub, err := h.Log.SubscribeApp(ctx, string(v.app()), eventstore.Position(from+1))
		if err != nil {
			return err
		}
		defer sub.Close()
		read := func(ctx context.Context) ([]eventstore.Envelope, error) { return sub.Next(ctx, maxRead) }
		return relay(ctx, s, read, &gathering{wanted: wantedBy(v.r)})
	})
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
