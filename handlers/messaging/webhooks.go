package messaging

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/handlers/export"
	"rollcall/handlers/webhook"
)

// webhookBucket is the bucket of registrations.
const webhookBucket = "ROLLCALL_WEBHOOKS"

// Webhooks keeps registrations of webhooks in a bucket. It implements webhook.Registry and is safe for concurrent use.
type Webhooks struct {
	js jetstream.JetStream
	kv jetstream.KeyValue
}

var _ webhook.Registry = (*Webhooks)(nil)

// OpenWebhooks returns the registry of webhooks, with its bucket on the given number of servers. Zero replicas means one. ErrBucket when the
// bucket exists with another set-up.
func OpenWebhooks(ctx context.Context, js jetstream.JetStream, replicas int) (*Webhooks, error) {
	kv, err := openBucket(ctx, js, jetstream.KeyValueConfig{
		Bucket: webhookBucket, Description: "Webhooks of applications, their secrets sealed. Written by Rollcall alone.", Replicas: replicas,
	})
	if err != nil {
		return nil, err
	}
	return &Webhooks{js: js, kv: kv}, nil
}

func webhookKey(app domain.AppID, id string) string { return string(app) + "." + id }

func webhookSubject(key string) string { return "$KV." + webhookBucket + "." + key }

// Create keeps a new record.
func (w *Webhooks) Create(ctx context.Context, r webhook.Record) error {
	b, err := marshalWebhook(r)
	if err == nil {
		_, err = w.kv.Create(ctx, webhookKey(r.App, r.ID), b)
	}
	if err != nil {
		return fmt.Errorf("keep webhook %s: %w", r.ID, err)
	}
	return nil
}

// Replace keeps a record in place of the one with its revision.
func (w *Webhooks) Replace(ctx context.Context, r webhook.Record) error {
	b, err := marshalWebhook(r)
	if err == nil {
		_, err = w.kv.Update(ctx, webhookKey(r.App, r.ID), b, r.Revision)
	}
	switch {
	case isConflict(err):
		return fmt.Errorf("keep webhook %s: %w", r.ID, webhook.ErrChanged)
	case err != nil:
		return fmt.Errorf("keep webhook %s: %w", r.ID, err)
	}
	return nil
}

// Get returns a record as the leader of the bucket knows it.
func (w *Webhooks) Get(ctx context.Context, app domain.AppID, id string) (webhook.Record, error) {
	data, revision, err := lastMessage(ctx, w.js.Conn(), "KV_"+webhookBucket, webhookSubject(webhookKey(app, id)))
	switch {
	case err != nil:
		return webhook.Record{}, err
	case len(data) == 0: // none, or the mark of one that was deleted by hand
		return webhook.Record{}, fmt.Errorf("webhook %s: %w", id, webhook.ErrNotFound)
	}
	return unmarshalWebhook(data, revision)
}

// List returns the records of an application. A replica may answer, but not one that lacks what the leader had when List began.
func (w *Webhooks) List(ctx context.Context, app domain.AppID) ([]webhook.Record, error) {
	return latest(ctx, w.js, "KV_"+webhookBucket, webhookSubject(webhookKey(app, "*")), unmarshalWebhook)
}

// Delete removes a record and leaves no mark of it.
func (w *Webhooks) Delete(ctx context.Context, app domain.AppID, id string) error {
	return purge(ctx, w.js, "KV_"+webhookBucket, webhookSubject(webhookKey(app, id)))
}

// purge removes the messages on a subject.
func purge(ctx context.Context, js jetstream.JetStream, name, subject string) error {
	stream, err := js.Stream(ctx, name)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", subject, err)
	}
	return nil
}

// webhookJSON is the form of a record in the bucket. A name is never reused with another meaning.
type webhookJSON struct {
	ID             string              `json:"id"`
	App            domain.AppID        `json:"app"`
	URL            string              `json:"url"`
	Events         []export.EventType  `json:"events"`
	CreatedAt      time.Time           `json:"created_at"`
	CreatedBy      string              `json:"created_by"`
	DisabledAt     time.Time           `json:"disabled_at,omitzero"`
	DisabledReason string              `json:"disabled_reason,omitempty"`
	After          uint64              `json:"after"`
	Secrets        []webhookSecretJSON `json:"secrets"`
}

type webhookSecretJSON struct {
	Sealed []byte    `json:"sealed"`
	Until  time.Time `json:"until,omitzero"`
}

func marshalWebhook(r webhook.Record) ([]byte, error) {
	j := webhookJSON{
		ID: r.ID, App: r.App, URL: r.URL, Events: r.Events, CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy,
		DisabledAt: r.DisabledAt, DisabledReason: r.DisabledReason, After: r.After,
	}
	for _, s := range r.Secrets {
		j.Secrets = append(j.Secrets, webhookSecretJSON(s))
	}
	return json.Marshal(j)
}

func unmarshalWebhook(b []byte, revision uint64) (webhook.Record, error) {
	var j webhookJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return webhook.Record{}, fmt.Errorf("read webhook: %w", err)
	}
	r := webhook.Record{Revision: revision, After: j.After, Webhook: webhook.Webhook{
		ID: j.ID, App: j.App, URL: j.URL, Events: j.Events, CreatedAt: j.CreatedAt, CreatedBy: j.CreatedBy,
		DisabledAt: j.DisabledAt, DisabledReason: j.DisabledReason,
	}}
	for _, s := range j.Secrets {
		r.Secrets = append(r.Secrets, webhook.SealedSecret(s))
	}
	return r, nil
}
