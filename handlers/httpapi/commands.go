package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/intake"
	"rollcall/handlers/wire"
)

// Intake knows what became of commands that came as messages, see intake.Service.
type Intake interface {
	Outcome(ctx context.Context, app domain.AppID, commandID string) (intake.Outcome, error)
	DeadLetters(ctx context.Context, by access.Principal, app domain.AppID, after uint64, limit int) ([]intake.DeadLetter, error)
	Retry(ctx context.Context, by access.Principal, id uint64) error
	Drop(ctx context.Context, by access.Principal, id uint64) error
}

// DeadCommand is a message that was to be a command and could not be understood.
type DeadCommand struct {
	ID         string       `json:"id"`
	App        domain.AppID `json:"app,omitempty" doc:"Absent when it names none"`
	Verb       string       `json:"verb,omitempty" doc:"As it was sent"`
	CommandID  string       `json:"command_id,omitempty"`
	Sender     string       `json:"sender,omitempty" doc:"Id of the token that it was sent with"`
	Code       domain.Code  `json:"code" doc:"Why it could not be understood"`
	Reason     string       `json:"reason" doc:"The same for people"`
	Time       time.Time    `json:"time"`
	Body       string       `json:"body,omitempty" doc:"Its body, where that is UTF-8"`
	BodyBase64 []byte       `json:"body_base64,omitempty" doc:"Its body, where that is not UTF-8"`
}

func deadCommandOf(d intake.DeadLetter) DeadCommand {
	c := DeadCommand{
		ID: strconv.FormatUint(d.ID, 10), App: d.App, Verb: d.Verb, CommandID: d.CommandID, Sender: d.Sender,
		Code: d.Code, Reason: d.Reason, Time: d.Time.UTC(),
	}
	if utf8.Valid(d.Data) {
		c.Body = string(d.Data)
	} else {
		c.BodyBase64 = d.Data
	}
	return c
}

// DeadCommandList is one page of dead commands, the oldest first.
type DeadCommandList struct {
	Commands   []DeadCommand `json:"commands" nullable:"false"`
	NextCursor string        `json:"next_cursor,omitempty" doc:"Cursor of the next page, absent at the end"`
}

// Bounds of a page of dead commands.
const (
	defaultDeadLimit = 50
	maxDeadLimit     = 200
)

type deadCommandListOutput struct{ Body DeadCommandList }

type outcomeOutput struct {
	Position uint64 `header:"Rollcall-Position" doc:"Position from which on reads show the command's effect"`
	Body     wire.Outcome
}

func (h *Handler) registerCommands() {
	if h.Intake == nil {
		return
	}
	tags := []string{"Commands"}
	register(h, rule{action: access.ReadOutcomes, scope: inApp}, huma.Operation{
		OperationID: "get-outcome", Method: http.MethodGet, Path: "/v1/apps/{app}/commands/{command_id}", Tags: tags,
		Summary: "Show what became of a command that was sent as a message", Description: "Kept for a day. 404 outcome_not_found until it is decided.",
	}, nil, h.getOutcome)
	who := rule{action: access.ManageDead, scope: inOwnApp}
	const collection = "/v1/commands/dead"
	register(h, who, huma.Operation{
		OperationID: "list-dead-commands", Method: http.MethodGet, Path: collection, Tags: tags,
		Summary: "List messages that could not be understood as commands, the oldest first",
	}, nil, h.listDead)
	register(h, who, huma.Operation{
		OperationID: "retry-dead-command", Method: http.MethodPost, Path: collection + "/{id}/retry", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Have a dead command decided again, as it was sent",
	}, nil, h.retryDead)
	register(h, who, huma.Operation{
		OperationID: "drop-dead-command", Method: http.MethodDelete, Path: collection + "/{id}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Drop a dead command for good", Description: "Its outcome becomes rejected, with the code dropped.",
	}, nil, h.dropDead)
}

func (h *Handler) getOutcome(ctx context.Context, in *struct {
	AppParam
	UnusedReadParams
	CommandID string `path:"command_id" doc:"The id that it was sent under, percent-encoded where it has / ? # or %"`
}) (*outcomeOutput, error) {
	o, err := h.Intake.Outcome(ctx, in.App, pathValue(in.CommandID))
	if err != nil {
		return nil, err
	}
	return &outcomeOutput{Position: o.Position, Body: wire.OutcomeOf(o)}, nil
}

func (h *Handler) listDead(ctx context.Context, in *struct {
	UnusedReadParams
	App    domain.AppID `query:"app" doc:"Only those of this application, the one of the token when that is bound to one"`
	Limit  int          `query:"limit" minimum:"1" maximum:"200" doc:"At most so many, 50 when left out"`
	Cursor string       `query:"cursor" doc:"next_cursor of the page before"`
}) (*deadCommandListOutput, error) {
	if in.App != "" && !in.App.Valid() {
		return nil, wire.Invalid("the query", "app", domain.CodeBadValue, "is no application's name")
	}
	limit := in.Limit
	if limit == 0 {
		limit = defaultDeadLimit
	}
	var after uint64
	if in.Cursor != "" {
		var err error
		if after, err = strconv.ParseUint(in.Cursor, 10, 64); err != nil {
			return nil, wire.Refuse(wire.CodeInvalidCursor, "the cursor is none that this list gave; begin without one")
		}
	}
	letters, err := h.Intake.DeadLetters(ctx, callOf(ctx).principal, in.App, after, min(limit, maxDeadLimit))
	if err != nil {
		return nil, err
	}
	out := DeadCommandList{Commands: make([]DeadCommand, len(letters))}
	for i, d := range letters {
		out.Commands[i] = deadCommandOf(d)
	}
	if len(letters) == limit {
		out.NextCursor = out.Commands[limit-1].ID
	}
	return &deadCommandListOutput{out}, nil
}

// DeadParam names the dead command that a path is about.
type DeadParam struct {
	ID string `path:"id" doc:"The dead command"`
}

func (p DeadParam) number() (uint64, error) {
	n, err := strconv.ParseUint(p.ID, 10, 64)
	if err != nil {
		return 0, wire.Refuse(intake.CodeNoDeadLetter, "there is no dead command %s; the list of them shows the ids", wire.Quoted(pathValue(p.ID)))
	}
	return n, nil
}

func (h *Handler) retryDead(ctx context.Context, in *DeadParam) (*struct{}, error) {
	id, err := in.number()
	if err != nil {
		return nil, err
	}
	return nil, h.Intake.Retry(ctx, callOf(ctx).principal, id)
}

func (h *Handler) dropDead(ctx context.Context, in *DeadParam) (*struct{}, error) {
	id, err := in.number()
	if err != nil {
		return nil, err
	}
	return nil, h.Intake.Drop(ctx, callOf(ctx).principal, id)
}
