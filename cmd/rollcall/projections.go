package main

import (
	"context"
	"errors"
	"strconv"

	"rollcall/cmd/rollcall/internal/client"
)

// projectionCmd are the commands on projections.
type projectionCmd struct {
	remote

	Status  projectionStatusCmd  `cmd:"" help:"Show how far each projection has come."`
	Rebuild projectionRebuildCmd `cmd:"" help:"Build the account list anew beside the live one, which it replaces when both say the same."`
	Lists   projectionListsCmd   `cmd:"" help:"Show the account lists that the database holds."`
	Promote projectionPromoteCmd `cmd:"" help:"Have a list that was live take the place of the live one."`
	Drop    projectionDropCmd    `cmd:"" help:"Remove a list that is not live."`
}

var projectionColumns = []column[client.Projection]{
	{"name", func(p client.Projection) string { return p.Name }},
	{"position", func(p client.Projection) string { return whole(p.Position) }},
	{"last", func(p client.Projection) string { return whole(p.Last) }},
	{"behind", func(p client.Projection) string { return whole(max(p.Last, p.Position) - p.Position) }},
	{"behind_seconds", func(p client.Projection) string { return strconv.FormatFloat(p.BehindSeconds, 'f', 1, 64) }},
	{"leading", func(p client.Projection) string {
		if p.Leading {
			return "yes"
		}
		return ""
	}},
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
			return errors.New(p.Halted)
		}
	}
	return nil
}
