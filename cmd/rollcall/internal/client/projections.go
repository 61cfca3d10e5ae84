package client

import (
	"context"
	"net/http"
)

// Projection tells how far a projection has come.
type Projection struct {
	Name     string `json:"name"`
	Position uint64 `json:"position"`
	Last     uint64 `json:"last"` // position of the log's end
	Halted   string `json:"halted,omitempty"`
	Retrying string `json:"retrying,omitempty"`
}

// Projections returns the state of all projections.
func (c *Client) Projections(ctx context.Context) ([]Projection, error) {
	var out struct {
		Projections []Projection `json:"projections"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"projections"}}, &out)
	return out.Projections, err
}
