package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// App is an application.
type App struct {
	App       string    `json:"app"`
	Name      string    `json:"name,omitempty"`
	MaxAdmins int       `json:"max_admins"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Revision  uint64    `json:"revision"`

	Raw json.RawMessage `json:"-"` // the application as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *App) UnmarshalJSON(b []byte) error {
	type plain App
	return readKept(b, (*plain)(a), &a.Raw)
}

// MarshalJSON implements json.Marshaler.
func (a App) MarshalJSON() ([]byte, error) {
	type plain App
	return writeKept(plain(a), a.Raw)
}

// AppChange is what is told of an application that is created or edited. Nil is left
// as it is.
type AppChange struct {
	App       string  `json:"app,omitempty"`
	Name      *string `json:"name,omitempty"`
	MaxAdmins *int    `json:"max_admins,omitempty"`
}

// CreateApp creates an application.
func (c *Client) CreateApp(ctx context.Context, in AppChange) (App, error) {
	var app App
	_, err := c.do(ctx, call{method: http.MethodPost, path: []string{"apps"}, body: in, header: commandID()}, &app)
	return app, err
}

// EditApp changes an application.
func (c *Client) EditApp(ctx context.Context, app string, in AppChange) (App, error) {
	var out App
	_, err := c.do(ctx, call{method: http.MethodPatch, path: path(app), body: in, header: commandID()}, &out)
	return out, err
}

// App returns one application.
func (c *Client) App(ctx context.Context, app string) (App, error) {
	var out App
	_, err := c.do(ctx, call{method: http.MethodGet, path: path(app)}, &out)
	return out, err
}

// Apps returns all applications that the token may see.
func (c *Client) Apps(ctx context.Context) ([]App, error) {
	var out struct {
		Apps []App `json:"apps"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"apps"}}, &out)
	return out.Apps, err
}
