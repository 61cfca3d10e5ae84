package main

import (
	"context"
	"fmt"

	"rollcall/cmd/rollcall/internal/client"
)

// projectionCmd are the commands on projections.
type projectionCmd struct {
	remote

	Status projectionStatusCmd `cmd:"" help:"Show how far each projection has come."`
}

var projectionColumns = []column[client.Projection]{
	{"name", func(p client.Projection) string { return p.Name }},
	{"position", func(p client.Projection) string { return whole(p.Position) }},
	{"last", func(p client.Projection) string { return whole(p.Last) }},
	{"behind", func(p client.Projection) string { return whole(max(p.Last, p.Position) - p.Position) }},
	{"halted", func(p client.Projection) string { return p.Halted }},
	{"retrying", func(p client.Projection) string { return p.Retrying }},
}

// projectionStatusCmd shows the projections.
type projectionStatusCmd struct{}

// Run prints the projections. A halted one is an error.
func (c *projectionStatusCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	all, err := api.Projections(ctx)
	if err != nil {
		return err
	}
	if err := printAll(s, r.Output, projectionColumns, all...); err != nil {
		return err
	}
	for _, p := range all {
		if p.Halted != "" {
			return fmt.Errorf("projection %s is halted at position %d: %s", p.Name, p.Position, p.Halted)
		}
	}
	return nil
}
