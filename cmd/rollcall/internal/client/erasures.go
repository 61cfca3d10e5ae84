package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Erasure is a deleted account and what became of its data.
type Erasure struct {
	UserID    string    `json:"user_id"`
	State     string    `json:"state"` // erased or pending
	Deletion  uint64    `json:"deletion"`
	DeletedAt time.Time `json:"deleted_at"`
	Position  uint64    `json:"position,omitempty"`
	ErasedAt  time.Time `json:"erased_at,omitzero"`
	Remains   []string  `json:"remains,omitempty"`
}

// ErasurePlace is how far one place where personal data is kept has come with erasing it.
type ErasurePlace struct {
	Place   string `json:"place"`
	Through uint64 `json:"through"`
	Waits   string `json:"waits,omitempty"`
}

// Erasures yields the erasures of an application, those that are done and then those that are pending. It tells
// places, before each page, how far the places are where personal data is kept.
func (c *Client) Erasures(ctx context.Context, app string, places func([]ErasurePlace)) iter.Seq2[Erasure, error] {
	type page struct {
		Erasures   []Erasure      `json:"erasures"`
		Places     []ErasurePlace `json:"places"`
		NextCursor string         `json:"next_cursor"`
	}
	in := call{method: http.MethodGet, path: path(app, "erasures"), query: url.Values{"limit": {"1000"}}}
	return listed(ctx, c, in, func(p page) ([]Erasure, string) {
		places(p.Places)
		return p.Erasures, p.NextCursor
	})
}
