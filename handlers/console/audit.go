package console

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/audit"
	"rollcall/handlers/wire"
)

// Ledger tells how far the log is signed, see httpapi.Ledger.
type Ledger interface {
	Key() string
	Checkpoint(ctx context.Context, fresh bool) (signed []byte, size uint64, err error)
}

// Erasures tells which deleted accounts are erased, see audit.Erasures.
type Erasures interface {
	List(ctx context.Context, app domain.AppID, after audit.ErasurePlace, limit int) (audit.ErasurePage, error)
}

const (
	// auditPage is how many events come at once.
	auditPage = 50
	// maxPending bounds the deletions that are shown to wait for their erasure.
	maxPending = 10
	// maxActor bounds the text that is looked for in actors, in bytes.
	maxActor = 200
)

// auditBody is what the page of events shows.
type auditBody struct {
	Filter   auditFilter
	Types    []string
	Events   eventsPart
	Fault    domain.Code // why there are none, empty when the filter can be read
	Ledger   ledgerState
	Erasures erasureState
}

// auditFilter is what the address asks for, as it is written there.
type auditFilter struct{ UserID, Type, Actor, From, Until string }

// IsZero tells whether nothing is filtered.
func (f auditFilter) IsZero() bool { return f == auditFilter{} }

// eventsPart is a part of the events, the newest first.
type eventsPart struct {
	App    domain.AppID
	Filter auditFilter
	Events []happening
	Before eventstore.Position // what is older is before it, zero when there is nothing
	Last   eventstore.Position // that the log had when they were read
}

// ledgerState is how far the log is signed.
type ledgerState struct {
	App      domain.AppID
	Key      string
	Origin   string // who signed the latest checkpoint, empty when there is none
	Root     string // hash of the tree, in base64
	Size     uint64
	Unsigned uint64
	Through  time.Time // when the log took in the last event that is signed, zero when it is not known
}

// erasureState is how far the erasure of deleted accounts is.
type erasureState struct {
	App     domain.AppID
	Pending []audit.Erasure
	More    bool // than those
	Places  []audit.Standing
	Last    eventstore.Position
}

func (h *Handler) auditPage(v *visit) error {
	app, _, err := h.Queries.App(v.r.Context(), 0, v.app())
	if err != nil {
		return err
	}
	body := auditBody{Filter: v.auditFilter(), Types: eventTypes}
	body.Events, err = h.eventsPart(v, body.Filter)
	for _, code := range []domain.Code{domain.CodeInvalid, audit.CodeFuture} { // what somebody asks for, who is to see why it is not there
		if errors.Is(err, code) {
			body.Fault, err = code, nil
		}
	}
	if err == nil {
		body.Ledger, err = h.ledgerState(v)
	}
	if err == nil {
		body.Erasures, err = h.erasureState(v)
	}
	if err != nil {
		return err
	}
	return v.render(http.StatusOK, "audit", view{
		Title: v.text("audit.title") + " · " + title(app), App: &app, Tab: "audit", Body: body, Entry: "audit.js", Load: []string{"timeline.js", "follow.js"},
	})
}

func (v *visit) auditFilter() auditFilter {
	q := v.r.URL.Query()
	return auditFilter{UserID: strings.TrimSpace(q.Get("user_id")), Type: q.Get("type"), Actor: strings.TrimSpace(q.Get("actor")), From: q.Get("from"), Until: q.Get("until")}
}

// query reads a filter.
func (f auditFilter) query(app domain.AppID) (q audit.Query, err error) {
	q = audit.Query{App: app, UserID: domain.UserID(f.UserID), Actor: f.Actor}
	switch {
	case f.UserID != "" && !q.UserID.Valid():
		return q, wire.Invalid("the query", "user_id", domain.CodeBadValue, "is no user id")
	case f.Type != "" && !slices.Contains(eventTypes, f.Type):
		return q, wire.Invalid("the query", "type", domain.CodeBadValue, "is no type of an event")
	case len(f.Actor) > maxActor:
		return q, wire.Invalid("the query", "actor", domain.CodeTooLong, "at most %d bytes", maxActor)
	}
	if f.Type != "" {
		q.Types = []string{f.Type}
	}
	if q.From, err = wire.MomentOf("from", f.From); err == nil {
		q.Until, err = wire.MomentOf("until", f.Until)
	}
	return q, err
}

// eventsPart reads what a filter lets through before the position that the query names, or behind one.
func (h *Handler) eventsPart(v *visit, f auditFilter) (eventsPart, error) {
	part := eventsPart{App: v.app(), Filter: f}
	q, err := f.query(v.app())
	if err != nil {
		return part, err
	}
	before, err := v.position("before")
	if err != nil {
		return part, err
	}
	after, err := v.position("after")
	if err != nil {
		return part, err
	}
	if after > 0 {
		q.From = audit.Moment{Position: after + 1}
	}
	if part.Last, err = h.Log.Last(v.r.Context()); err != nil { // first, so that what happens meanwhile is told once more, not left out
		return part, err
	}
	stretch, err := h.Audit.Newest(v.r.Context(), q, before, auditPage)
	if err != nil {
		return part, err
	}
	part.Before = stretch.Before
	for _, e := range stretch.Events {
		part.Events = append(part.Events, happeningOf(e))
	}
	return part, nil
}

// auditEvents answers with a part of the events.
func (h *Handler) auditEvents(v *visit) error {
	part, err := h.eventsPart(v, v.auditFilter())
	if err != nil {
		return err
	}
	return v.renderPart("audit", "events", view{Body: part})
}

// auditEvent answers with what an event did to an account.
func (h *Handler) auditEvent(v *visit) error {
	id, err := v.userID()
	if err != nil {
		return err
	}
	at, err := v.position("position")
	if err != nil {
		return err
	}
	entries, _, err := h.Audit.History(v.r.Context(), v.app(), id, audit.Page{Newest: true, After: at + 1, Limit: 1})
	if err != nil {
		return err
	}
	if len(entries) == 0 || entries[0].Event.Position != at {
		return wire.Refuse(wire.CodeNotFound, "there is no such event")
	}
	return v.renderPart("audit", "event", view{Body: entryOf(v.language, entries[0])})
}

// auditLedger answers with how far the log is signed.
func (h *Handler) auditLedger(v *visit) error {
	state, err := h.ledgerState(v)
	if err != nil {
		return err
	}
	return v.renderPart("audit", "ledger", view{Body: state})
}

// ledgerState reads the latest checkpoint, a signed note whose first lines are the origin, the size and the root
// (https://c2sp.org/tlog-checkpoint). Without one nothing is signed.
func (h *Handler) ledgerState(v *visit) (ledgerState, error) {
	state := ledgerState{App: v.app(), Key: h.Ledger.Key()}
	last, err := h.Log.Last(v.r.Context())
	if err != nil {
		return state, err
	}
	state.Unsigned = uint64(last)
	signed, size, err := h.Ledger.Checkpoint(v.r.Context(), false)
	if err != nil { // none yet, or none that the key has signed
		return state, nil
	}
	if lines := bytes.SplitN(signed, []byte("\n"), 4); len(lines) == 4 {
		state.Origin, state.Root = string(lines[0]), string(lines[2])
	}
	state.Size = size
	state.Unsigned -= min(size, state.Unsigned)
	if size > 0 {
		if state.Through, err = h.Log.Recorded(v.r.Context(), eventstore.Position(size)); err != nil {
			state.Through = time.Time{}
		}
	}
	return state, nil
}

func (h *Handler) erasureState(v *visit) (erasureState, error) {
	page, err := h.Erasures.List(v.r.Context(), v.app(), audit.PendingErasures(), maxPending)
	return erasureState{App: v.app(), Pending: page.Erasures, More: page.More, Places: page.Standings, Last: page.Last}, err
}
