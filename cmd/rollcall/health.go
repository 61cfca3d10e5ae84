package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// healthCmd tells whether a service can serve. Images without a shell and without curl ask by it.
type healthCmd struct {
	Server  string        `help:"Address of the service." default:"http://127.0.0.1:8080" placeholder:"URL"`
	Alive   bool          `help:"Ask only whether it lives, not whether it can serve."`
	Timeout time.Duration `help:"How long an answer may take." default:"4s"`
}

// Run prints what the service answers. An answer other than yes is an error.
func (c *healthCmd) Run(ctx context.Context, s *streams) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	path := "/readyz"
	if c.Alive {
		path = "/healthz"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Server, "/")+path, nil)
	if err != nil {
		return usage("--server: %v", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the service: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("ask the service: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", path, res.Status, body)
	}
	_, err = s.out.Write(body)
	return err
}
