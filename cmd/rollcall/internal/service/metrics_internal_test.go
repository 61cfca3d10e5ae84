package service

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/handlers/command"
)

// instant is a log that appends at once.
type instant struct{ eventstore.Store }

func (instant) Append(context.Context, ...eventstore.Proposal) ([]eventstore.Position, error) {
	return nil, nil
}

// BenchmarkWatching measures what a command over HTTP pays for being watched, with tracing off.
func BenchmarkWatching(b *testing.B) {
	m := newMetrics("bench")
	store := m.store(Config{}.Tracing.Store(instant{}))
	observation := command.Observation{Verb: "create", Outcome: command.OutcomeAccepted, Took: time.Millisecond}
	handler := m.around(Config{}.Tracing.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := store.Append(r.Context()); err != nil {
			b.Error(err)
		}
		m.committed(jetstream.Commit{Appends: 1, Events: 1})
		m.command(r.Context(), observation)
	}), statusOf))
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(through(b.Context(), doorHTTP), http.MethodPost, "/", nil)
	r.Pattern = "POST /v1/apps/{app}/accounts"
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(w, r)
	}
}
