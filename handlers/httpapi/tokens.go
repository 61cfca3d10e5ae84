package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/wire"
)

// Token is a token as JSON, without its secret.
type Token struct {
	ID        string       `json:"id"`
	Name      string       `json:"name" doc:"For people"`
	Role      access.Role  `json:"role"`
	App       domain.AppID `json:"app,omitempty" doc:"The application that it is bound to; absent for an operator's"`
	CreatedAt time.Time    `json:"created_at"`
	CreatedBy string       `json:"created_by"`
	RevokedAt *time.Time   `json:"revoked_at,omitempty" doc:"Absent while the token is good"`
	RevokedBy string       `json:"revoked_by,omitempty"`
}

// NewToken is a token that was just made.
type NewToken struct {
	Token
	Secret string `json:"secret" doc:"What Authorization: Bearer takes. It is shown this once"`
}

// TokenList is the tokens that the caller may see.
type TokenList struct {
	Tokens []Token `json:"tokens" nullable:"false"`
}

type newTokenOutput struct{ Body NewToken }

type tokenListOutput struct{ Body TokenList }

func tokenOf(t access.Token) Token {
	return Token{
		ID: t.ID, Name: t.Name, Role: t.Role, App: domain.AppID(t.App), CreatedAt: t.CreatedAt.UTC(), CreatedBy: t.CreatedBy,
		RevokedAt: moment(t.RevokedAt), RevokedBy: t.RevokedBy,
	}
}

func (h *Handler) registerTokens() {
	tags := []string{"Tokens"}
	who := rule{action: access.ManageTokens, scope: inOwnApp}
	register(h, who, huma.Operation{
		OperationID: "create-token", Method: http.MethodPost, Path: "/v1/tokens", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Make a token", Description: "An operator makes any, an administrator those of the own application. Making a token is not idempotent: Idempotency-Key is not taken.",
	}, h.jsonBody(tokenSchema(), "application/json"), h.createToken)
	register(h, who, huma.Operation{
		OperationID: "list-tokens", Method: http.MethodGet, Path: "/v1/tokens", Tags: tags,
		Summary: "List tokens, revoked ones too",
	}, nil, h.listTokens)
	register(h, who, huma.Operation{
		OperationID: "revoke-token", Method: http.MethodDelete, Path: "/v1/tokens/{id}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Revoke a token", Description: "For good. To revoke a revoked token changes nothing.",
	}, nil, h.revokeToken)
}

func tokenSchema() *huma.Schema {
	return object([]string{"name", "role"}, map[string]*huma.Schema{
		"name": stringSchema("For people, 1 to %d characters", access.MaxNameLength),
		"role": enumSchema("What the token is for", access.Roles()...),
		"app":  stringSchema("The application that it is bound to; needed for every role but operator"),
	})
}

func (h *Handler) createToken(ctx context.Context, _ *struct{}) (*newTokenOutput, error) {
	c := callOf(ctx)
	if err := c.withoutKey("making a token"); err != nil {
		return nil, err
	}
	b, err := c.readBody(maxCommandBody)
	if err != nil {
		return nil, err
	}
	var name, app string
	var role access.Role
	err = wire.DecodeObject(b, "the token", map[string]wire.Setter{"name": wire.SetString(&name), "role": wire.SetString(&role), "app": wire.SetString(&app)})
	if err != nil {
		return nil, err
	}
	if err := c.checkTokenApp(ctx, domain.AppID(app)); err != nil {
		return nil, err
	}
	secret, t, err := h.Tokens.Create(ctx, c.principal, name, role, app)
	if err != nil {
		return nil, err
	}
	return &newTokenOutput{NewToken{Token: tokenOf(t), Secret: secret}}, nil
}

// checkTokenApp refuses to bind a token to an application that does not exist. Whether it
// does is told to those only who may make tokens there. What is not the name of an application is left
// to the use case, which names the field.
func (c *call) checkTokenApp(ctx context.Context, app domain.AppID) error {
	if !app.Valid() {
		return nil
	}
	if err := c.principal.Authorize(access.ManageTokens, string(app)); err != nil {
		return err
	}
	return c.checkApp(ctx, app)
}

func (h *Handler) listTokens(ctx context.Context, in *struct {
	UnusedReadParams
	App string `query:"app" doc:"Only tokens that are bound to this application"`
}) (*tokenListOutput, error) {
	tokens, err := h.Tokens.List(ctx, callOf(ctx).principal, in.App)
	if err != nil {
		return nil, err
	}
	out := TokenList{Tokens: make([]Token, len(tokens))}
	for i, t := range tokens {
		out.Tokens[i] = tokenOf(t)
	}
	return &tokenListOutput{out}, nil
}

func (h *Handler) revokeToken(ctx context.Context, in *struct {
	ID string `path:"id" doc:"The token"`
}) (*struct{}, error) {
	if err := checkID(in.ID, "token", access.CodeTokenNotFound); err != nil {
		return nil, err
	}
	_, err := h.Tokens.Revoke(ctx, callOf(ctx).principal, in.ID)
	return nil, err
}
