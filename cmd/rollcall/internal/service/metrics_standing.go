package service

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rollcall/handlers/messaging"
)

// standingCollector tells how things stand, asked when the figures are read.
type standingCollector struct {
	observer *observer

	ready, log, position, fullest, limit                                 *prometheus.Desc
	messages, bytes, age                                                 *prometheus.Desc
	projectionPosition, lagEvents, lagSeconds, halted, retrying, leading *prometheus.Desc
	exportJobs, exportsRunning, natsClients, natsSlow                    *prometheus.Desc
}

func newStandingCollector(o *observer) *standingCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &standingCollector{
		observer: o,
		ready:    desc("rollcall_ready", "1 when this instance is able to serve, as /readyz tells."),
		log:      desc("rollcall_log_reachable", "1 when the log answers this instance."),
		position: desc("rollcall_log_position", "Position of the last event in the log."),
		fullest:  desc("rollcall_commands_waiting_most", "Commands that wait to be decided, of the application and verb that has the most."),
		limit:    desc("rollcall_commands_waiting_limit", "Commands of one application and verb that may wait; further ones are refused."),

		messages: desc("rollcall_stream_messages", "Messages in a stream.", "stream"),
		bytes:    desc("rollcall_stream_bytes", "Size of a stream.", "stream"),
		age:      desc("rollcall_stream_oldest_age_seconds", "Age of the oldest message in a stream, zero for an empty one.", "stream"),

		projectionPosition: desc("rollcall_projection_position", "Position of the last event that the projection shows.", "projection"),
		lagEvents:          desc("rollcall_projection_lag_events", "Events in the log that the projection does not show.", "projection"),
		lagSeconds:         desc("rollcall_projection_lag_seconds", "Age of the oldest event that the projection does not show.", "projection"),
		halted:             desc("rollcall_projection_halted", "1 while the projection has stopped at an event and does not go on by itself.", "projection"),
		retrying:           desc("rollcall_projection_retrying", "1 while the projection retries what failed.", "projection"),
		leading:            desc("rollcall_projection_leading", "1 while this instance is the one that applies events to the projection.", "projection"),

		exportJobs:     desc("rollcall_export_jobs", "Exports of all instances that are known, by status.", "status", "format"),
		exportsRunning: desc("rollcall_exports_running", "Exports that this instance works on."),
		natsClients:    desc("rollcall_nats_clients", "Connections of NATS clients to this instance."),
		natsSlow:       desc("rollcall_nats_slow_clients_total", "Connections of NATS clients that were cut off since they did not read what they had asked to hear."),
	}
}

// Describe implements prometheus.Collector.
func (c *standingCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.ready, c.log, c.position, c.fullest, c.limit, c.messages, c.bytes, c.age, c.projectionPosition, c.lagEvents, c.lagSeconds,
		c.halted, c.retrying, c.leading, c.exportJobs, c.exportsRunning, c.natsClients, c.natsSlow,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *standingCollector) Collect(out chan<- prometheus.Metric) {
	s := c.observer.standing()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.ready, flag(s.ready == nil))
	gauge(c.log, flag(s.log == nil))
	if s.log == nil {
		gauge(c.position, float64(s.last))
	}
	c.collectStreams(s, gauge)
	c.collectProjections(s, gauge)
	service := c.observer.service
	for kind, n := range service.exports.Counts() {
		gauge(c.exportJobs, float64(n), string(kind.Status), string(kind.Format))
	}
	gauge(c.exportsRunning, float64(service.exports.Running()))
	if service.door != nil {
		gauge(c.natsClients, float64(service.door.Clients()))
		out <- prometheus.MustNewConstMetric(c.natsSlow, prometheus.CounterValue, float64(service.door.SlowClients()))
	}
}

func (c *standingCollector) collectStreams(s standing, gauge func(*prometheus.Desc, float64, ...string)) {
	for name, state := range s.streams {
		var age time.Duration
		if state.Msgs > 0 {
			age = max(time.Since(state.FirstTime), 0)
		}
		gauge(c.messages, float64(state.Msgs), name)
		gauge(c.bytes, float64(state.Bytes), name)
		gauge(c.age, age.Seconds(), name)
	}
	if _, told := s.streams[messaging.StreamCommands]; told {
		gauge(c.fullest, float64(s.fullest))
	}
	gauge(c.limit, float64(c.observer.service.cfg.MaxWaiting))
}

func (c *standingCollector) collectProjections(s standing, gauge func(*prometheus.Desc, float64, ...string)) {
	for i, r := range c.observer.service.runners {
		status := r.Status()
		gauge(c.projectionPosition, float64(status.Position), status.Name)
		gauge(c.lagEvents, float64(s.lags[i].events), status.Name)
		if s.lags[i].known {
			gauge(c.lagSeconds, s.lags[i].age.Seconds(), status.Name)
		}
		gauge(c.halted, flag(status.Halted != nil), status.Name)
		gauge(c.retrying, flag(status.Retrying != nil), status.Name)
		gauge(c.leading, flag(status.Leading), status.Name)
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
