package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/wire"
)

// AccountParam names the account that a path is about.
type AccountParam struct {
	AppParam
	UserID string `path:"user_id" doc:"The account, percent-encoded where it has / ? # or %, and . and .. as %2E and %2E%2E"`
}

type accountOutput struct {
	WriteHeaders
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     wire.Account
}

type accountReadOutput struct {
	Status       int
	Position     uint64 `header:"Rollcall-Position" doc:"Position of the log that the answer shows"`
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         wire.Account
}

func (h *Handler) registerAccounts() {
	tags := []string{"Accounts"}
	const collection, item = "/v1/apps/{app}/accounts", "/v1/apps/{app}/accounts/{user_id}"
	register(h, rule{action: access.WriteAccounts, scope: inApp}, huma.Operation{
		OperationID: "create-account", Method: http.MethodPost, Path: collection, Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create an account",
	}, h.jsonBody(accountSchema(true), "application/json"), h.createAccount)
	register(h, rule{action: access.ReadAccounts, scope: inApp, or: access.Audit}, huma.Operation{
		OperationID: "list-accounts", Method: http.MethodGet, Path: collection, Tags: tags,
		Summary: "List accounts", Description: "A page at a time, by keyset: a page is not shifted by accounts that come or go before it. " +
			"With as_of it is the list as it was, which auditors may ask as well; accounts that were deleted since are in it, without what they held once that is erased. " +
			"Such a list is built when it is asked for first: 503 not_caught_up tells how far it is, and is to be repeated.",
	}, nil, h.listAccounts)
	register(h, rule{action: access.ReadAccounts, scope: inApp, or: access.Audit}, huma.Operation{
		OperationID: "get-account", Method: http.MethodGet, Path: item, Tags: tags,
		Summary: "Show an account", Description: "As it is, or with as_of as it was, which auditors may ask as well.",
	}, nil, h.getAccount)
	register(h, rule{action: access.WriteAccounts, scope: inApp}, huma.Operation{
		OperationID: "edit-account", Method: http.MethodPatch, Path: item, Tags: tags, Metadata: map[string]any{takesIfMatch: true},
		Summary: "Edit an account's profile", Description: "The body is a JSON merge patch (RFC 7396): a field that is null is unset, one that is absent stays.",
	}, h.jsonBody(accountSchema(false), mergePatchType, "application/json"), h.editAccount)
	register(h, rule{action: access.WriteAccounts, scope: inApp}, huma.Operation{
		OperationID: "delete-account", Method: http.MethodDelete, Path: item, Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete an account", Description: "Its personal data cannot be recovered.",
	}, nil, h.deleteAccount)
	register(h, rule{action: access.WriteAccounts, scope: inApp}, huma.Operation{
		OperationID: "delete-accounts", Method: http.MethodPost, Path: "/v1/apps/{app}/accounts:delete", Tags: tags,
		Summary: "Delete accounts", Description: "Each for itself: one that fails does not stop the others.",
	}, h.jsonBody(deletionSchema(), "application/json"), h.deleteAccounts)
}

func (h *Handler) createAccount(ctx context.Context, in *struct {
	AppParam
	WriteParams
}) (*accountOutput, error) {
	c := callOf(ctx)
	req, err := c.order(command.MaxCommandIDBytes)
	if err != nil {
		return nil, err
	}
	b, err := c.readBody(maxCommandBody)
	if err != nil {
		return nil, err
	}
	body, err := wire.DecodeAccount(b)
	if err != nil {
		return nil, err
	}
	if err := body.RefuseReadOnly(); err != nil {
		return nil, err
	}
	res, err := h.Commands.Execute(ctx, req, domain.CreateAccount{
		App: in.App, UserID: body.UserID, Type: body.Type, Profile: body.Patch.Values,
	})
	if err != nil {
		return nil, err
	}
	a := res.Account
	return &accountOutput{
		WriteHeaders: h.wrote(res), ETag: etag(a.Revision), Location: accountPath(in.App, body.UserID), Body: wire.AccountOf(a),
	}, nil
}

func (h *Handler) getAccount(ctx context.Context, in *struct {
	AccountParam
	ReadParams
	AsOf        string `query:"as_of" doc:"A time or a position: the account as it was then"`
	IfNoneMatch string `header:"If-None-Match" doc:"Entity tags that the client has: 304 when the account is still as one of them"`
}) (*accountReadOutput, error) {
	c := callOf(ctx)
	id, err := c.userID(string(in.App), in.UserID)
	if err != nil {
		return nil, err
	}
	if in.AsOf != "" {
		return h.getAccountAsOf(ctx, in.MinPosition, in.App, id, in.AsOf)
	}
	if err := c.principal.Authorize(access.ReadAccounts, string(in.App)); err != nil {
		return nil, err
	}
	a, position, err := h.Queries.Account(ctx, in.MinPosition, in.App, id)
	if err != nil {
		return nil, err
	}
	out := &accountReadOutput{Status: http.StatusOK, Position: position, ETag: etag(a.Revision), CacheControl: "private, no-cache", Body: wire.AccountOf(a)}
	if noneMatch(in.IfNoneMatch, a.Revision) {
		out.Status = http.StatusNotModified
	}
	return out, nil
}

// getAccountAsOf shows an account as it was.
func (h *Handler) getAccountAsOf(ctx context.Context, minimum uint64, app domain.AppID, id domain.UserID, asOf string) (*accountReadOutput, error) {
	at, err := wire.MomentOf("as_of", asOf)
	if err != nil {
		return nil, err
	}
	if h.Audit == nil {
		return nil, wire.Invalid("the query", "as_of", domain.CodeBadValue, "is not served here")
	}
	if err := h.Audit.Reach(ctx, eventstore.Position(minimum)); err != nil {
		return nil, err
	}
	a, position, err := h.Audit.Account(ctx, app, id, at)
	if err != nil {
		return nil, err
	}
	return &accountReadOutput{Status: http.StatusOK, Position: uint64(position), ETag: etag(a.Revision), CacheControl: "private, no-cache", Body: wire.AccountOf(a)}, nil
}

func (h *Handler) deleteAccount(ctx context.Context, in *struct {
	AccountParam
	WriteParams
}) (*WriteHeaders, error) {
	c := callOf(ctx)
	req, err := c.order(command.MaxCommandIDBytes)
	if err != nil {
		return nil, err
	}
	id, err := c.userID(string(in.App), in.UserID)
	if err != nil {
		return nil, err
	}
	res, err := h.Commands.Execute(ctx, req, domain.DeleteAccount{App: in.App, UserID: id})
	if err != nil {
		return nil, err
	}
	out := h.wrote(res)
	return &out, nil
}
