package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/wire"
)

// pageSizes are how many accounts a page may have; the first is what it has at first.
var pageSizes = []int{50, 100, 200}

// maxAsked bounds the accounts that a module may ask for by their ids at once.
const maxAsked = 200

// accountsBody is what the page of accounts shows.
type accountsBody struct {
	Listing domain.Listing
	Page    domain.Page
	Sizes   []int
	Read    bool // the visitor may see accounts
	Write   bool // and may change them
	Pick    bool // a selection is good for something
	Export  bool // the visitor may order exports
}

// accountsPage shows the first accounts in the page itself, so that there is something to see before any module runs.
func (h *Handler) accountsPage(v *visit) error {
	app, _, err := h.Queries.App(v.r.Context(), 0, v.app())
	if err != nil {
		return err
	}
	body := v.accountsBody()
	if body.Read {
		body.Page, err = h.Queries.List(v.r.Context(), 0, body.Listing)
		if r, ok := errors.AsType[*domain.Rejection](err); ok && r.Code != domain.CodeAppNotFound { // an address of another time
			body.Listing = domain.Listing{App: app.ID, Sort: domain.SortCreatedAt, Order: domain.Descending, Limit: pageSizes[0]}
			body.Page, err = h.Queries.List(v.r.Context(), 0, body.Listing)
		}
		if err != nil {
			return err
		}
	}
	return v.render(http.StatusOK, "accounts", view{
		Title: title(app) + " · " + v.text("accounts.title"), App: &app, Tab: "accounts", Body: body,
		Entry: "accounts.js", Load: []string{"list.js", "selection.js", "live.js", "follow.js", "dialog.js", "form.js", "create.js", "edit.js", "conflict.js", "delete.js", "export.js"},
	})
}

// accountsBody reads what the address asks for.
func (v *visit) accountsBody() accountsBody {
	q := v.r.URL.Query()
	l := domain.Listing{
		App: v.app(), Filter: domain.Filter{Type: domain.AccountType(q.Get("type")), Text: q.Get("q")},
		Sort: domain.Sort(q.Get("sort")), Order: domain.Order(q.Get("order")), Limit: pageSizes[0], Cursor: q.Get("cursor"),
	}
	if l.Sort == "" {
		l.Sort = domain.SortCreatedAt
	}
	if l.Order == "" {
		l.Order = domain.Ascending
		if l.Sort == domain.SortCreatedAt { // the latest are what people look for
			l.Order = domain.Descending
		}
	}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && slices.Contains(pageSizes, n) {
		l.Limit = n
	}
	write := v.may(access.WriteAccounts)
	return accountsBody{
		Listing: l, Sizes: pageSizes, Read: v.may(access.ReadAccounts), Write: write, Pick: write || v.may(access.Export), Export: v.may(access.Export),
	}
}

// SortURL returns the address that sorts the list, the other way round if it is sorted like that.
func (b accountsBody) SortURL(by string) string {
	q := url.Values{"sort": {by}}
	if b.Listing.Filter.Text != "" {
		q.Set("q", b.Listing.Filter.Text)
	}
	if b.Listing.Filter.Type != "" {
		q.Set("type", string(b.Listing.Filter.Type))
	}
	order := domain.Ascending
	if b.Listing.Sort == domain.Sort(by) && b.Listing.Order == domain.Ascending {
		order = domain.Descending
	}
	q.Set("order", string(order))
	return "?" + q.Encode()
}

// AriaSort says how a column is sorted.
func (b accountsBody) AriaSort(by string) string {
	switch {
	case b.Listing.Sort != domain.Sort(by):
		return "none"
	case b.Listing.Order == domain.Descending:
		return "descending"
	}
	return "ascending"
}

// accountRows answers with a page of rows, or with those of the ids that are asked for, as far as the filter lets them through.
func (h *Handler) accountRows(v *visit) error {
	minimum, err := v.minimum()
	if err != nil {
		return err
	}
	body := v.accountsBody()
	if ids := v.r.URL.Query()["id"]; len(ids) > 0 {
		body.Page, err = h.pageOf(v, minimum, body.Listing, ids)
	} else {
		body.Page, err = h.Queries.List(v.r.Context(), minimum, body.Listing)
	}
	if err != nil {
		return err
	}
	return v.renderPart("accounts", "rows", view{Body: body})
}

// pageOf returns those of some accounts that exist and that the filter lets through. Its total is that of the application.
func (h *Handler) pageOf(v *visit, minimum uint64, l domain.Listing, ids []string) (domain.Page, error) {
	if len(ids) > maxAsked {
		return domain.Page{}, wire.Invalid("the query", "id", domain.CodeTooLong, "at most %d", maxAsked)
	}
	l.Cursor, l.Limit = "", 1
	page, err := h.Queries.List(v.r.Context(), minimum, l)
	if err != nil {
		return domain.Page{}, err
	}
	page.Accounts, page.Next = nil, ""
	for _, id := range ids {
		if !domain.UserID(id).Valid() {
			continue
		}
		a, _, err := h.Queries.Account(v.r.Context(), minimum, l.App, domain.UserID(id))
		switch {
		case errors.Is(err, domain.CodeAccountNotFound):
			continue
		case err != nil:
			return domain.Page{}, err
		case l.Filter.Matches(a):
			page.Accounts = append(page.Accounts, a)
		}
	}
	return page, nil
}

// newAccount is what the dialog that creates an account shows.
type newAccount struct {
	App        domain.App
	Seats      int // taken by administrators
	SeatsKnown bool
	Full       bool
	TextBytes  int
	IDBytes    int
}

func (h *Handler) newAccountDialog(v *visit) error {
	app, _, err := h.Queries.App(v.r.Context(), 0, v.app())
	if err != nil {
		return err
	}
	form := newAccount{App: app, TextBytes: domain.MaxTextBytes, IDBytes: domain.MaxUserIDBytes}
	if v.may(access.ReadAccounts) {
		page, err := h.Queries.List(v.r.Context(), 0, domain.Listing{App: app.ID, Limit: 1, Filter: domain.Filter{Type: domain.TypeAdmin}})
		if err != nil {
			return err
		}
		form.Seats, form.SeatsKnown, form.Full = page.Total, true, page.Total >= app.MaxAdmins
	}
	return v.renderPart("create", "dialog", view{Body: form})
}

// editAccount is what the dialog that edits an account shows.
type editAccount struct {
	Account       domain.Account
	JSON          wire.Account // as the API shows it, which the edit starts from
	TextBytes     int
	LocationBytes int
	Silent        bool // it receives no messages
}

func (h *Handler) editAccountDialog(v *visit) error {
	if !v.may(access.ReadAccounts) {
		return wire.Refuse(wire.CodeForbidden, "this token does not see accounts")
	}
	minimum, err := v.minimum()
	if err != nil {
		return err
	}
	id := domain.UserID(v.r.URL.Query().Get("user_id"))
	if !id.Valid() {
		return wire.Refuse(domain.CodeAccountNotFound, "there is no such account")
	}
	a, _, err := h.Queries.Account(v.r.Context(), minimum, v.app(), id)
	if err != nil {
		return err
	}
	return v.renderPart("edit", "dialog", view{Body: editAccount{
		Account: a, JSON: wire.AccountOf(a), TextBytes: domain.MaxTextBytes, LocationBytes: domain.MaxLocationBytes, Silent: a.Profile.MsgSettings.Value&1 == 1,
	}})
}

func (h *Handler) deleteDialog(v *visit) error {
	return v.renderPart("delete", "dialog", view{})
}
