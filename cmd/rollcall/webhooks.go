package main

import (
	"context"
	"fmt"
	"strings"

	"rollcall/cmd/rollcall/internal/client"
)

// webhooksCmd are the commands on webhooks.
type webhooksCmd struct {
	remote

	Create     webhookCreateCmd     `cmd:"" help:"Have the events of exports sent to a URL. The secret that signs them is shown once."`
	List       webhookListCmd       `cmd:"" help:"List the webhooks, without their secrets."`
	Delete     webhookDeleteCmd     `cmd:"" help:"Delete a webhook with its deliveries."`
	Rotate     webhookRotateCmd     `cmd:"" help:"Give a webhook a new secret. For a day the old one signs too."`
	Test       webhookTestCmd       `cmd:"" help:"Send a webhook an event, to try it."`
	Deliveries webhookDeliveriesCmd `cmd:"" help:"List the deliveries of a webhook, the newest first."`
	Retry      webhookRetryCmd      `cmd:"" help:"Send a delivery again."`
}

var webhookColumns = []column[client.Webhook]{
	{"id", func(w client.Webhook) string { return w.ID }},
	{"url", func(w client.Webhook) string { return w.URL }},
	{"events", func(w client.Webhook) string { return strings.Join(w.Events, ",") }},
	{"created_at", func(w client.Webhook) string { return moment(w.CreatedAt) }},
	{"created_by", func(w client.Webhook) string { return w.CreatedBy }},
	{"disabled_at", func(w client.Webhook) string { return moment(w.DisabledAt) }},
}

var deliveryColumns = []column[client.Delivery]{
	{"id", func(d client.Delivery) string { return d.ID }},
	{"event", func(d client.Delivery) string { return d.Event }},
	{"export_id", func(d client.Delivery) string { return d.ExportID }},
	{"status", func(d client.Delivery) string { return d.Status }},
	{"attempts", func(d client.Delivery) string { return whole(d.Attempts) }},
	{"last_attempt_at", func(d client.Delivery) string { return moment(d.LastAttempt) }},
	{"duration_ms", func(d client.Delivery) string { return nonzero(int64(d.DurationMS)) }},
	{"status_code", func(d client.Delivery) string { return nonzero(d.StatusCode) }},
	{"next_attempt_at", func(d client.Delivery) string { return moment(d.NextAttempt) }},
	{"error", func(d client.Delivery) string { return d.Error }},
}

// printWithSecret prints a webhook whose secret is shown this once.
func printWithSecret(s *streams, format string, w client.Webhook) error {
	if format == "table" {
		fmt.Fprintln(s.err, "the secret is shown this once; keep it")
	}
	columns := append(webhookColumns[:3:3], column[client.Webhook]{"secret", func(w client.Webhook) string { return w.Secret }})
	return printAll(s, format, columns, w)
}

// webhookCreateCmd registers a webhook.
type webhookCreateCmd struct {
	URL    string   `arg:"" help:"Where events are sent: an https URL of a public host."`
	Events []string `help:"What is sent: requested, started, completed, failed, cancelled, expired, withdrawn. Default: those that end an export or its file." placeholder:"EVENT,…"`
}

// Run registers the webhook and prints it with its secret.
func (c *webhookCreateCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	w, err := api.CreateWebhook(ctx, app, c.URL, c.Events)
	if err != nil {
		return err
	}
	return printWithSecret(s, r.Output, w)
}

// webhookListCmd lists webhooks.
type webhookListCmd struct{}

// Run prints the webhooks.
func (c *webhookListCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	hooks, err := api.Webhooks(ctx, app)
	if err != nil {
		return err
	}
	return printAll(s, r.Output, webhookColumns, hooks...)
}

// webhookDeleteCmd deletes a webhook.
type webhookDeleteCmd struct {
	ID string `arg:"" help:"The webhook's id, as list shows it."`
}

// Run deletes the webhook.
func (c *webhookDeleteCmd) Run(ctx context.Context, r *remote, _ *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	return api.DeleteWebhook(ctx, app, c.ID)
}

// webhookRotateCmd gives a webhook a new secret.
type webhookRotateCmd struct {
	ID string `arg:"" help:"The webhook's id, as list shows it."`
}

// Run rotates the secret and prints the webhook with the new one.
func (c *webhookRotateCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	w, err := api.RotateWebhook(ctx, app, c.ID)
	if err != nil {
		return err
	}
	return printWithSecret(s, r.Output, w)
}

// webhookTestCmd tries a webhook.
type webhookTestCmd struct {
	ID string `arg:"" help:"The webhook's id, as list shows it."`
}

// Run has an event sent and prints its delivery, which is pending.
func (c *webhookTestCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	d, err := api.TestWebhook(ctx, app, c.ID)
	if err != nil {
		return err
	}
	return printAll(s, r.Output, deliveryColumns, d)
}

// webhookDeliveriesCmd lists deliveries.
type webhookDeliveriesCmd struct {
	ID string `arg:"" help:"The webhook's id, as list shows it."`
}

// Run prints the deliveries.
func (c *webhookDeliveriesCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	p := newPrinter(s, r.Output, deliveryColumns)
	for d, err := range api.Deliveries(ctx, app, c.ID) {
		if err != nil {
			return err
		}
		if err := p.print(d); err != nil {
			return err
		}
	}
	return p.flush()
}

// webhookRetryCmd sends a delivery again.
type webhookRetryCmd struct {
	ID       string `arg:"" help:"The webhook's id, as list shows it."`
	Delivery string `arg:"" help:"The delivery's id, as deliveries shows it."`
}

// Run has the delivery sent and prints it.
func (c *webhookRetryCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	d, err := api.RetryDelivery(ctx, app, c.ID, c.Delivery)
	if err != nil {
		return err
	}
	return printAll(s, r.Output, deliveryColumns, d)
}
