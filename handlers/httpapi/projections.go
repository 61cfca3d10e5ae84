package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/handlers/access"
)

// Projection tells how far a read model, or what else follows the log, has come.
type Projection struct {
	Name     string `json:"name"`
	Position uint64 `json:"position" doc:"Position of the last event that it shows"`
	Last     uint64 `json:"last" doc:"Position of the latest event that it knows of"`
	Halted   string `json:"halted,omitempty" doc:"Why it has stopped for good; absent while it has not"`
	Retrying string `json:"retrying,omitempty" doc:"The trouble that is being retried; absent when all is well"`
}

// ProjectionList is all projections of the instance.
type ProjectionList struct {
	Projections []Projection `json:"projections" nullable:"false"`
}

type projectionListOutput struct{ Body ProjectionList }

func (h *Handler) registerProjections() {
	if h.Projections == nil {
		return
	}
	register(h, rule{action: access.Operate, scope: inInstance}, huma.Operation{
		OperationID: "list-projections", Method: http.MethodGet, Path: "/v1/projections", Tags: []string{"Service"},
		Summary: "Show how far each projection has come",
	}, nil, func(context.Context, *UnusedReadParams) (*projectionListOutput, error) {
		return &projectionListOutput{ProjectionList{Projections: h.Projections()}}, nil
	})
}
