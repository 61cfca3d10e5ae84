package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/handlers/access"
)

// DeadLetter is a message that was to be a command and could not be understood.
type DeadLetter struct {
	ID        uint64       // given by DeadLetters, growing
	Time      time.Time    // when it was kept
	Stored    time.Time    // when the command was taken in first, however often it was retried since
	App       domain.AppID // empty when it names none
	Verb      string       // as it was sent
	CommandID string       // empty when it has none
	Sender    string       // id of the token that it was sent with
	Code      domain.Code
	Reason    string              // for people
	Fields    []domain.FieldError // known when it is buried
	Data      []byte              // the body, whole
}

// DeadLetters keeps dead letters. Implementations are safe for concurrent use.
type DeadLetters interface {
	// List returns dead letters with ids above after in their order, at most limit, those of one application
	// unless app is empty.
	List(ctx context.Context, app domain.AppID, after uint64, limit int) ([]DeadLetter, error)
	// Get returns a dead letter, or ErrNoDeadLetter.
	Get(ctx context.Context, id uint64) (DeadLetter, error)
	// Requeue gives the message of a dead letter back to be decided, as it was sent, on disk when it returns. The dead
	// letter stays. Errors: *domain.Rejection with CodeQueueFull; ErrNoDeadLetter.
	Requeue(ctx context.Context, id uint64) error
	// Remove removes a dead letter, whose bytes are overwritten; one that is not there is no error.
	Remove(ctx context.Context, id uint64) error
}

// ErrNoDeadLetter is the error of DeadLetters.Get for an id that has none.
var ErrNoDeadLetter = errors.New("no such dead letter")

// Codes of rejections.
const (
	CodeNoDeadLetter domain.Code = "dead_command_not_found" // there is no such dead letter
	CodeQueueFull    domain.Code = "queue_full"             // too many commands wait to be decided
)

// Bury keeps that a command is dead, unless it has a final outcome. The dead letter itself is kept by the transport that
// could not read it. A message that does not say which command it is has no outcome.
func (s *Service) Bury(ctx context.Context, d DeadLetter) error {
	if !d.App.Valid() || d.CommandID == "" {
		return nil
	}
	o := Outcome{
		App: d.App, CommandID: d.CommandID, Verb: Verb(d.Verb), Status: Dead, Time: s.cfg.Now().UTC(), Code: d.Code, Detail: d.Reason, Fields: first(d.Fields),
	}
	who, err := s.cfg.Senders.Principal(ctx, d.Sender)
	switch {
	case err == nil:
		o.Actor = who.Actor()
	case !errors.Is(err, access.ErrUnauthenticated):
		return fmt.Errorf("find out who sent command %s: %w", d.CommandID, err)
	}
	if err := s.cfg.Outcomes.Keep(ctx, o); err != nil && !errors.Is(err, ErrDecided) {
		return fmt.Errorf("keep that command %s is dead: %w", d.CommandID, err)
	}
	return nil
}

// DeadLetters returns dead letters with ids above after, at most limit: of one application, or without app of all that the
// caller may see. Errors: ErrForbidden of access.
func (s *Service) DeadLetters(ctx context.Context, by access.Principal, app domain.AppID, after uint64, limit int) ([]DeadLetter, error) {
	if app == "" {
		app = domain.AppID(by.App)
	}
	if err := by.Authorize(access.ManageDead, string(app)); err != nil {
		return nil, err
	}
	return s.cfg.DeadLetters.List(ctx, app, after, limit)
}

// Retry gives a dead letter back to be decided, as it was sent: this program may have learned to read it, or its sender
// have been given the right. Errors: *domain.Rejection with CodeNoDeadLetter or CodeQueueFull; ErrForbidden of access.
func (s *Service) Retry(ctx context.Context, by access.Principal, id uint64) error {
	if _, err := s.deadLetter(ctx, by, id); err != nil {
		return err
	}
	// In this order a crash in between leads to the same command twice, which is decided once.
	if err := s.cfg.DeadLetters.Requeue(ctx, id); err != nil {
		return fmt.Errorf("retry dead letter %d: %w", id, err)
	}
	return s.remove(ctx, id)
}

// Drop removes a dead letter for good and rejects its command. Errors: *domain.Rejection with CodeNoDeadLetter; ErrForbidden
// of access.
func (s *Service) Drop(ctx context.Context, by access.Principal, id uint64) error {
	d, err := s.deadLetter(ctx, by, id)
	if err != nil {
		return err
	}
	return s.reject(ctx, d, by.Actor(), "it could not be understood ("+d.Reason+") and has been dropped")
}

// discard removes a dead letter for a reason that is no person's.
func (s *Service) discard(ctx context.Context, d DeadLetter, why string) error {
	return s.reject(ctx, d, "rollcall", why)
}

// reject rejects the command of a dead letter and removes the letter.
func (s *Service) reject(ctx context.Context, d DeadLetter, actor, why string) error {
	if d.App.Valid() && d.CommandID != "" {
		o := Outcome{
			App: d.App, CommandID: d.CommandID, Verb: Verb(d.Verb), Status: Rejected, Time: s.cfg.Now().UTC(), Actor: actor, Code: CodeDropped, Detail: why,
		}
		if err := s.cfg.Outcomes.Keep(ctx, o); err != nil && !errors.Is(err, ErrDecided) {
			return fmt.Errorf("drop dead letter %d: %w", d.ID, err)
		}
	}
	return s.remove(ctx, d.ID)
}

func (s *Service) deadLetter(ctx context.Context, by access.Principal, id uint64) (DeadLetter, error) {
	if err := by.Authorize(access.ManageDead, by.App); err != nil {
		return DeadLetter{}, err
	}
	d, err := s.cfg.DeadLetters.Get(ctx, id)
	if err == nil && !by.May(access.ManageDead, string(d.App)) { // whose it is is not told
		err = ErrNoDeadLetter
	}
	if errors.Is(err, ErrNoDeadLetter) {
		return DeadLetter{}, &domain.Rejection{Code: CodeNoDeadLetter, Detail: fmt.Sprintf("there is no dead command %d; the list of them shows the ids", id)}
	}
	return d, err
}

func (s *Service) remove(ctx context.Context, id uint64) error {
	if err := s.cfg.DeadLetters.Remove(ctx, id); err != nil {
		return fmt.Errorf("remove dead letter %d: %w", id, err)
	}
	return nil
}
