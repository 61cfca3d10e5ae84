package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/handlers/export"
	"rollcall/handlers/webhook"
)

// StreamWebhooks is the stream of deliveries to webhooks.
const StreamWebhooks = "WEBHOOKS"

// webhookPrefix begins the subjects of deliveries, followed by the application, the webhook and the delivery.
const webhookPrefix = "accounts.webhook."

// Bounds of the stream of deliveries.
const (
	deliveriesLife   = 7 * 24 * time.Hour // behind the last change of one
	maxDeliveryBytes = 1 << 30            // some 500,000, of one application webhook.MaxKept; then the oldest go before their time
)

// webhooksConfig returns the set-up of the stream of deliveries, which has one message a delivery: how it stands.
func webhooksConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StreamWebhooks,
		Description:       "Deliveries of events to webhooks. Written by Rollcall alone.",
		Subjects:          []string{webhookPrefix + "*.*.*"},
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxAge:            deliveriesLife,
		MaxBytes:          maxDeliveryBytes,
		MaxMsgsPerSubject: 1,
	}
}

// WebhookDeliveries keeps deliveries in a stream. It implements webhook.Deliveries and is safe for concurrent use.
type WebhookDeliveries struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

var _ webhook.Deliveries = (*WebhookDeliveries)(nil)

// OpenWebhookDeliveries opens the stream WEBHOOKS, and creates it on the given number of servers where there is none; zero
// replicas means one. ErrStream when it exists with another set-up.
func OpenWebhookDeliveries(ctx context.Context, js jetstream.JetStream, replicas int) (*WebhookDeliveries, error) {
	stream, err := openStream(ctx, js, webhooksConfig(replicas))
	if err != nil {
		return nil, err
	}
	return &WebhookDeliveries{js: js, stream: stream}, nil
}

func deliverySubject(app domain.AppID, hook, id string) string {
	return webhookPrefix + string(app) + "." + hook + "." + id
}

// Add keeps a new delivery unless it is there.
func (w *WebhookDeliveries) Add(ctx context.Context, d webhook.Delivery) error {
	d.Revision = 0
	_, err := w.publish(ctx, d)
	if isConflict(err) {
		return nil
	}
	return err
}

// Replace keeps a delivery in place of the one with its revision.
func (w *WebhookDeliveries) Replace(ctx context.Context, d webhook.Delivery) (uint64, error) {
	revision, err := w.publish(ctx, d)
	if isConflict(err) {
		return 0, fmt.Errorf("keep delivery %s: %w", d.ID, webhook.ErrChanged)
	}
	return revision, err
}

// publish writes a delivery when its revision is still the latest.
func (w *WebhookDeliveries) publish(ctx context.Context, d webhook.Delivery) (uint64, error) {
	data, err := json.Marshal(deliveryJSONOf(d))
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	ack, err := w.js.Publish(ctx, deliverySubject(d.App, d.Webhook, d.ID), data, jetstream.WithExpectLastSequencePerSubject(d.Revision))
	if err != nil {
		return 0, fmt.Errorf("keep delivery %s: %w", d.ID, err)
	}
	return ack.Sequence, nil
}

// Get returns a delivery as the leader of the stream knows it.
func (w *WebhookDeliveries) Get(ctx context.Context, app domain.AppID, hook, id string) (webhook.Delivery, error) {
	data, revision, err := lastMessage(ctx, w.js.Conn(), StreamWebhooks, deliverySubject(app, hook, id))
	switch {
	case err != nil:
		return webhook.Delivery{}, err
	case revision == 0:
		return webhook.Delivery{}, fmt.Errorf("delivery %s: %w", id, webhook.ErrNotFound)
	}
	return unmarshalDelivery(data, revision)
}

// List returns deliveries of a webhook as the leader of the stream knows them. A consumer would not do: of a replicated stream
// it can be ahead of the leader, behind it or without a word, and pass over a delivery that changes meanwhile.
func (w *WebhookDeliveries) List(ctx context.Context, app domain.AppID, hook, before string, limit int) (page []webhook.Delivery, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	prefix := deliverySubject(app, hook, "")
	info, err := w.stream.Info(ctx, jetstream.WithSubjectFilter(prefix+"*"))
	if err != nil {
		return nil, false, fmt.Errorf("read the deliveries of webhook %s: %w", hook, err)
	}
	ids := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		if id := strings.TrimPrefix(subject, prefix); before == "" || id < before {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids) // they begin with the time of the event
	for _, id := range slices.Backward(ids) {
		if len(page) == limit {
			return page, true, nil
		}
		switch d, err := w.Get(ctx, app, hook, id); {
		case errors.Is(err, webhook.ErrNotFound): // it has gone since
		case err != nil:
			return nil, false, fmt.Errorf("read the deliveries of webhook %s: %w", hook, err)
		default:
			d.Body = nil
			page = append(page, d)
		}
	}
	return page, false, nil
}

// nextDelivery returns the next delivery.
func nextDelivery(ctx context.Context, messages jetstream.MessagesContext) (webhook.Delivery, error) {
	m, err := messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return webhook.Delivery{}, fmt.Errorf("read deliveries: %w", err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return webhook.Delivery{}, fmt.Errorf("read deliveries: %w", err)
	}
	return unmarshalDelivery(m.Data(), meta.Sequence.Stream)
}

// Follow yields all deliveries and then each that changes.
func (w *WebhookDeliveries) Follow(ctx context.Context) iter.Seq2[webhook.Delivery, error] {
	return func(yield func(webhook.Delivery, error) bool) {
		consumer, err := w.js.OrderedConsumer(ctx, StreamWebhooks, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverAllPolicy, InactiveThreshold: time.Minute,
		})
		if err != nil {
			yield(webhook.Delivery{}, fmt.Errorf("follow deliveries: %w", err))
			return
		}
		messages, err := consumer.Messages(jetstream.PullHeartbeat(followHeartbeat))
		if err != nil {
			yield(webhook.Delivery{}, fmt.Errorf("follow deliveries: %w", err))
			return
		}
		defer messages.Stop()
		for {
			d, err := nextDelivery(ctx, messages)
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// Trim removes the deliveries of an application that changed longest ago until so many are left.
func (w *WebhookDeliveries) Trim(ctx context.Context, app domain.AppID, keep int) (removed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	req, err := json.Marshal(jetstream.StreamPurgeRequest{Subject: deliverySubject(app, "*", "*"), Keep: uint64(keep)})
	if err != nil {
		return 0, err
	}
	// The client's own call does not tell how many there were.
	reply, err := w.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.PURGE."+StreamWebhooks, req)
	if err != nil {
		return 0, fmt.Errorf("remove deliveries of %s: %w", app, err)
	}
	var answer struct {
		Error  *jetstream.APIError `json:"error"`
		Purged int                 `json:"purged"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return 0, fmt.Errorf("remove deliveries of %s: %w", app, err)
	}
	if answer.Error != nil {
		return 0, fmt.Errorf("remove deliveries of %s: %w", app, answer.Error)
	}
	return answer.Purged, nil
}

// Purge removes the deliveries of a webhook.
func (w *WebhookDeliveries) Purge(ctx context.Context, app domain.AppID, hook string) error {
	return purge(ctx, w.js, StreamWebhooks, deliverySubject(app, hook, "*"))
}

// deliveryJSON is the form of a delivery in the stream. A name is never reused with another meaning.
type deliveryJSON struct {
	ID          string           `json:"id"`
	App         domain.AppID     `json:"app"`
	Webhook     string           `json:"webhook"`
	Event       export.EventType `json:"event"`
	Job         string           `json:"job_id,omitempty"`
	Body        []byte           `json:"body"` // as it is signed, to the byte
	Status      webhook.Status   `json:"status"`
	CreatedAt   time.Time        `json:"created_at"`
	Attempts    int              `json:"attempts"`
	Since       time.Time        `json:"since"`
	LastAttempt time.Time        `json:"last_attempt,omitzero"`
	NextAttempt time.Time        `json:"next_attempt,omitzero"`
	Took        time.Duration    `json:"took,omitempty"` // nanoseconds
	StatusCode  int              `json:"status_code,omitempty"`
	Error       string           `json:"error,omitempty"`
}

func deliveryJSONOf(d webhook.Delivery) deliveryJSON {
	return deliveryJSON{
		ID: d.ID, App: d.App, Webhook: d.Webhook, Event: d.Event, Job: d.Job, Body: d.Body, Status: d.Status, CreatedAt: d.CreatedAt,
		Attempts: d.Attempts, Since: d.Since, LastAttempt: d.LastAttempt, NextAttempt: d.NextAttempt, Took: d.Took,
		StatusCode: d.StatusCode, Error: d.Error,
	}
}

func unmarshalDelivery(b []byte, revision uint64) (webhook.Delivery, error) {
	var j deliveryJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return webhook.Delivery{}, fmt.Errorf("read delivery: %w", err)
	}
	return webhook.Delivery{
		ID: j.ID, App: j.App, Webhook: j.Webhook, Event: j.Event, Job: j.Job, Body: j.Body, Status: j.Status, CreatedAt: j.CreatedAt,
		Attempts: j.Attempts, Since: j.Since, LastAttempt: j.LastAttempt, NextAttempt: j.NextAttempt, Took: j.Took,
		StatusCode: j.StatusCode, Error: j.Error, Revision: revision,
	}, nil
}
