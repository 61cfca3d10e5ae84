package main

import (
	"context"
	"fmt"
	"time"

	"rollcall/cmd/rollcall/internal/client"
)

var listColumns = []column[client.List]{
	{"list", func(l client.List) string { return whole(l.Number) }},
	{"state", func(l client.List) string { return l.State }},
	{"position", func(l client.List) string { return whole(l.Position) }},
	{"last", func(l client.List) string { return whole(l.Last) }},
	{"version", func(l client.List) string { return whole(l.Version) }},
	{"created_at", func(l client.List) string { return moment(l.CreatedAt) }},
	{"promoted_at", func(l client.List) string { return moment(l.PromotedAt) }},
	{"note", func(l client.List) string { return l.Note }},
}

// projectionListsCmd shows the account lists.
type projectionListsCmd struct{}

// Run prints the lists.
func (c *projectionListsCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	all, err := api.Lists(ctx)
	if err != nil {
		return err
	}
	return printAll(s, r.Output, listColumns, all...)
}

// projectionDropCmd removes a list.
type projectionDropCmd struct {
	List int64 `arg:"" help:"Its number, as lists shows it."`
}

// Run removes the list.
func (c *projectionDropCmd) Run(ctx context.Context, r *remote) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	return api.DropList(ctx, c.List)
}

// projectionRebuildCmd builds a list anew.
type projectionRebuildCmd struct {
	Detach bool `help:"Do not wait for it."`
}

// Run orders the list and shows how far it is until it is live.
func (c *projectionRebuildCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	l, err := api.RebuildList(ctx)
	if err != nil {
		return err
	}
	if c.Detach {
		return printAll(s, r.Output, listColumns, l)
	}
	return awaitLive(ctx, api, r, s, l.Number)
}

// projectionPromoteCmd has a list take the place of the live one.
type projectionPromoteCmd struct {
	List  int64 `arg:"" help:"Its number, as lists shows it."`
	Force bool  `help:"At once and without a comparison, for a live list that is damaged or wrong."`
}

// Run orders the change and waits for it.
func (c *projectionPromoteCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	if err := api.PromoteList(ctx, c.List, c.Force); err != nil {
		return err
	}
	return awaitLive(ctx, api, r, s, c.List)
}

// buildLook is how often it is looked how far a list is.
const buildLook = 500 * time.Millisecond

// awaitLive shows how far a list is until it is live, which it prints, or refused, which is an error.
func awaitLive(ctx context.Context, api *client.Client, r *remote, s *streams, number int64) error {
	bar := newProgress(s.err, "events", 0)
	defer bar.end()
	tick := time.NewTicker(buildLook)
	defer tick.Stop()
	for {
		l, err := listNumbered(ctx, api, number)
		if err != nil {
			return err
		}
		switch l.State {
		case "live":
			bar.end()
			return printAll(s, r.Output, listColumns, l)
		case "building":
		default:
			return fmt.Errorf("list %d is %s: %s", number, l.State, l.Note)
		}
		bar.total = int64(max(l.Last, 1))
		bar.at(int64(l.Position))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func listNumbered(ctx context.Context, api *client.Client, number int64) (client.List, error) {
	all, err := api.Lists(ctx)
	if err != nil {
		return client.List{}, err
	}
	for _, l := range all {
		if l.Number == number {
			return l, nil
		}
	}
	return client.List{}, fmt.Errorf("list %d is gone", number)
}
