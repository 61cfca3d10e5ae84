package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/export"
	"rollcall/handlers/webhook"
	"rollcall/handlers/wire"
)

// Webhooks registers webhooks and tells of their deliveries, see webhook.Service.
type Webhooks interface {
	Register(ctx context.Context, actor string, app domain.AppID, url string, events []export.EventType) (webhook.Webhook, string, error)
	List(ctx context.Context, app domain.AppID) ([]webhook.Webhook, error)
	Get(ctx context.Context, app domain.AppID, id string) (webhook.Webhook, error)
	Delete(ctx context.Context, app domain.AppID, id string) error
	Rotate(ctx context.Context, app domain.AppID, id string) (webhook.Webhook, string, error)
	Test(ctx context.Context, actor string, app domain.AppID, id string) (webhook.Delivery, error)
	Deliveries(ctx context.Context, app domain.AppID, id string, limit int, cursor string) (page []webhook.Delivery, next string, err error)
	Retry(ctx context.Context, app domain.AppID, webhook, id string) (webhook.Delivery, error)
}

// Webhook is a webhook as JSON, without its secret.
type Webhook struct {
	ID             string             `json:"id"`
	App            domain.AppID       `json:"app"`
	URL            string             `json:"url"`
	Events         []export.EventType `json:"events" nullable:"false"`
	CreatedAt      time.Time          `json:"created_at"`
	CreatedBy      string             `json:"created_by"`
	DisabledAt     *time.Time         `json:"disabled_at,omitempty" doc:"Absent while events are sent"`
	DisabledReason string             `json:"disabled_reason,omitempty"`
}

// WebhookWithSecret is a webhook that was just made, or got a new secret.
type WebhookWithSecret struct {
	Webhook
	Secret string `json:"secret" doc:"What signatures are checked with (https://www.standardwebhooks.com). It is shown this once"`
}

// WebhookList is the webhooks of an application.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks" nullable:"false"`
}

// WebhookDelivery is one event on its way to one webhook, as JSON.
type WebhookDelivery struct {
	ID          string           `json:"id" doc:"The id of the event, and the header webhook-id"`
	Event       export.EventType `json:"event"`
	ExportID    string           `json:"export_id,omitempty" doc:"Absent of a test"`
	Status      webhook.Status   `json:"status" enum:"pending,delivered,failed"`
	CreatedAt   time.Time        `json:"created_at"`
	Attempts    int              `json:"attempts"`
	LastAttempt *time.Time       `json:"last_attempt_at,omitempty"`
	NextAttempt *time.Time       `json:"next_attempt_at,omitempty" doc:"While it is pending"`
	StatusCode  int              `json:"status_code,omitempty" doc:"Of the last answer; absent where none came"`
	Error       string           `json:"error,omitempty" doc:"Why the last attempt failed"`
	DurationMS  float64          `json:"duration_ms,omitempty" doc:"How many milliseconds the last attempt took"`
}

// WebhookDeliveryList is one page of deliveries, the newest first.
type WebhookDeliveryList struct {
	Deliveries []WebhookDelivery `json:"deliveries" nullable:"false"`
	NextCursor string            `json:"next_cursor,omitempty" doc:"Cursor of the next page, absent at the end"`
}

func webhookOf(w webhook.Webhook) Webhook {
	return Webhook{
		ID: w.ID, App: w.App, URL: w.URL, Events: w.Events, CreatedAt: w.CreatedAt.UTC(), CreatedBy: w.CreatedBy,
		DisabledAt: moment(w.DisabledAt), DisabledReason: w.DisabledReason,
	}
}

func deliveryOf(d webhook.Delivery) WebhookDelivery {
	return WebhookDelivery{
		ID: d.ID, Event: d.Event, ExportID: d.Job, Status: d.Status, CreatedAt: d.CreatedAt.UTC(), Attempts: d.Attempts,
		LastAttempt: moment(d.LastAttempt), NextAttempt: moment(d.NextAttempt), StatusCode: d.StatusCode, Error: d.Error,
		DurationMS: float64(d.Took.Microseconds()) / 1000,
	}
}

// WebhookParam names the webhook that a path is about.
type WebhookParam struct {
	AppParam
	ID string `path:"id" doc:"The webhook"`
}

func (p WebhookParam) check() error { return checkID(p.ID, "webhook", webhook.CodeNotFound) }

type (
	webhookOutput         struct{ Body Webhook }
	webhookListOutput     struct{ Body WebhookList }
	deliveryOutput        struct{ Body WebhookDelivery }
	deliveryListOutput    struct{ Body WebhookDeliveryList }
	webhookSecretOutput   struct{ Body WebhookWithSecret }
	webhookCreationOutput struct {
		Location string `header:"Location"`
		Body     WebhookWithSecret
	}
)

func (h *Handler) registerWebhooks() {
	if h.Webhooks == nil {
		return
	}
	tags := []string{"Webhooks"}
	const collection, item = "/v1/apps/{app}/webhooks", "/v1/apps/{app}/webhooks/{id}"
	who := rule{action: access.Export, scope: inApp}
	register(h, who, huma.Operation{
		OperationID: "create-webhook", Method: http.MethodPost, Path: collection, Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Have the events of exports sent to a URL", Description: "Each as a POST of its CloudEvent, signed by the convention of Standard Webhooks and repeated for a day until it is answered by 2xx; 410 disables the webhook. " +
			"Registering is not idempotent: Idempotency-Key is not taken.",
	}, h.jsonBody(webhookSchema(), "application/json"), h.createWebhook)
	register(h, who, huma.Operation{
		OperationID: "list-webhooks", Method: http.MethodGet, Path: collection, Tags: tags, Summary: "List webhooks",
	}, nil, h.listWebhooks)
	register(h, who, huma.Operation{
		OperationID: "get-webhook", Method: http.MethodGet, Path: item, Tags: tags, Summary: "Show a webhook",
	}, nil, h.getWebhook)
	register(h, who, huma.Operation{
		OperationID: "delete-webhook", Method: http.MethodDelete, Path: item, Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a webhook with its deliveries",
	}, nil, h.deleteWebhook)
	register(h, who, huma.Operation{
		OperationID: "rotate-webhook-secret", Method: http.MethodPost, Path: item + "/rotate", Tags: tags,
		Summary: "Give a webhook a new secret", Description: "For a day requests are signed with the old one too.",
	}, nil, h.rotateWebhook)
	register(h, who, huma.Operation{
		OperationID: "test-webhook", Method: http.MethodPost, Path: item + "/test", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Send a webhook an event of the type webhook.test.v1", Description: "Its delivery, among the others, tells what became of it.",
	}, nil, h.testWebhook)
	register(h, who, huma.Operation{
		OperationID: "list-webhook-deliveries", Method: http.MethodGet, Path: item + "/deliveries", Tags: tags,
		Summary: "List the deliveries of a webhook, the newest first", Description: "They are kept for seven days behind their last attempt.",
	}, nil, h.listDeliveries)
	register(h, who, huma.Operation{
		OperationID: "retry-webhook-delivery", Method: http.MethodPost, Path: item + "/deliveries/{delivery}/retry", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Send a delivery again, under its id",
	}, nil, h.retryDelivery)
}

func webhookSchema() *huma.Schema {
	return object([]string{"url"}, map[string]*huma.Schema{
		"url":    stringSchema("An https URL of a public host, at most %d bytes", webhook.MaxURLBytes),
		"events": listSchema(enumSchema("", webhook.EventTypes()...), len(webhook.EventTypes()), "What is sent; completed, failed, cancelled, expired and withdrawn when left out"),
	})
}

func (h *Handler) createWebhook(ctx context.Context, in *AppParam) (*webhookCreationOutput, error) {
	c := callOf(ctx)
	if err := c.withoutKey("registering a webhook"); err != nil {
		return nil, err
	}
	b, err := c.readBody(maxCommandBody)
	if err != nil {
		return nil, err
	}
	var url string
	var events []export.EventType
	err = wire.DecodeObject(b, "the webhook", map[string]wire.Setter{"url": wire.SetString(&url), "events": wire.SetStrings(&events, "events", len(webhook.EventTypes()))})
	if err != nil {
		return nil, err
	}
	if err := c.checkApp(ctx, in.App); err != nil {
		return nil, err
	}
	w, secret, err := h.Webhooks.Register(ctx, c.principal.Actor(), in.App, url, events)
	if err != nil {
		return nil, h.webhookError(ctx, err)
	}
	return &webhookCreationOutput{Location: "/v1/apps/" + string(in.App) + "/webhooks/" + w.ID, Body: WebhookWithSecret{webhookOf(w), secret}}, nil
}

// webhookError answers a fault of what webhooks are kept in.
func (h *Handler) webhookError(ctx context.Context, err error) error {
	return h.exportError(ctx, err, wire.CodeUnavailable, "the webhooks cannot be reached; look whether it happened, and repeat the request in a moment")
}

func (h *Handler) listWebhooks(ctx context.Context, in *struct {
	AppParam
	UnusedReadParams
}) (*webhookListOutput, error) {
	if _, _, err := h.Queries.App(ctx, 0, in.App); err != nil {
		return nil, err
	}
	hooks, err := h.Webhooks.List(ctx, in.App)
	if err != nil {
		return nil, h.webhookError(ctx, err)
	}
	out := WebhookList{Webhooks: make([]Webhook, len(hooks))}
	for i, w := range hooks {
		out.Webhooks[i] = webhookOf(w)
	}
	return &webhookListOutput{out}, nil
}

func (h *Handler) getWebhook(ctx context.Context, in *struct {
	WebhookParam
	UnusedReadParams
}) (*webhookOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	w, err := h.Webhooks.Get(ctx, in.App, in.ID)
	if err != nil {
		return nil, h.webhookError(ctx, err)
	}
	return &webhookOutput{webhookOf(w)}, nil
}

func (h *Handler) deleteWebhook(ctx context.Context, in *WebhookParam) (*struct{}, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := h.Webhooks.Delete(ctx, in.App, in.ID); err != nil {
		return nil, h.webhookError(ctx, err)
	}
	return nil, nil
}

func (h *Handler) rotateWebhook(ctx context.Context, in *WebhookParam) (*webhookSecretOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	w, secret, err := h.Webhooks.Rotate(ctx, in.App, in.ID)
	if err != nil {
		return nil, h.webhookError(ctx, err)
	}
	return &webhookSecretOutput{WebhookWithSecret{webhookOf(w), secret}}, nil
}

func (h *Handler) testWebhook(ctx context.Context, in *WebhookParam) (*deliveryOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	d, err := h.Webhooks.Test(ctx, callOf(ctx).principal.Actor(), in.App, in.ID)
	if err != nil {
		return nil, h.webhookError(ctx, err)
	}
	return &deliveryOutput{deliveryOf(d)}, nil
}

func (h *Handler) listDeliveries(ctx context.Context, in *struct {
	WebhookParam
	UnusedReadParams
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Deliveries on a page"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before"`
}) (*deliveryListOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	page, next, err := h.Webhooks.Deliveries(ctx, in.App, in.ID, in.Limit, in.Cursor)
	if errors.Is(err, webhook.CodeInvalidCursor) {
		return nil, badCursor(err)
	}
	if err != nil {
		return nil, h.webhookError(ctx, err)
	}
	out := WebhookDeliveryList{Deliveries: make([]WebhookDelivery, len(page)), NextCursor: next}
	for i, d := range page {
		out.Deliveries[i] = deliveryOf(d)
	}
	return &deliveryListOutput{out}, nil
}

func (h *Handler) retryDelivery(ctx context.Context, in *struct {
	WebhookParam
	Delivery string `path:"delivery" doc:"The delivery"`
}) (*deliveryOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := checkID(in.Delivery, "delivery", webhook.CodeDeliveryNotFound); err != nil {
		return nil, err
	}
	d, err := h.Webhooks.Retry(ctx, in.App, in.ID, in.Delivery)
	if err != nil {
		return nil, h.webhookError(ctx, err)
	}
	return &deliveryOutput{deliveryOf(d)}, nil
}
