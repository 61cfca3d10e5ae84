package wire

import (
	"time"

	"rollcall/domain"
	"rollcall/handlers/intake"
)

// Outcome is what became of a command, as JSON.
type Outcome struct {
	CommandID string        `json:"command_id"`
	App       domain.AppID  `json:"app"`
	Verb      intake.Verb   `json:"verb" enum:"create,edit,delete,export"`
	UserID    domain.UserID `json:"user_id,omitempty" doc:"The account that the command is about; absent for a batch and an export"`
	Status    intake.Status `json:"status" enum:"accepted,rejected,dead" doc:"dead: it could not be understood and waits for a person; the others are final"`
	Time      time.Time     `json:"time"`
	Actor     string        `json:"actor,omitempty"`

	Position uint64        `json:"position,omitempty" doc:"From which on reads show its effect; the highest one of a batch"`
	Revision uint64        `json:"revision,omitempty" doc:"Revision that the account is at"`
	Changed  bool          `json:"changed,omitempty" doc:"Whether anything was written"`
	ExportID string        `json:"export_id,omitempty" doc:"The export that was ordered"`
	Results  []OutcomeItem `json:"results,omitempty" doc:"What became of each account of a batch, in its order"`

	Code   domain.Code  `json:"code,omitempty" doc:"Why it was not accepted, as in a problem"`
	Detail string       `json:"detail,omitempty" doc:"The same for people"`
	Errors []FieldError `json:"errors,omitempty" doc:"The fields that cannot be accepted"`
}

// OutcomeItem is what became of one account of a batch.
type OutcomeItem struct {
	UserID   domain.UserID `json:"user_id"`
	Status   string        `json:"status" enum:"deleted,failed"`
	Position uint64        `json:"position,omitempty" doc:"Position of the deletion"`
	Code     domain.Code   `json:"code,omitempty" doc:"Why it failed, as in a problem"`
	Detail   string        `json:"detail,omitempty"`
}

// OutcomeOf returns the JSON form of an outcome.
func OutcomeOf(o intake.Outcome) Outcome {
	w := Outcome{
		CommandID: o.CommandID, App: o.App, Verb: o.Verb, UserID: o.UserID, Status: o.Status, Time: o.Time.UTC(), Actor: o.Actor,
		Position: o.Position, Revision: o.Revision, Changed: o.Changed, ExportID: o.ExportID, Code: o.Code, Detail: o.Detail,
	}
	for _, i := range o.Items {
		item := OutcomeItem{UserID: i.UserID, Status: "deleted", Position: i.Position, Code: i.Code, Detail: i.Detail}
		if i.Code != "" {
			item.Status = "failed"
		}
		w.Results = append(w.Results, item)
	}
	for _, f := range o.Fields {
		w.Errors = append(w.Errors, FieldError(f))
	}
	return w
}

// Outcome returns the outcome, without what only the event around it has.
func (w Outcome) Outcome() intake.Outcome {
	o := intake.Outcome{
		CommandID: w.CommandID, App: w.App, Verb: w.Verb, UserID: w.UserID, Status: w.Status, Time: w.Time, Actor: w.Actor,
		Position: w.Position, Revision: w.Revision, Changed: w.Changed, ExportID: w.ExportID, Code: w.Code, Detail: w.Detail,
	}
	for _, i := range w.Results {
		o.Items = append(o.Items, intake.Item{UserID: i.UserID, Position: i.Position, Code: i.Code, Detail: i.Detail})
	}
	for _, f := range w.Errors {
		o.Fields = append(o.Fields, domain.FieldError(f))
	}
	return o
}
