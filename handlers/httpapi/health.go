package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/handlers/access"
	"rollcall/handlers/wire"
)

// Health tells whether the service is alive or able to serve.
type Health struct {
	Status   string   `json:"status" enum:"ok"`
	Warnings []string `json:"warnings,omitempty" doc:"What is not as it should be in production, though the service can serve"`

	Halted []HaltedProjection `json:"halted,omitempty" doc:"What follows the log no more, while everything else goes on"`
}

// HaltedProjection is a projection that has met an event that it cannot apply.
type HaltedProjection struct {
	Projection string `json:"projection"`
	Position   uint64 `json:"position" doc:"Position of the event that it cannot apply; it shows those before"`
	Reason     string `json:"reason"`
}

type healthOutput struct{ Body Health }

func (h *Handler) registerHealth() {
	tags := []string{"Service"}
	register(h, rule{scope: public}, huma.Operation{
		OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: tags,
		Summary: "Alive", Description: "Answers as long as the process does.",
	}, nil, func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{Health{Status: "ok"}}, nil
	})
	register(h, rule{scope: public}, huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: tags,
		Summary: "Able to serve",
		Description: "503 with the reason when not. A projection that has halted does not change that: it is told of in halted. Commands go on and reads show " +
			"what it has applied; those that ask for a later min_position are answered by 503 not_caught_up.",
	}, nil, h.ready)
	if h.Metrics == nil {
		return
	}
	who := rule{action: access.Operate, scope: inInstance}
	if h.OpenMetrics {
		who = rule{scope: public}
	}
	h.mux.Handle("GET /metrics", h.guard(who, h.Metrics))
}

func (h *Handler) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	if h.draining.Err() != nil {
		return nil, wire.Refuse(wire.CodeStopping, "the service is stopping")
	}
	if h.Ready != nil {
		if err := h.Ready(ctx); err != nil {
			return nil, wire.Refuse(wire.CodeUnavailable, "%s", err)
		}
	}
	health := Health{Status: "ok", Warnings: h.Warnings}
	if h.Halted != nil {
		health.Halted = h.Halted()
	}
	return &healthOutput{health}, nil
}
