package service

import (
	"time"

	"rollcall/handlers/webhook"
)

func (m *metrics) registerWebhooks() {
	m.webhookTook = m.histogram("rollcall_webhook_attempt_duration_seconds", "Time that attempts at deliveries to webhooks took on this instance, by what became of them.", latencies(), "outcome")
	for _, outcome := range []webhook.Status{webhook.Delivered, webhook.Pending, webhook.Failed} {
		m.webhookTook.WithLabelValues(string(outcome))
	}
}

// webhook notes an attempt at a delivery.
func (m *metrics) webhook(outcome webhook.Status, took time.Duration) {
	m.webhookTook.WithLabelValues(string(outcome)).Observe(took.Seconds())
}
