package httpapi

import (
	"context"

	"rollcall/domain"
	"rollcall/handlers/command"
	"rollcall/handlers/wire"
)

// Deletion is what became of one account of a batch.
type Deletion struct {
	UserID   domain.UserID `json:"user_id"`
	Status   string        `json:"status" enum:"deleted,failed"`
	Position uint64        `json:"position,omitempty" doc:"Position of the deletion"`
	Code     domain.Code   `json:"code,omitempty" doc:"Why it failed, as in a problem"`
	Detail   string        `json:"detail,omitempty"`
}

// Deletions is what became of a batch, in the order in which it was given.
type Deletions struct {
	Results []Deletion `json:"results" nullable:"false"`
}

type deletionsOutput struct {
	Position uint64 `header:"Rollcall-Position" doc:"The highest position of the batch"`
	Body     Deletions
}

func (h *Handler) deleteAccounts(ctx context.Context, in *struct {
	AppParam
	WriteParams
}) (*deletionsOutput, error) {
	c := callOf(ctx)
	req, err := c.order(command.MaxCommandIDBytes)
	if err != nil {
		return nil, err
	}
	b, err := c.readBody(maxCommandBody)
	if err != nil {
		return nil, err
	}
	ids, err := wire.DecodeUserIDs(b)
	if err != nil {
		return nil, err
	}
	if err := c.checkApp(ctx, in.App); err != nil {
		return nil, err
	}
	results, err := h.Commands.DeleteAccounts(ctx, req, in.App, ids)
	if err != nil {
		return nil, err
	}
	out := &deletionsOutput{Body: Deletions{Results: make([]Deletion, len(results))}}
	for i, r := range results {
		out.Position = max(out.Position, r.Position)
		d := Deletion{UserID: r.UserID, Status: "deleted", Position: r.Position}
		if r.Err != nil {
			p := h.problemOf(ctx, r.Err)
			d = Deletion{UserID: r.UserID, Status: "failed", Code: p.Code, Detail: p.Detail}
		}
		out.Body.Results[i] = d
	}
	h.Queries.Wrote(out.Position)
	return out, nil
}
