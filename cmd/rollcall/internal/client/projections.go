package client

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Projection tells how far a projection has come.
type Projection struct {
	Name     string `json:"name"`
	Position uint64 `json:"position"`
	Last     uint64 `json:"last"` // position of the log's end
	Halted   string `json:"halted,omitempty"`
	Retrying string `json:"retrying,omitempty"`

	Leading       bool    `json:"leading,omitempty"`
	BehindSeconds float64 `json:"behind_seconds"`
}

// Projections returns the state of all projections.
func (c *Client) Projections(ctx context.Context) ([]Projection, error) {
	var out struct {
		Projections []Projection `json:"projections"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"projections"}}, &out)
	return out.Projections, err
}

// List is one account list among those that a database holds.
type List struct {
	Number     int64     `json:"number"`
	Version    int       `json:"version"`
	State      string    `json:"state"`
	Note       string    `json:"note,omitempty"`
	Position   uint64    `json:"position"`
	Last       uint64    `json:"last"`
	CreatedAt  time.Time `json:"created_at"`
	PromotedAt time.Time `json:"promoted_at,omitzero"`
}

var listsPath = []string{"projections", "account_list", "lists"}

type lists struct {
	Lists []List `json:"lists"`
}

// Lists returns all account lists, the oldest first.
func (c *Client) Lists(ctx context.Context) ([]List, error) {
	var out lists
	_, err := c.do(ctx, call{method: http.MethodGet, path: listsPath}, &out)
	return out.Lists, err
}

// RebuildList orders a new account list and returns it.
func (c *Client) RebuildList(ctx context.Context) (List, error) {
	var out lists
	if _, err := c.do(ctx, call{method: http.MethodPost, path: listsPath}, &out); err != nil {
		return List{}, err
	}
	return out.Lists[len(out.Lists)-1], nil
}

// PromoteList orders that a list takes the place of the live one, with force without a comparison.
func (c *Client) PromoteList(ctx context.Context, number int64, force bool) error {
	query := url.Values{}
	if force {
		query.Set("force", "true")
	}
	_, err := c.do(ctx, call{method: http.MethodPost, query: query, path: slices.Concat(listsPath, []string{strconv.FormatInt(number, 10), "promote"})}, nil)
	return err
}

// DropList removes a list.
func (c *Client) DropList(ctx context.Context, number int64) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: slices.Concat(listsPath, []string{strconv.FormatInt(number, 10)})}, nil)
	return err
}
