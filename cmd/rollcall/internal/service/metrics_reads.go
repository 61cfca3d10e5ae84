package service

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"rollcall/handlers/export"
	"rollcall/projections"
)

func (m *metrics) registerReads() {
	const most = 8 // buckets, up to 16,384
	m.batchEvents = m.histogram("rollcall_projection_batch_events", "Events that a projection applied in one transaction.", prometheus.ExponentialBuckets(1, 4, most), "projection")
	m.applyTook = m.histogram("rollcall_projection_apply_duration_seconds", "Time that a projection took to apply a batch.", latencies(), "projection")
	m.applyFailed = m.counter("rollcall_projection_apply_failures_total", "Batches that a projection could not apply.", "projection")
	m.exportTook = m.histogram("rollcall_export_attempt_duration_seconds", "Time that attempts at exports took on this instance, by what became of them.", prometheus.ExponentialBuckets(0.01, 4, 10), "format", "outcome")
	m.exportRows = m.counter("rollcall_export_rows_total", "Rows of the exports that this instance has completed.", "format")
	m.exportBytes = m.counter("rollcall_export_bytes_total", "Bytes of the exports that this instance has completed.", "format")
	m.erased = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "rollcall_erased_accounts_total", Help: "Deleted accounts whose keys this instance has destroyed; after an interruption some are counted again.",
	})
	m.leases = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "rollcall_lease_held", Help: "1 while this instance is the one that does what only one may.",
	}, []string{"lease"})
	m.registry.MustRegister(m.erased, m.leases)
	for _, format := range export.Formats() {
		for _, outcome := range []export.AttemptOutcome{export.AttemptCompleted, export.AttemptFailed} {
			m.exportTook.WithLabelValues(string(format), string(outcome))
		}
		m.exportRows.WithLabelValues(string(format))
		m.exportBytes.WithLabelValues(string(format))
	}
}

// expectProjection makes the figures of a projection be there before it applies anything.
func (m *metrics) expectProjection(name string) {
	m.batchEvents.WithLabelValues(name)
	m.applyTook.WithLabelValues(name)
	m.applyFailed.WithLabelValues(name)
}

// applied counts a batch of a projection.
func (m *metrics) applied(b projections.Batch) {
	if b.Err != nil {
		m.applyFailed.WithLabelValues(b.Projection).Inc()
		return
	}
	m.batchEvents.WithLabelValues(b.Projection).Observe(float64(len(b.Events)))
	m.applyTook.WithLabelValues(b.Projection).Observe(b.Took.Seconds())
}

// attempted counts an attempt at an export.
func (m *metrics) attempted(a export.Attempt) {
	m.exportTook.WithLabelValues(string(a.Format), string(a.Outcome)).Observe(a.Took.Seconds())
	if a.Outcome == export.AttemptCompleted {
		m.exportRows.WithLabelValues(string(a.Format)).Add(float64(a.Rows))
		m.exportBytes.WithLabelValues(string(a.Format)).Add(float64(a.Bytes))
	}
}

// erase counts accounts once they are recorded as erased.
func (m *metrics) erase(accounts int) { m.erased.Add(float64(accounts)) }

// lead tells that this instance holds a lease while a part runs.
func (m *metrics) lead(lease string, part func(context.Context) error) func(context.Context) error {
	held := m.leases.WithLabelValues(lease)
	return func(ctx context.Context) error {
		held.Set(1)
		defer held.Set(0)
		return part(ctx)
	}
}
