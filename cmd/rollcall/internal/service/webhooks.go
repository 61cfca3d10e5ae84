package service

import (
	"context"

	"rollcall/handlers/messaging"
	"rollcall/handlers/webhook"
)

// openWebhooks opens what webhooks and their deliveries are kept in.
func (s *Service) openWebhooks(ctx context.Context) error {
	registry, err := patiently(ctx, func(ctx context.Context) (*messaging.Webhooks, error) {
		return messaging.OpenWebhooks(ctx, s.js, s.cfg.Replicas)
	})
	if err != nil {
		return err
	}
	deliveries, err := patiently(ctx, func(ctx context.Context) (*messaging.WebhookDeliveries, error) {
		return messaging.OpenWebhookDeliveries(ctx, s.js, s.cfg.Replicas)
	})
	if err != nil {
		return err
	}
	key, others, err := s.masters.derive("rollcall webhook secrets", webhook.KeyBytes)
	if err != nil {
		return err
	}
	s.webhooks, err = webhook.New(webhook.Config{
		Registry: registry, Deliveries: deliveries, Events: s.queue, Checkpoints: s.state, Key: key, OtherKeys: others,
		AllowPrivate: s.cfg.WebhooksAllowPrivate, Agent: "Rollcall/" + s.cfg.Version, Logger: s.logger, Observe: s.metrics.webhook,
	})
	return err
}
