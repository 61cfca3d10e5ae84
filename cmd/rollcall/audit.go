package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore/ledger"
)

// auditCmd are the commands that examine what happened.
type auditCmd struct {
	remote

	Replay     auditReplayCmd     `cmd:"" help:"Read the events of an application, as the log keeps them."`
	Consumer   auditConsumerCmd   `cmd:"" help:"Make a consumer by which an auditor reads the events over NATS."`
	State      auditStateCmd      `cmd:"" help:"Show an account as it was."`
	Verify     auditVerifyCmd     `cmd:"" help:"Prove that the log is what was signed, or name the first entry that is not."`
	Checkpoint auditCheckpointCmd `cmd:"" help:"Print a signed checkpoint of the log."`
	Key        auditKeyCmd        `cmd:"" help:"Print the public key that checkpoints are verified by."`
	Proof      auditProofCmd      `cmd:"" help:"Prove that an event is in the log, or that the log grew from an earlier one."`
	Erasures   auditErasuresCmd   `cmd:"" help:"List which deleted accounts are erased, and which are not yet."`
}

// auditStateCmd shows an account as it was.
type auditStateCmd struct {
	UserID string `arg:"" name:"user-id" help:"The account."`
	AsOf   string `name:"as-of" help:"A time, as in 2026-01-31T12:00:00Z, or a position." required:"" placeholder:"MOMENT"`
}

// Run prints the account.
func (c *auditStateCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	a, err := api.AccountAsOf(ctx, app, c.UserID, c.AsOf)
	if err != nil {
		return err
	}
	return printAccount(s, r.Output, a)
}

// accountHistoryCmd shows who changed an account.
type accountHistoryCmd struct {
	UserID string `arg:"" name:"user-id" help:"The account, also one that has been deleted."`
	Newest bool   `help:"The newest first."`
}

var historyColumns = []column[client.HistoryEntry]{
	{"position", func(e client.HistoryEntry) string { return whole(e.Position) }},
	{"recorded_at", func(e client.HistoryEntry) string { return moment(e.RecordedAt) }},
	{"type", func(e client.HistoryEntry) string { return e.Type }},
	{"actor", func(e client.HistoryEntry) string { return e.Actor }},
	{"command_id", func(e client.HistoryEntry) string { return e.CommandID }},
	{"cause", func(e client.HistoryEntry) string { return e.CausationID }},
	{"changes", changesText},
}

// changesText tells what an event changed, in one line.
func changesText(e client.HistoryEntry) string {
	parts := make([]string, len(e.Changes))
	for i, c := range e.Changes {
		switch {
		case c.Before == nil && c.After == nil:
			parts[i] = c.Field + ": erased"
		case c.Before == nil:
			parts[i] = fmt.Sprintf("%s: %v", c.Field, jsonNumber(c.After))
		case c.After == nil:
			parts[i] = fmt.Sprintf("%s: %v → unset", c.Field, jsonNumber(c.Before))
		default:
			parts[i] = fmt.Sprintf("%s: %v → %v", c.Field, jsonNumber(c.Before), jsonNumber(c.After))
		}
	}
	return strings.Join(parts, ", ")
}

// jsonNumber tells a number as it was written: encoding/json reads it as a float.
func jsonNumber(v any) any {
	if n, ok := v.(float64); ok {
		return int64(n)
	}
	return v
}

// Run prints the history as it comes.
func (c *accountHistoryCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	p := newPrinter(s, r.Output, historyColumns)
	for e, err := range api.History(ctx, app, c.UserID, c.Newest) {
		if err == nil {
			err = p.print(e)
		}
		if err != nil {
			return cmp.Or(p.flush(), err)
		}
	}
	return p.flush()
}

// auditReplayCmd reads events.
type auditReplayCmd struct {
	From    string  `help:"The first position, or the time from which on." placeholder:"MOMENT"`
	Until   string  `help:"The last position, or the time up to which." placeholder:"MOMENT"`
	User    string  `help:"Only the events of this account." placeholder:"USER-ID"`
	Type    string  `help:"Only events of these types, separated by commas, such as account.deleted." placeholder:"TYPES"`
	Follow  bool    `help:"And those to come, until interrupted."`
	To      string  `help:"file:PATH, which goes on behind the last event that the file has, or nats:SUBJECT, which is acknowledged where a stream takes it. Default: standard output." placeholder:"TARGET"`
	NATS    string  `name:"nats" help:"Server of nats:SUBJECT. ROLLCALL_REPLAY_NATS_CREDS names a file with credentials." default:"nats://127.0.0.1:4222" placeholder:"URL"`
	Rate    float64 `help:"At most so many events a second." placeholder:"N"`
	AllApps bool    `help:"The events of all applications, the whole log; for operators."`
	Proof   bool    `help:"Put what verifies the file without a service beside it: FILE.proof and FILE.checkpoint. With --to file:FILE."`
}

// Run reads the events and writes each as a CloudEvent, a line each.
func (c *auditReplayCmd) Run(ctx context.Context, r *remote, s *streams, env lookup) error {
	if c.Rate < 0 || c.Follow && c.Until != "" {
		return usage("--rate is 0 or more, and --follow goes without --until")
	}
	api, app, err := r.appOrAll(c.AllApps)
	if err != nil {
		return err
	}
	file, toFile := strings.CutPrefix(c.To, "file:")
	if c.Proof && (!toFile || c.Follow) {
		return usage("--proof goes with --to file:PATH, and without --follow")
	}
	target, err := c.target(ctx, s, env)
	if err != nil {
		return err
	}
	extent := c.extent()
	if last := target.last(); last > 0 {
		c.From = fmt.Sprint(last + 1)
	}
	err = c.replay(ctx, api, app, s, target)
	if cerr := target.close(); err == nil {
		err = cerr
	}
	if t, ok := target.(*subjectTarget); ok && t.reached() != "" {
		fmt.Fprintln(s.err, t.reached())
	}
	if err != nil || !c.Proof {
		return err
	}
	return proveReplay(ctx, api, s, file, extent)
}

// extent returns which events the file of a replay has.
func (c *auditReplayCmd) extent() ledger.Extent {
	switch {
	case c.Type != "":
		return ledger.Chosen
	case c.AllApps && c.User == "" && c.From == "" && c.Until == "":
		return ledger.Whole
	}
	return ledger.Continuous
}

func (c *auditReplayCmd) replay(ctx context.Context, api *client.Client, app string, s *streams, target replayTarget) error {
	bar := newProgress(s.err, "events", 0)
	if c.To == "" {
		bar = nil // the events themselves show it
	}
	pace := newPace(c.Rate)
	n := int64(0)
	query := client.EventQuery{From: c.From, Until: c.Until, UserID: c.User, Type: c.Type, Follow: c.Follow}
	for e, err := range api.Events(ctx, app, query) {
		if err == nil {
			err = pace.wait(ctx)
		}
		if err == nil {
			err = target.write(ctx, e)
		}
		if c.Follow && ctx.Err() != nil {
			return nil // that is how following ends
		}
		if err != nil {
			return err
		}
		if n++; bar != nil {
			bar.at(n)
		}
	}
	if bar != nil {
		bar.end()
		fmt.Fprintf(s.err, "%s events written to %s\n", grouped(n), c.To)
	}
	return nil
}

// pace bounds a rate. Nil does not.
type pace struct {
	each time.Duration
	next time.Time
}

func newPace(perSecond float64) *pace {
	if perSecond == 0 {
		return nil
	}
	return &pace{each: time.Duration(float64(time.Second) / perSecond), next: time.Now()}
}

// wait returns when the next may go.
func (p *pace) wait(ctx context.Context) error {
	if p == nil {
		return nil
	}
	now := time.Now()
	p.next = p.next.Add(p.each)
	const nap = 5 * time.Millisecond // the clock is not finer everywhere
	if p.next.Before(now) {
		p.next = now
	}
	if d := p.next.Sub(now); d > nap {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
