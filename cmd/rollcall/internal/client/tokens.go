package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Token is the right to use the service. The secret is told once, when it is created.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	App       string    `json:"app,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by,omitempty"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Secret    string    `json:"secret,omitempty"`

	Raw json.RawMessage `json:"-"` // the token as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Token) UnmarshalJSON(b []byte) error {
	type plain Token
	return readKept(b, (*plain)(t), &t.Raw)
}

// MarshalJSON implements json.Marshaler.
func (t Token) MarshalJSON() ([]byte, error) {
	type plain Token
	return writeKept(plain(t), t.Raw)
}

// CreateToken creates a token and returns it with its secret.
func (c *Client) CreateToken(ctx context.Context, name, role, app string) (Token, error) {
	var t Token
	body := map[string]string{"name": name, "role": role}
	if app != "" {
		body["app"] = app
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: []string{"tokens"}, body: body}, &t)
	return t, err
}

// Tokens returns the tokens of an application, all for an empty one, without their secrets.
func (c *Client) Tokens(ctx context.Context, app string) ([]Token, error) {
	query := url.Values{}
	if app != "" {
		query.Set("app", app)
	}
	var out struct {
		Tokens []Token `json:"tokens"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"tokens"}, query: query}, &out)
	return out.Tokens, err
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"tokens", id}}, nil)
	return err
}
