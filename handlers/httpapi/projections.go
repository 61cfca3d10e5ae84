package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/handlers/access"
)

// Projection tells how far a read model, or what else follows the log, has come.
type Projection struct {
	Name     string  `json:"name"`
	Position uint64  `json:"position" doc:"Position of the last event that it shows"`
	Last     uint64  `json:"last" doc:"Position of the latest event that it knows of"`
	Halted   string  `json:"halted,omitempty" doc:"Why it has stopped, and at which position; absent while it has not"`
	Retrying string  `json:"retrying,omitempty" doc:"The trouble that is being retried; absent when all is well"`
	Leading  bool    `json:"leading,omitempty" doc:"Whether this instance is the one that applies events, where instances share it"`
	Behind   float64 `json:"behind_seconds" doc:"How long the oldest event has waited that it does not show, zero when it shows all"`
}

// Lists builds account lists beside the live one. Errors are *domain.Rejection where the caller is to blame.
type Lists interface {
	// Rebuild orders a new list, or has one that is not live brought up to date. It becomes live when it says what the live one says,
	// or with force at once, whatever the live one says.
	Rebuild(ctx context.Context, number int64, force bool) (int64, error)
	Lists(ctx context.Context) ([]BuiltList, error)
	Drop(ctx context.Context, number int64) error
}

// BuiltList is one account list among those that the database holds.
type BuiltList struct {
	Number     int64     `json:"number"`
	Version    int       `json:"version" doc:"Of what it holds; an instance reads those of its own"`
	State      string    `json:"state" enum:"building,live,retired,refused"`
	Note       string    `json:"note,omitempty" doc:"Why it is refused"`
	Position   uint64    `json:"position" doc:"Position of the last event that it shows"`
	Last       uint64    `json:"last" doc:"Position of the latest event of the log"`
	CreatedAt  time.Time `json:"created_at"`
	PromotedAt time.Time `json:"promoted_at,omitzero" doc:"When it became live the last time"`
}

// BuiltLists is all of them, the oldest first.
type BuiltLists struct {
	Lists []BuiltList `json:"lists" nullable:"false"`
}

type builtListsOutput struct{ Body BuiltLists }

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
	h.registerLists()
}

func (h *Handler) registerLists() {
	if h.Lists == nil {
		return
	}
	who, tags := rule{action: access.Operate, scope: inInstance}, []string{"Service"}
	const path = "/v1/projections/account_list/lists"
	register(h, who, huma.Operation{
		OperationID: "list-lists", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Show the account lists that the database holds",
	}, nil, func(ctx context.Context, _ *UnusedReadParams) (*builtListsOutput, error) { return h.builtLists(ctx) })
	register(h, who, huma.Operation{
		OperationID: "rebuild-list", Method: http.MethodPost, Path: path, Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Build a list anew beside the live one",
		Description: "It is built from the log, compared with the live one, and takes its place when both say the same; the old one is kept. The service serves all the while. " +
			"A service that keeps its list in SQLite has one list, and refuses with lists_unsupported.",
	}, nil, func(ctx context.Context, _ *struct{}) (*builtListsOutput, error) { return h.rebuild(ctx, 0, false) })
	register(h, who, huma.Operation{
		OperationID: "promote-list", Method: http.MethodPost, Path: path + "/{number}/promote", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary:     "Have a list take the place of the live one",
		Description: "One that was live before, to go back. It is brought up to date and compared first.",
	}, nil, h.promoteList)
	register(h, who, huma.Operation{
		OperationID: "drop-list", Method: http.MethodDelete, Path: path + "/{number}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Remove a list that is not live",
	}, nil, func(ctx context.Context, in *ListParam) (*struct{}, error) { return nil, h.Lists.Drop(ctx, in.Number) })
}

// ListParam names the list that a path is about.
type ListParam struct {
	Number int64 `path:"number" minimum:"1" doc:"The list"`
}

func (h *Handler) promoteList(ctx context.Context, in *struct {
	ListParam
	Force bool `query:"force" doc:"At once, as it is, without a comparison: for a live list that is damaged or wrong. What it lacks is applied then"`
}) (*builtListsOutput, error) {
	return h.rebuild(ctx, in.Number, in.Force)
}

func (h *Handler) builtLists(ctx context.Context) (*builtListsOutput, error) {
	lists, err := h.Lists.Lists(ctx)
	if err != nil {
		return nil, err
	}
	return &builtListsOutput{BuiltLists{Lists: lists}}, nil
}

// rebuild orders a list and shows all.
func (h *Handler) rebuild(ctx context.Context, number int64, force bool) (*builtListsOutput, error) {
	if _, err := h.Lists.Rebuild(ctx, number, force); err != nil {
		return nil, err
	}
	return h.builtLists(ctx)
}
