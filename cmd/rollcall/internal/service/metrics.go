package service

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"rollcall/handlers/command"
	"rollcall/projections"
)

// metrics are the figures that the service tells of itself.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	commands *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_http_request_duration_seconds", Help: "Time that HTTP requests took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"route", "status"}),
		commands: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_command_duration_seconds", Help: "Time that commands took, by what became of them.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"verb", "outcome"}),
	}
	m.registry.MustRegister(m.requests, m.commands,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe counts a command.
func (m *metrics) observe(_ context.Context, o command.Observation) {
	m.commands.WithLabelValues(o.Verb, o.Outcome).Observe(o.Took.Seconds())
}

// handler serves the figures.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// around times the requests of a handler. The route is the pattern that the handler's mux found,
// never the path, so that nobody can make up new ones.
func (m *metrics) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		rec := &statusRecorder{ResponseWriter: w}
		defer func() {
			route := r.Pattern
			if route == "" {
				route = "none"
			}
			m.requests.WithLabelValues(route, strconv.Itoa(rec.code())).Observe(time.Since(started).Seconds())
		}()
		next.ServeHTTP(rec, r)
	})
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// WriteHeader remembers the first final status.
func (r *statusRecorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController access to the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// projectionCollector tells how far projections are, asked when the figures are read.
type projectionCollector struct {
	runners []*projections.Runner
}

var (
	positionDesc = prometheus.NewDesc("rollcall_projection_position", "Position of the last event that the projection shows.", []string{"projection"}, nil)
	lagDesc      = prometheus.NewDesc("rollcall_projection_lag", "Events that are known to wait for the projection.", []string{"projection"}, nil)
	haltedDesc   = prometheus.NewDesc("rollcall_projection_halted", "1 when the projection has stopped for good.", []string{"projection"}, nil)
	retryingDesc = prometheus.NewDesc("rollcall_projection_retrying", "1 while the projection retries what failed.", []string{"projection"}, nil)
)

// Describe implements prometheus.Collector.
func (c projectionCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{positionDesc, lagDesc, haltedDesc, retryingDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c projectionCollector) Collect(out chan<- prometheus.Metric) {
	for _, r := range c.runners {
		s := r.Status()
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.Name)
		}
		gauge(positionDesc, float64(s.Position))
		gauge(lagDesc, float64(s.Lag()))
		gauge(haltedDesc, flag(s.Halted != nil))
		gauge(retryingDesc, flag(s.Retrying != nil))
	}
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
