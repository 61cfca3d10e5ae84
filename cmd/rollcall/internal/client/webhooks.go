package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Webhook is an address that the events of exports are sent to. The secret is told when it is created or rotated, and never again.
type Webhook struct {
	ID             string    `json:"id"`
	App            string    `json:"app"`
	URL            string    `json:"url"`
	Events         []string  `json:"events"`
	CreatedAt      time.Time `json:"created_at"`
	CreatedBy      string    `json:"created_by"`
	DisabledAt     time.Time `json:"disabled_at,omitzero"`
	DisabledReason string    `json:"disabled_reason,omitempty"`
	Secret         string    `json:"secret,omitempty"`

	Raw json.RawMessage `json:"-"` // the webhook as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (w *Webhook) UnmarshalJSON(b []byte) error {
	type plain Webhook
	return readKept(b, (*plain)(w), &w.Raw)
}

// MarshalJSON implements json.Marshaler.
func (w Webhook) MarshalJSON() ([]byte, error) {
	type plain Webhook
	return writeKept(plain(w), w.Raw)
}

// Delivery is one event on its way to one webhook.
type Delivery struct {
	ID          string    `json:"id"`
	Event       string    `json:"event"`
	ExportID    string    `json:"export_id,omitempty"`
	Status      string    `json:"status"` // pending, delivered or failed
	CreatedAt   time.Time `json:"created_at"`
	Attempts    int       `json:"attempts"`
	LastAttempt time.Time `json:"last_attempt_at,omitzero"`
	NextAttempt time.Time `json:"next_attempt_at,omitzero"`
	StatusCode  int       `json:"status_code,omitempty"`
	Error       string    `json:"error,omitempty"`
	DurationMS  float64   `json:"duration_ms,omitempty"` // milliseconds

	Raw json.RawMessage `json:"-"` // the delivery as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Delivery) UnmarshalJSON(b []byte) error {
	type plain Delivery
	return readKept(b, (*plain)(d), &d.Raw)
}

// MarshalJSON implements json.Marshaler.
func (d Delivery) MarshalJSON() ([]byte, error) {
	type plain Delivery
	return writeKept(plain(d), d.Raw)
}

// CreateWebhook registers a webhook and returns it with its secret. Without types of events it gets those that end an export.
func (c *Client) CreateWebhook(ctx context.Context, app, address string, events []string) (Webhook, error) {
	var w Webhook
	body := map[string]any{"url": address}
	if len(events) > 0 {
		body["events"] = events
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(app, "webhooks"), body: body}, &w)
	return w, err
}

// Webhooks returns the webhooks of an application.
func (c *Client) Webhooks(ctx context.Context, app string) ([]Webhook, error) {
	var out struct {
		Webhooks []Webhook `json:"webhooks"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: path(app, "webhooks")}, &out)
	return out.Webhooks, err
}

// DeleteWebhook removes a webhook.
func (c *Client) DeleteWebhook(ctx context.Context, app, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: path(app, "webhooks", id)}, nil)
	return err
}

// RotateWebhook gives a webhook a new secret and returns it with that.
func (c *Client) RotateWebhook(ctx context.Context, app, id string) (Webhook, error) {
	var w Webhook
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(app, "webhooks", id, "rotate")}, &w)
	return w, err
}

// TestWebhook has an event sent to try a webhook, and returns its delivery.
func (c *Client) TestWebhook(ctx context.Context, app, id string) (Delivery, error) {
	var d Delivery
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(app, "webhooks", id, "test")}, &d)
	return d, err
}

// RetryDelivery has a delivery sent again.
func (c *Client) RetryDelivery(ctx context.Context, app, webhook, id string) (Delivery, error) {
	var d Delivery
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(app, "webhooks", webhook, "deliveries", id, "retry")}, &d)
	return d, err
}

// Deliveries yields the deliveries of a webhook, the newest first. An error ends them.
func (c *Client) Deliveries(ctx context.Context, app, id string) iter.Seq2[Delivery, error] {
	type page struct {
		Deliveries []Delivery `json:"deliveries"`
		NextCursor string     `json:"next_cursor"`
	}
	in := call{method: http.MethodGet, path: path(app, "webhooks", id, "deliveries"), query: url.Values{"limit": {"200"}}}
	return listed(ctx, c, in, func(p page) ([]Delivery, string) { return p.Deliveries, p.NextCursor })
}
