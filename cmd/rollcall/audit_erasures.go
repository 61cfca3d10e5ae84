package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"rollcall/cmd/rollcall/internal/client"
)

// auditErasuresCmd lists which deleted accounts are erased.
type auditErasuresCmd struct {
	Pending bool `help:"Only those of which something may be left."`
}

var erasureColumns = []column[client.Erasure]{
	{"user_id", func(e client.Erasure) string { return e.UserID }},
	{"state", func(e client.Erasure) string { return e.State }},
	{"deletion", func(e client.Erasure) string { return whole(e.Deletion) }},
	{"deleted_at", func(e client.Erasure) string { return moment(e.DeletedAt) }},
	{"erased_at", func(e client.Erasure) string { return moment(e.ErasedAt) }},
	{"remains", func(e client.Erasure) string { return strings.Join(e.Remains, ", ") }},
}

// Run prints the erasures and, beside them, what the places where data is kept wait for.
func (c *auditErasuresCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	p := newPrinter(s, r.Output, erasureColumns)
	var places []client.ErasurePlace
	for e, err := range api.Erasures(ctx, app, func(now []client.ErasurePlace) { places = now }) {
		if err == nil && (!c.Pending || e.State == "pending" || len(e.Remains) > 0) {
			err = p.print(e)
		}
		if err != nil {
			return cmp.Or(p.flush(), err)
		}
	}
	for _, place := range places {
		if place.Waits != "" {
			fmt.Fprintf(s.err, "%s: %s\n", place.Place, place.Waits)
		}
	}
	return p.flush()
}
