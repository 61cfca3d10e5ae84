package httpapi

import (
	"context"
	"fmt"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/wire"
)

type listInput struct {
	AppParam
	ReadParams
	Type   domain.AccountType `query:"type" enum:"normal,admin" doc:"Only accounts of this type"`
	Text   string             `query:"q" doc:"Occurs in the user id or the nickname, in any case of letters"`
	Sort   domain.Sort        `query:"sort" enum:"created_at,user_id,nickname" default:"created_at" doc:"What the list is ordered by"`
	Order  domain.Order       `query:"order" enum:"asc,desc" default:"asc" doc:"The direction of the list"`
	Limit  int                `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Accounts on a page"`
	Cursor string             `query:"cursor" doc:"next_cursor of the page before; sort, order, type, q and as_of must be the same"`
	AsOf   string             `query:"as_of" doc:"A time or a position: the list as it was then"`
}

// AccountList is one page of a list of accounts.
type AccountList struct {
	Accounts        []wire.Account `json:"accounts" nullable:"false"`
	NextCursor      string         `json:"next_cursor,omitempty" doc:"Cursor of the next page, absent at the end"`
	Total           int            `json:"total" doc:"Accounts of the application that the filter lets through"`
	TotalIsEstimate bool           `json:"total_is_estimate,omitempty" doc:"Counting them would cost too much"`
	Position        uint64         `json:"position" doc:"Position of the log that the page shows"`
}

type accountListOutput struct {
	Position uint64 `header:"Rollcall-Position"`
	Body     AccountList
}

func (h *Handler) listAccounts(ctx context.Context, in *listInput) (*accountListOutput, error) {
	asOf, err := h.listedAsOf(ctx, in)
	if err != nil {
		return nil, err
	}
	page, err := h.Queries.List(ctx, in.MinPosition, domain.Listing{
		App: in.App, Filter: domain.Filter{Type: in.Type, Text: in.Text},
		Sort: in.Sort, Order: in.Order, Limit: in.Limit, Cursor: in.Cursor, AsOf: asOf,
	})
	if err != nil {
		return nil, err
	}
	body := AccountList{
		Accounts: make([]wire.Account, len(page.Accounts)), NextCursor: page.Next,
		Total: page.Total, TotalIsEstimate: page.TotalIsEstimate, Position: page.Position,
	}
	for i, a := range page.Accounts {
		body.Accounts[i] = wire.AccountOf(a)
	}
	return &accountListOutput{Position: page.Position, Body: body}, nil
}

// listedAsOf returns the position that a list is to show, zero for the latest, unless the caller may not see it.
func (h *Handler) listedAsOf(ctx context.Context, in *listInput) (uint64, error) {
	if in.AsOf == "" {
		return 0, callOf(ctx).principal.Authorize(access.ReadAccounts, string(in.App))
	}
	at, err := wire.MomentOf("as_of", in.AsOf)
	if err != nil {
		return 0, err
	}
	if h.Audit == nil {
		return 0, wire.Invalid("the query", "as_of", domain.CodeBadValue, "is not served here")
	}
	if err := h.Audit.Reach(ctx, eventstore.Position(in.MinPosition)); err != nil {
		return 0, err
	}
	position, err := h.Audit.Resolve(ctx, at)
	if err == nil && position == 0 {
		err = &domain.Rejection{Code: domain.CodeAppNotFound, Detail: fmt.Sprintf("there was no application %q at %s, before the log begins", in.App, in.AsOf)}
	}
	return uint64(position), err
}
