package service

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the figures that the service tells of itself. What happens is counted where it happens; how things stand is asked when the
// figures are read, by standing. No label has more values than the program does, whatever its users do: none is an application or an account.
// deployments/metrics.md says what each means.
type metrics struct {
	registry *prometheus.Registry

	// metrics_http.go
	requests *prometheus.HistogramVec
	inFlight prometheus.Gauge

	// metrics_commands.go
	commandTook  *prometheus.HistogramVec
	commands     *prometheus.CounterVec
	appendTook   *prometheus.HistogramVec
	commitEvents prometheus.Histogram
	ingress      *prometheus.CounterVec
	natsRequests *prometheus.HistogramVec
	messageTook  prometheus.Histogram
	retries      prometheus.Counter
	buried       *prometheus.CounterVec

	// metrics_reads.go
	batchEvents *prometheus.HistogramVec
	applyTook   *prometheus.HistogramVec
	applyFailed *prometheus.CounterVec
	exportTook  *prometheus.HistogramVec
	exportRows  *prometheus.CounterVec
	exportBytes *prometheus.CounterVec
	erased      prometheus.Counter
	leases      *prometheus.GaugeVec

	webhookTook *prometheus.HistogramVec // metrics_webhooks.go
}

func newMetrics(version string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "rollcall_build_info", Help: "1, with the version of the program and of the Go that built it."}, []string{"version", "go_version"})
	m.registry.MustRegister(build)
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.requests = m.histogram("rollcall_http_request_duration_seconds", "Time that HTTP requests took.", latencies(), "route", "status")
	m.inFlight = prometheus.NewGauge(prometheus.GaugeOpts{Name: "rollcall_http_requests_in_flight", Help: "HTTP requests that are being answered."})
	m.registry.MustRegister(m.inFlight)
	m.registerCommands()
	m.registerReads()
	m.registerWebhooks()
	return m
}

// latencies are the buckets of what takes from half a millisecond to 16 seconds.
func latencies() []float64 { return prometheus.ExponentialBuckets(0.0005, 2, 16) }

func (m *metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

// handler serves the figures.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
