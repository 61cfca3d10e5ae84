package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/wire"
)

// Audit answers those who examine what happened, see audit.Service.
type Audit interface {
	Account(ctx context.Context, app domain.AppID, id domain.UserID, at audit.Moment) (domain.Account, eventstore.Position, error)
	History(ctx context.Context, app domain.AppID, id domain.UserID, p audit.Page) (entries []audit.Entry, more bool, err error)
	Newest(ctx context.Context, q audit.Query, before eventstore.Position, limit int) (audit.Stretch, error)
}

const (
	// pastPage is how many events of a history come at once.
	pastPage = 30
	// maxMoments bounds the moments that the slider has, the latest ones.
	maxMoments = 1000
)

// accountBody is what the page of an account shows.
type accountBody struct {
	UserID  domain.UserID
	Now     portrait
	History historyPart
	Moments []moment // of the account, the oldest first
	Audit   bool     // the visitor may see what was
	Write   bool
	// Position is where the page stands, from which on changes are followed.
	Position uint64
}

// moment is a place on the slider through time: what the account was when an event had happened.
type moment struct {
	Position uint64    `json:"position"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`
}

// portrait is an account at a moment.
type portrait struct {
	UserID  domain.UserID
	Account domain.Account // the zero value when there was none
	Facts   []fact
	At      uint64 // the position of the moment, zero for now
	Erased  bool   // there was one, but what it held is gone
	Live    bool   // the visitor may see it as it is now
	Write   bool
}

// Exists tells whether there was an account that can be shown.
func (p portrait) Exists() bool { return p.Account.Exists() && !p.Erased }

// fact is one field of a portrait.
type fact struct {
	Field   string
	Value   shownValue
	Differs bool // it is another one now
}

// historyPart is a part of a history, the newest first.
type historyPart struct {
	UserID domain.UserID
	Events []happening
	Before eventstore.Position // what is older is before it, zero when there is nothing
}

// factFields are the fields that a portrait shows.
var factFields = domain.ProfileFields.With(domain.FieldType).With(domain.FieldCreatedAt).With(domain.FieldUpdatedAt).With(domain.FieldRevision)

func (h *Handler) accountPage(v *visit) error {
	app, _, err := h.Queries.App(v.r.Context(), 0, v.app())
	if err != nil {
		return err
	}
	id, err := v.userID()
	if err != nil {
		return err
	}
	body := accountBody{UserID: id, Audit: v.may(access.Audit), Write: v.may(access.WriteAccounts)}
	last, err := h.Log.Last(v.r.Context()) // first, so that what happens meanwhile is told
	if err != nil {
		return err
	}
	body.Position = uint64(last)
	if body.Now, err = h.portraitNow(v, id, 0); err != nil {
		return err
	}
	if body.Audit {
		entries, _, err := h.Audit.History(v.r.Context(), app.ID, id, audit.Page{Newest: true})
		if err != nil {
			return err
		}
		body.Moments = momentsOf(entries)
		body.History = v.historyPart(id, entries[:min(pastPage, len(entries))], len(entries) > pastPage)
	} else if !body.Now.Exists() {
		return wire.Refuse(domain.CodeAccountNotFound, "there is no account %s", wire.Quoted(string(id)))
	}
	return v.render(http.StatusOK, "account", view{
		Title: string(id) + " · " + title(app), App: &app, Tab: "accounts", Body: body,
		Entry: "account.js", Load: []string{"timeline.js", "follow.js", "dialog.js", "form.js", "edit.js", "conflict.js", "delete.js"},
	})
}

// userID returns the id that the path or the query names.
func (v *visit) userID() (domain.UserID, error) {
	id := domain.UserID(v.r.PathValue("user_id"))
	if id == "" {
		id = domain.UserID(v.r.URL.Query().Get("user_id"))
	}
	if !id.Valid() {
		return "", wire.Refuse(domain.CodeAccountNotFound, "there is no such account")
	}
	return id, nil
}

// position returns the position that a parameter of the query names, zero for none.
func (v *visit) position(name string) (eventstore.Position, error) {
	m, err := wire.MomentOf(name, v.r.URL.Query().Get(name))
	if err == nil && !m.Time.IsZero() {
		err = wire.Invalid("the query", name, domain.CodeBadValue, "must be a position")
	}
	return m.Position, err
}

// momentsOf returns the latest moments of a history, which is the newest first; the oldest of them first.
func momentsOf(entries []audit.Entry) []moment {
	var all []moment
	for _, e := range entries {
		if happeningOf(e.Event).Moment && len(all) < maxMoments {
			all = append(all, moment{Position: uint64(e.Event.Position), Time: e.Event.Time.UTC(), Kind: kindOf(e.Event.Type)})
		}
	}
	slices.Reverse(all)
	return all
}

func (v *visit) historyPart(id domain.UserID, entries []audit.Entry, more bool) historyPart {
	part := historyPart{UserID: id, Events: entriesOf(v.language, entries)}
	if more {
		part.Before = entries[len(entries)-1].Event.Position
	}
	return part
}

// portraitNow returns an account as it is, at a minimum position or later; without an account when there is none.
func (h *Handler) portraitNow(v *visit, id domain.UserID, minimum uint64) (portrait, error) {
	p := portrait{UserID: id, Live: true, Write: v.may(access.WriteAccounts)}
	var err error
	if v.may(access.ReadAccounts) {
		p.Account, _, err = h.Queries.Account(v.r.Context(), minimum, v.app(), id)
	} else {
		var last eventstore.Position
		if last, err = h.Log.Last(v.r.Context()); err == nil {
			p.Account, _, err = h.Audit.Account(v.r.Context(), v.app(), id, audit.Moment{Position: last})
		}
	}
	if errors.Is(err, domain.CodeAccountNotFound) {
		return p, nil
	}
	p.Facts = v.facts(p.Account)
	return p, err
}

// portraitAt returns an account as it was at a position, with what is another now marked.
func (h *Handler) portraitAt(v *visit, id domain.UserID, at eventstore.Position) (portrait, error) {
	p := portrait{UserID: id, At: uint64(at)}
	var err error
	p.Account, _, err = h.Audit.Account(v.r.Context(), v.app(), id, audit.Moment{Position: at})
	switch {
	case errors.Is(err, domain.CodeAccountNotFound):
		return p, nil
	case errors.Is(err, audit.CodeErased):
		p.Erased = true
		return p, nil
	case err != nil:
		return p, err
	}
	now, err := h.portraitNow(v, id, 0)
	if err != nil {
		return p, err
	}
	p.Facts = v.facts(p.Account)
	for i, f := range p.Facts {
		field, _ := domain.FieldNamed(f.Field)
		p.Facts[i].Differs = now.Exists() && domain.ProfileFields.Has(field) && f.Value != now.Facts[i].Value
	}
	return p, nil
}

func (v *visit) facts(a domain.Account) (all []fact) {
	for f := range factFields.All() {
		all = append(all, fact{Field: f.String(), Value: valueOf(v.language, f, a.Value(f))})
	}
	return all
}

// accountAt answers with an account as it was at a position, or as it is.
func (h *Handler) accountAt(v *visit) error {
	id, err := v.userID()
	if err != nil {
		return err
	}
	at, err := v.position("at")
	if err != nil {
		return err
	}
	var p portrait
	if at > 0 {
		if !v.may(access.Audit) {
			return wire.Refuse(wire.CodeForbidden, "this token does not see what was")
		}
		p, err = h.portraitAt(v, id, at)
	} else {
		var minimum uint64
		if minimum, err = v.minimum(); err == nil {
			p, err = h.portraitNow(v, id, minimum)
		}
	}
	if err != nil {
		return err
	}
	return v.renderPart("account", "portrait", view{Body: p})
}

// accountHistory answers with the part of a history before a position, or with all behind one.
func (h *Handler) accountHistory(v *visit) error {
	id, err := v.userID()
	if err != nil {
		return err
	}
	before, err := v.position("before")
	if err != nil {
		return err
	}
	after, err := v.position("after")
	if err != nil {
		return err
	}
	page := audit.Page{Newest: true, After: before, Limit: pastPage}
	if after > 0 {
		page = audit.Page{After: after, Limit: maxMoments}
	}
	entries, more, err := h.Audit.History(v.r.Context(), v.app(), id, page)
	if err != nil {
		return err
	}
	if after > 0 {
		slices.Reverse(entries)
		more = false
	}
	return v.renderPart("account", "timeline", view{Body: v.historyPart(id, entries, more)})
}
