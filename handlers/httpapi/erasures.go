package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/wire"
)

// Erasures tells which deleted accounts are erased, see audit.Erasures.
type Erasures interface {
	List(ctx context.Context, app domain.AppID, after audit.ErasurePlace, limit int) (audit.ErasurePage, error)
}

// Erasure is a deleted account and what became of its data.
type Erasure struct {
	UserID    string    `json:"user_id"`
	State     string    `json:"state" enum:"erased,pending" doc:"erased: its key is destroyed and copies outside of the log are removed"`
	Deletion  uint64    `json:"deletion" doc:"Position of the deletion"`
	DeletedAt time.Time `json:"deleted_at" doc:"By the log's clock, as erased_at is"`
	Position  uint64    `json:"position,omitempty" doc:"Position of the event account.erased, absent while it is pending"`
	ErasedAt  time.Time `json:"erased_at,omitzero"`
	Remains   []string  `json:"remains,omitempty" doc:"Places that may still hold something of it; see places"`
}

// ErasurePlace is how far one place where personal data is kept has come with erasing it.
type ErasurePlace struct {
	Place   string `json:"place" doc:"keys: those of the accounts, without which the log holds nothing; copies: files of exports and dead letters; commands: the bodies of commands that were decided; list: the account list"`
	Through uint64 `json:"through" doc:"Nothing of an account that was deleted at or before this position is left there"`
	Waits   string `json:"waits,omitempty" doc:"What it waits for"`
}

// ErasureList is one page of erasures: those that are done, then those that are pending.
type ErasureList struct {
	Erasures   []Erasure      `json:"erasures" nullable:"false"`
	Places     []ErasurePlace `json:"places" nullable:"false"`
	NextCursor string         `json:"next_cursor,omitempty" doc:"Cursor of the next page, absent at the end"`
	Position   uint64         `json:"position" doc:"Position of the log that the page shows"`
}

type erasuresOutput struct{ Body ErasureList }

func (h *Handler) registerErasures() {
	if h.Erasures == nil || h.Audit == nil {
		return
	}
	register(h, rule{action: access.Audit, scope: inApp}, huma.Operation{
		OperationID: "list-erasures", Method: http.MethodGet, Path: "/v1/apps/{app}/erasures", Tags: []string{"Audit"},
		Summary: "List which deleted accounts are erased, and which are not yet",
		Description: "Those that are done in the order in which they were recorded, then those that are pending in that of their deletions. " +
			"What is erased between two pages is on one of them.",
	}, nil, h.listErasures)
}

// erasureCursor writes a place in the list: the two positions, the second one where it is not zero.
func erasureCursor(at audit.ErasurePlace) string {
	text := strconv.FormatUint(uint64(at.Done), 10)
	if at.Pending > 0 {
		text += "-" + strconv.FormatUint(uint64(at.Pending), 10)
	}
	return text
}

// erasurePlace reads what erasureCursor wrote.
func erasurePlace(cursor string) (audit.ErasurePlace, error) {
	done, pending, two := strings.Cut(cursor, "-")
	d, err := strconv.ParseUint(done, 10, 63)
	p := uint64(0)
	if err == nil && two {
		p, err = strconv.ParseUint(pending, 10, 63)
	}
	if err != nil {
		return audit.ErasurePlace{}, wire.Refuse(wire.CodeInvalidCursor, "the cursor is none that this list gave; begin without one")
	}
	return audit.ErasurePlace{Done: eventstore.Position(d), Pending: eventstore.Position(p)}, nil
}

func (h *Handler) listErasures(ctx context.Context, in *struct {
	AppParam
	ReadParams
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Erasures on a page"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before"`
}) (*erasuresOutput, error) {
	var after audit.ErasurePlace
	if in.Cursor != "" {
		var err error
		if after, err = erasurePlace(in.Cursor); err != nil {
			return nil, err
		}
	}
	if err := h.Audit.Reach(ctx, eventstore.Position(in.MinPosition)); err != nil {
		return nil, err
	}
	page, err := h.Erasures.List(ctx, in.App, after, in.Limit)
	if err != nil {
		return nil, err
	}
	out := ErasureList{Erasures: make([]Erasure, len(page.Erasures)), Places: make([]ErasurePlace, len(page.Standings)), Position: uint64(page.Last)}
	for i, e := range page.Erasures {
		out.Erasures[i] = Erasure{
			UserID: string(e.UserID), State: "erased", Deletion: uint64(e.Deletion), DeletedAt: e.DeletedAt.UTC(), Position: uint64(e.Position),
			ErasedAt: e.ErasedAt, Remains: e.Remains,
		}
		if e.Position == 0 {
			out.Erasures[i].State = "pending"
		}
	}
	for i, s := range page.Standings {
		out.Places[i] = ErasurePlace{Place: s.Place, Through: uint64(s.Through), Waits: s.Waits}
	}
	if page.More {
		out.NextCursor = erasureCursor(page.Next)
	}
	return &erasuresOutput{out}, nil
}
