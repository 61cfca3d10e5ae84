package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/domain"
)

// Verb is what a command asks for.
type Verb string

// The verbs of commands.
const (
	Create Verb = "create"
	Edit   Verb = "edit"
	Delete Verb = "delete" // of one account, or of a batch
	Export Verb = "export"
)

// Verbs returns all verbs.
func Verbs() []Verb { return []Verb{Create, Edit, Delete, Export} }

// Status tells what became of a command.
type Status string

// The statuses of an outcome. Accepted and rejected are final.
const (
	Accepted Status = "accepted"
	Rejected Status = "rejected"
	// Dead: it could not be understood and waits for a person, who has it tried again, which may lead to a
	// final outcome, or drops it, which rejects it.
	Dead Status = "dead"
)

// Final tells whether the outcome never changes.
func (s Status) Final() bool { return s == Accepted || s == Rejected }

// Outcome is what became of a command. It holds no personal data.
type Outcome struct {
	App       domain.AppID
	CommandID string
	Verb      Verb
	// UserID is the account that the command is about, empty for a batch and an export.
	UserID domain.UserID
	Status Status
	Time   time.Time

	// Of an accepted command.
	Position uint64 // from which on reads show its effect; the highest one of a batch
	Revision uint64 // that the account is at, zero for a batch and an export
	Changed  bool   // whether anything was written
	ExportID string // the job that an export ordered
	Items    []Item // of a batch, in its order

	// Of one that is rejected or dead.
	Code   domain.Code
	Detail string // for people
	Fields []domain.FieldError

	Actor, CausationID, CorrelationID, TraceParent string
}

// Item is what became of one account of a batch. Its code is empty when it was deleted.
type Item struct {
	UserID   domain.UserID
	Position uint64
	Code     domain.Code
	Detail   string
}

// maxFields is how many fields an outcome names at most.
const maxFields = 50

// first returns the first fields of many.
func first(fields []domain.FieldError) []domain.FieldError {
	return fields[:min(len(fields), maxFields)]
}

// Outcomes keeps outcomes for a day. Implementations are safe for concurrent use.
type Outcomes interface {
	// Load returns the outcome of a command, or ErrNoOutcome.
	Load(ctx context.Context, app domain.AppID, commandID string) (Outcome, error)
	// Keep keeps an outcome, on disk when it returns. A final one is never replaced, and another only by a final
	// one: ErrDecided. After any other error it may have been kept.
	Keep(ctx context.Context, o Outcome) error
}

// Errors of Outcomes. Test for them with errors.Is.
var (
	ErrNoOutcome = errors.New("there is no outcome of that command")
	ErrDecided   = errors.New("the command has an outcome")
)

// CodeNoOutcome is the code of a rejection: nothing is known of a command.
const CodeNoOutcome domain.Code = "outcome_not_found"

func noOutcome(app domain.AppID, commandID string) error {
	return &domain.Rejection{Code: CodeNoOutcome, Detail: fmt.Sprintf(
		"there is no outcome of command %q in application %s; it waits to be decided, was never sent, or was decided more than a day ago", commandID, app)}
}

// Unreadable is the error of a message that is no command: it becomes a dead letter.
type Unreadable struct {
	Code   domain.Code
	Detail string // for people
	Fields []domain.FieldError
}

// Error tells why in one line.
func (u *Unreadable) Error() string {
	return (&domain.Rejection{Code: u.Code, Detail: u.Detail, Fields: u.Fields}).Error()
}

// Codes of messages that are no commands, besides those of what is in them.
const (
	CodeMalformedCommand domain.Code = "malformed_command" // the message, not its body
	CodeUnknownVerb      domain.Code = "unknown_verb"
	CodeUnknownSender    domain.Code = "unknown_sender"
	CodeSenderForbidden  domain.Code = "forbidden"
	CodeFault            domain.Code = "internal" // this program cannot handle it
	CodeDropped          domain.Code = "dropped"  // of an outcome: a person dropped the dead letter
)

// sameCommand tells whether an outcome is of a command that was given again, as far as an outcome tells.
func (o Outcome) sameCommand(c Command) bool {
	if o.Verb != c.Verb || o.UserID != c.userID() || len(o.Items) > 0 && len(o.Items) != len(c.Batch) {
		return false
	}
	return slices.EqualFunc(o.Items, c.Batch[:min(len(o.Items), len(c.Batch))], func(i Item, id domain.UserID) bool { return i.UserID == id })
}
