package client

import (
	"context"
	"net/http"
)

// MasterKey tells how many blocks of keys of accounts a master key wraps.
type MasterKey struct {
	ID     string `json:"id"`
	Role   string `json:"role"` // current, old, next or unknown
	Blocks int    `json:"blocks"`
}

// MasterKeys returns the master keys that the instance knows of.
func (c *Client) MasterKeys(ctx context.Context) ([]MasterKey, error) {
	var out struct {
		MasterKeys []MasterKey `json:"master_keys"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"keys"}}, &out)
	return out.MasterKeys, err
}
