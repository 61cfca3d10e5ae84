package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
)

// Command is a command that has been understood but not decided. It asks for exactly one of Account,
// Batch and Export.
type Command struct {
	App    domain.AppID
	Verb   Verb
	Sender string // id of the token that it was sent with

	ID, CausationID, CorrelationID, TraceParent string

	Account domain.Command  // on one account
	Batch   []domain.UserID // deletions
	Export  *export.Spec
}

// userID returns the account that the command is about, empty when it is about no single one.
func (c Command) userID() domain.UserID {
	switch a := c.Account.(type) {
	case domain.CreateAccount:
		return a.UserID
	case domain.EditAccount:
		return a.UserID
	case domain.DeleteAccount:
		return a.UserID
	}
	return ""
}

// Users returns the accounts that the command is about.
func (c Command) Users() []domain.UserID {
	if c.Account != nil {
		return []domain.UserID{c.userID()}
	}
	return c.Batch
}

// Commands executes commands on accounts, see command.Service.
type Commands interface {
	Execute(ctx context.Context, req command.Request, cmd domain.Command) (command.Result, error)
	DeleteAccounts(ctx context.Context, req command.Request, app domain.AppID, ids []domain.UserID) ([]command.ItemResult, error)
}

// Exports orders exports, see export.Service.
type Exports interface {
	Order(ctx context.Context, req export.Request, spec export.Spec) (export.Job, error)
}

// Senders knows whose token it is, see access.Service.
type Senders interface {
	// Principal returns who has the token with an id, also after it has been revoked. access.ErrUnauthenticated when
	// there is no such token.
	Principal(ctx context.Context, tokenID string) (access.Principal, error)
}

// Log knows what has become of accounts, see eventstore.Store.
type Log interface {
	eventstore.Loader
	Revision(ctx context.Context, id eventstore.AggregateID) (eventstore.Revision, error)
}

// Config tells what a Service works with. All members are needed but Now and Wrote.
type Config struct {
	Commands    Commands
	Exports     Exports
	Senders     Senders
	Outcomes    Outcomes
	DeadLetters DeadLetters
	Log         Log
	Now         func() time.Time // time.Now
	// Wrote is told of the position of each accepted command, so that whoever reads next reads it.
	Wrote func(position uint64)
}

// Service decides commands and manages what became of them. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns a service.
func New(cfg Config) (*Service, error) {
	if cfg.Commands == nil || cfg.Exports == nil || cfg.Senders == nil || cfg.Outcomes == nil || cfg.DeadLetters == nil || cfg.Log == nil {
		return nil, errors.New("intake needs Commands, Exports, Senders, Outcomes, DeadLetters and Log")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wrote == nil {
		cfg.Wrote = func(uint64) {}
	}
	return &Service{cfg: cfg}, nil
}

// Action returns what whoever gives a command of this verb must be permitted to do.
func (v Verb) Action() access.Action {
	if v == Export {
		return access.Export
	}
	return access.WriteAccounts
}

// Decide decides a command and keeps its outcome, on disk when it returns nil. A command that has a final
// outcome is not decided again. Commands on one account are to be given one after another.
//
// Errors: *Unreadable when it can never be decided, or its id belongs to another command; any other error means that it
// is to be given again.
func (s *Service) Decide(ctx context.Context, c Command) error {
	who, err := s.sender(ctx, c)
	if err != nil {
		return err
	}
	switch had, err := s.cfg.Outcomes.Load(ctx, c.App, c.ID); {
	case errors.Is(err, ErrNoOutcome):
	case err != nil:
		return fmt.Errorf("look up the outcome of command %s: %w", c.ID, err)
	case had.Status.Final() && had.sameCommand(c):
		return nil
	case had.Status.Final():
		return &Unreadable{Code: command.CodeCommandIDReused, Detail: fmt.Sprintf("command id %q belongs to another command of application %s; give this one an id of its own", c.ID, c.App)}
	}
	o, err := s.decide(ctx, who, c)
	if err != nil {
		return err
	}
	s.cfg.Wrote(o.Position)
	if err := s.cfg.Outcomes.Keep(ctx, o); err != nil && !errors.Is(err, ErrDecided) {
		return fmt.Errorf("keep the outcome of command %s: %w", c.ID, err)
	}
	return nil
}

// sender returns who sent the command. That they were let in was seen to where the command was taken in; what is
// checked here is what nobody can get around.
func (s *Service) sender(ctx context.Context, c Command) (access.Principal, error) {
	who, err := s.cfg.Senders.Principal(ctx, c.Sender)
	switch {
	case errors.Is(err, access.ErrUnauthenticated):
		return who, &Unreadable{Code: CodeUnknownSender, Detail: "it was not sent with a token of this service"}
	case err != nil:
		return who, fmt.Errorf("find out who sent command %s: %w", c.ID, err)
	}
	if err := who.Authorize(c.Verb.Action(), string(c.App)); err != nil {
		return who, &Unreadable{Code: CodeSenderForbidden, Detail: err.Error()}
	}
	return who, nil
}

// decide executes the command and returns its outcome.
func (s *Service) decide(ctx context.Context, who access.Principal, c Command) (Outcome, error) {
	o := s.outcome(c, Accepted)
	o.Actor = who.Actor()
	req := command.Request{
		ID: c.ID, Actor: o.Actor, CausationID: c.CausationID, CorrelationID: c.CorrelationID, TraceParent: c.TraceParent,
	}
	var err error
	switch {
	case c.Export != nil:
		var job export.Job
		job, err = s.cfg.Exports.Order(ctx, export.Request{ID: c.ID, Actor: o.Actor, CorrelationID: c.CorrelationID, TraceParent: c.TraceParent}, *c.Export)
		o.ExportID, o.Changed, o.Position = job.ID, true, job.MinPosition()
	case c.Account != nil:
		var res command.Result
		res, err = s.cfg.Commands.Execute(ctx, req, c.Account)
		o.Position, o.Revision, o.Changed = res.Position, res.Position, res.Changed
	default:
		err = s.deleteBatch(ctx, req, c, &o)
	}
	var refused *domain.Rejection
	switch {
	case errors.As(err, &refused):
		o = s.outcome(c, Rejected)
		o.Actor, o.Code, o.Detail, o.Fields = who.Actor(), refused.Code, refused.Detail, first(refused.Fields)
	case err != nil:
		return Outcome{}, err
	}
	return o, nil
}

// deleteBatch deletes the accounts of a batch. When it is not known of one of them what became of it, all are
// to be given again: those that are done answer as before.
func (s *Service) deleteBatch(ctx context.Context, req command.Request, c Command, o *Outcome) error {
	results, err := s.cfg.Commands.DeleteAccounts(ctx, req, c.App, c.Batch)
	if err != nil {
		return err
	}
	o.Items = make([]Item, len(results))
	for i, r := range results {
		var refused *domain.Rejection
		switch {
		case errors.As(r.Err, &refused):
			o.Items[i] = Item{UserID: r.UserID, Code: refused.Code, Detail: refused.Detail}
		case r.Err != nil:
			return fmt.Errorf("delete %s: %w", r.UserID, r.Err)
		default:
			o.Items[i] = Item{UserID: r.UserID, Position: r.Position}
			o.Position, o.Changed = max(o.Position, r.Position), true
		}
	}
	return nil
}

func (s *Service) outcome(c Command, status Status) Outcome {
	return Outcome{
		App: c.App, CommandID: c.ID, Verb: c.Verb, UserID: c.userID(), Status: status, Time: s.cfg.Now().UTC(),
		CausationID: c.CausationID, CorrelationID: c.CorrelationID, TraceParent: c.TraceParent,
	}
}

// Outcome returns what became of a command. *domain.Rejection with CodeNoOutcome when nothing is known of it.
func (s *Service) Outcome(ctx context.Context, app domain.AppID, commandID string) (Outcome, error) {
	o, err := s.cfg.Outcomes.Load(ctx, app, commandID)
	if errors.Is(err, ErrNoOutcome) {
		return Outcome{}, noOutcome(app, commandID)
	}
	return o, err
}
