package main

import (
	"context"
	"fmt"

	"rollcall/cmd/rollcall/internal/client"
)

// tokensCmd are the commands on tokens.
type tokensCmd struct {
	remote

	Create tokenCreateCmd `cmd:"" help:"Create a token. Its secret is shown once."`
	List   tokenListCmd   `cmd:"" help:"List the tokens, without their secrets."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke a token."`
}

var tokenColumns = []column[client.Token]{
	{"id", func(t client.Token) string { return t.ID }},
	{"role", func(t client.Token) string { return t.Role }},
	{"app", func(t client.Token) string { return t.App }},
	{"name", func(t client.Token) string { return t.Name }},
	{"created_at", func(t client.Token) string { return moment(t.CreatedAt) }},
	{"revoked_at", func(t client.Token) string { return moment(t.RevokedAt) }},
	{"created_by", func(t client.Token) string { return t.CreatedBy }},
}

// tokenCreateCmd creates a token.
type tokenCreateCmd struct {
	Role string `help:"operator, or one of an application: admin, producer, viewer, exporter, auditor." required:""`
	Name string `help:"Whom or what the token is for, 1 to 64 characters." required:""`
}

// Run creates the token and prints it with its secret.
func (c *tokenCreateCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	t, err := api.CreateToken(ctx, c.Name, c.Role, r.App)
	if err != nil {
		return err
	}
	if r.Output == "table" {
		fmt.Fprintln(s.err, "the secret is shown this once; keep it")
	}
	columns := append(tokenColumns[:len(tokenColumns):len(tokenColumns)],
		column[client.Token]{"secret", func(t client.Token) string { return t.Secret }})
	return printAll(s, r.Output, columns, t)
}

// tokenListCmd lists tokens.
type tokenListCmd struct{}

// Run prints the tokens.
func (c *tokenListCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	tokens, err := api.Tokens(ctx, r.App)
	if err != nil {
		return err
	}
	return printAll(s, r.Output, tokenColumns, tokens...)
}

// tokenRevokeCmd revokes a token.
type tokenRevokeCmd struct {
	ID string `arg:"" help:"The token's id, as list shows it."`
}

// Run revokes the token.
func (c *tokenRevokeCmd) Run(ctx context.Context, r *remote, _ *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	return api.RevokeToken(ctx, c.ID)
}
