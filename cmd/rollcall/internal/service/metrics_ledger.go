package service

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rollcall/eventstore/ledger"
)

// ledgerCollector tells how far the log is signed, asked when the figures are read.
type ledgerCollector struct {
	service *Service
	signed  *prometheus.Desc
	behind  *prometheus.Desc
}

func newLedgerCollector(s *Service) *ledgerCollector {
	return &ledgerCollector{
		service: s,
		signed:  prometheus.NewDesc("rollcall_ledger_checkpoint_position", "Position of the last event that the latest checkpoint of the ledger covers.", nil, nil),
		behind:  prometheus.NewDesc("rollcall_ledger_unsigned_seconds", "Age of the oldest event that no checkpoint of the ledger covers, zero when there is none.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *ledgerCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.signed
	out <- c.behind
}

// Collect implements prometheus.Collector. What does not answer is left out.
func (c *ledgerCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(c.service.followed.ctx, standingTimeout)
	defer cancel()
	_, checkpoint, err := c.service.ledger.Latest(ctx)
	if err != nil && !errors.Is(err, ledger.ErrCheckpoint) { // without one nothing is covered
		return
	}
	out <- prometheus.MustNewConstMetric(c.signed, prometheus.GaugeValue, float64(checkpoint.Size))
	last, err := c.service.store.Last(ctx)
	if err != nil {
		return
	}
	age := time.Duration(0)
	if last > checkpoint.Position() {
		recorded, err := c.service.store.Recorded(ctx, checkpoint.Position()+1)
		if err != nil {
			return
		}
		age = max(time.Since(recorded), 0)
	}
	out <- prometheus.MustNewConstMetric(c.behind, prometheus.GaugeValue, age.Seconds())
}
