package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"rollcall/cmd/rollcall/internal/client"
)

// commandsCmd are the commands on commands that were sent as messages.
type commandsCmd struct {
	remote

	Outcome commandOutcomeCmd `cmd:"" help:"Show what became of a command."`
	Dead    deadCmd           `cmd:"" help:"Messages that could not be understood as commands."`
}

var outcomeColumns = []column[client.Outcome]{
	{"command_id", func(o client.Outcome) string { return o.CommandID }},
	{"app", func(o client.Outcome) string { return o.App }},
	{"verb", func(o client.Outcome) string { return o.Verb }},
	{"user_id", func(o client.Outcome) string { return o.UserID }},
	{"status", func(o client.Outcome) string { return o.Status }},
	{"code", func(o client.Outcome) string { return o.Code }},
	{"detail", func(o client.Outcome) string { return o.Detail }},
	{"errors", outcomeErrors},
	{"position", func(o client.Outcome) string { return nonzero(o.Position) }},
	{"revision", func(o client.Outcome) string { return nonzero(o.Revision) }},
	{"export_id", func(o client.Outcome) string { return o.ExportID }},
	{"results", outcomeResults},
	{"time", func(o client.Outcome) string { return moment(o.Time) }},
	{"actor", func(o client.Outcome) string { return o.Actor }},
}

// outcomeErrors tells the fields that could not be accepted.
func outcomeErrors(o client.Outcome) string {
	all := make([]string, len(o.Errors))
	for i, f := range o.Errors {
		all[i] = f.Field + ": " + f.Detail
	}
	return strings.Join(all, "; ")
}

// outcomeResults tells what became of each account of a batch.
func outcomeResults(o client.Outcome) string {
	all := make([]string, len(o.Results))
	for i, d := range o.Results {
		all[i] = d.UserID + ": " + d.Status
		if d.Code != "" {
			all[i] += " (" + d.Code + ")"
		}
	}
	return strings.Join(all, "; ")
}

// commandOutcomeCmd shows what became of a command.
type commandOutcomeCmd struct {
	ID string `arg:"" help:"The command, by the id that it was sent under."`
}

// Run prints the outcome, below each other in a table. Whatever it says, that it is known is success.
func (c *commandOutcomeCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	o, err := api.Outcome(ctx, app, c.ID)
	if err != nil {
		return err
	}
	if r.Output != "table" {
		return printAll(s, r.Output, outcomeColumns, o)
	}
	t := tableWriter{w: s.out}
	for _, c := range outcomeColumns {
		if v := c.text(o); v != "" {
			t.add([]string{c.name, v})
		}
	}
	return t.flush()
}

// deadCmd are the commands on dead commands.
type deadCmd struct {
	List  deadListCmd  `cmd:"" help:"List dead commands, the oldest first; of one application where --app names one."`
	Retry deadRetryCmd `cmd:"" help:"Have dead commands decided again, as they were sent. One that still cannot be understood is listed under a new id."`
	Drop  deadDropCmd  `cmd:"" help:"Drop dead commands for good. They count as rejected, with the code dropped."`
}

var deadColumns = []column[client.DeadCommand]{
	{"id", func(d client.DeadCommand) string { return d.ID }},
	{"time", func(d client.DeadCommand) string { return moment(d.Time) }},
	{"app", func(d client.DeadCommand) string { return d.App }},
	{"verb", func(d client.DeadCommand) string { return d.Verb }},
	{"command_id", func(d client.DeadCommand) string { return d.CommandID }},
	{"code", func(d client.DeadCommand) string { return d.Code }},
	{"reason", func(d client.DeadCommand) string { return d.Reason }},
}

// deadDetails are the columns of CSV.
var deadDetails = append(deadColumns[:len(deadColumns):len(deadColumns)],
	column[client.DeadCommand]{"sender", func(d client.DeadCommand) string { return d.Sender }},
	column[client.DeadCommand]{"body", func(d client.DeadCommand) string { return d.Body }},
	column[client.DeadCommand]{"body_base64", func(d client.DeadCommand) string { return base64.StdEncoding.EncodeToString(d.BodyBase64) }},
)

// deadListCmd lists dead commands.
type deadListCmd struct {
	Limit *int `help:"At most so many; all unless told."`
}

// Run prints the dead commands, a page at a time.
func (c *deadListCmd) Run(ctx context.Context, r *remote, s *streams) error {
	limit := 0
	if c.Limit != nil {
		if limit = *c.Limit; limit < 1 {
			return usage("--limit: a list has at least one dead command")
		}
	}
	api, err := r.client()
	if err != nil {
		return err
	}
	columns := deadColumns
	if r.Output == "csv" {
		columns = deadDetails
	}
	p := newPrinter(s, r.Output, columns)
	for page, err := range api.DeadCommands(ctx, r.App, limit) {
		if err != nil {
			return err
		}
		for _, d := range page {
			if err := p.print(d); err != nil {
				return err
			}
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	return nil
}

// deadSelection tells which dead commands are meant.
type deadSelection struct {
	IDs []string `arg:"" optional:"" name:"id" help:"The dead commands, by their ids in the list."`
	All bool     `help:"All that are there now; of one application where --app names one."`
}

// ids returns the ids of the dead commands. Those that come while they are dealt with are not among them.
func (d *deadSelection) ids(ctx context.Context, api *client.Client, app string) ([]string, error) {
	if d.All == (len(d.IDs) > 0) {
		return nil, usage("name dead commands by their ids, or say --all")
	}
	ids := d.IDs
	if !d.All {
		return ids, nil
	}
	for page, err := range api.DeadCommands(ctx, app, 0) {
		if err != nil {
			return nil, err
		}
		for _, dead := range page {
			ids = append(ids, dead.ID)
		}
	}
	return ids, nil
}

// deadResult tells what became of one dead command.
type deadResult struct {
	ID     string `json:"id"`
	Status string `json:"status"` // what was done, or failed
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

var deadResultColumns = []column[deadResult]{
	{"id", func(d deadResult) string { return d.ID }},
	{"status", func(d deadResult) string { return d.Status }},
	{"code", func(d deadResult) string { return d.Code }},
	{"detail", func(d deadResult) string { return d.Detail }},
}

// each does something to each of the dead commands and prints what became of it. One that is refused does not stop the others.
func (d *deadSelection) each(ctx context.Context, r *remote, s *streams, done string, do func(*client.Client, context.Context, string) error) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	ids, err := d.ids(ctx, api, r.App)
	if err != nil {
		return err
	}
	p := newPrinter(s, r.Output, deadResultColumns)
	var refused *client.Problem
	var failed []string
	for _, id := range ids {
		result := deadResult{ID: id, Status: done}
		if err := do(api, ctx, id); err != nil {
			why, ok := errors.AsType[*client.Problem](err)
			if !ok || !why.Refused() {
				return errors.Join(p.flush(), err)
			}
			refused, failed = why, append(failed, id)
			result = deadResult{ID: id, Status: "failed", Code: why.Code, Detail: why.Detail}
		}
		if err := p.print(result); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	if refused != nil {
		return fmt.Errorf("%d of %d dead commands were not %s (%s), the last because: %w", len(failed), len(ids), done, strings.Join(failed, ", "), refused)
	}
	return nil
}

// deadRetryCmd has dead commands decided again.
type deadRetryCmd struct{ deadSelection }

// Run gives the dead commands back to be decided.
func (c *deadRetryCmd) Run(ctx context.Context, r *remote, s *streams) error {
	return c.each(ctx, r, s, "retried", (*client.Client).RetryDeadCommand)
}

// deadDropCmd drops dead commands.
type deadDropCmd struct{ deadSelection }

// Run drops the dead commands.
func (c *deadDropCmd) Run(ctx context.Context, r *remote, s *streams) error {
	return c.each(ctx, r, s, "dropped", (*client.Client).DropDeadCommand)
}
