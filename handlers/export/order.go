package export

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Request tells who asks for something, and names the command so that it is
// done once however often it is sent.
type Request struct {
	ID            string // command id: 1 to 64 bytes of visible ASCII
	Actor         string
	CorrelationID string
	TraceParent   string
}

// MaxRequestIDBytes bounds a command id.
const MaxRequestIDBytes = 64

// Codes of rejections.
const (
	CodeNotFound domain.Code = "export_not_found"
	CodeFinished domain.Code = "export_finished"
	CodeIDReused domain.Code = "command_id_reused"

	// CodeAhead is of a moment that the log has not reached.
	CodeAhead domain.Code = "position_ahead"

	CodeInvalidCursor domain.Code = "invalid_cursor"
)

func (r Request) check() error {
	if r.ID != "" && len(r.ID) <= MaxRequestIDBytes && !strings.ContainsFunc(r.ID, func(c rune) bool { return c < 0x21 || c > 0x7e }) {
		return nil
	}
	return &domain.Rejection{Code: domain.CodeInvalid, Detail: "the command cannot be accepted without an id", Fields: []domain.FieldError{{
		Field: "command_id", Code: domain.CodeRequired, Detail: fmt.Sprintf("1 to %d visible ASCII characters", MaxRequestIDBytes),
	}}}
}

// jobID derives the id of the job that a command orders, so that the same command always
// orders the same job, whatever instance it reaches. The time in it is that of the
// command id, zero where the command id is no ULID.
func jobID(app domain.AppID, commandID string) string {
	sum := sha256.Sum256([]byte("export\x00" + string(app) + "\x00" + commandID))
	var id ulid.ULID
	copy(id[:], sum[:len(id)])
	const timeBytes = 6
	command, err := ulid.ParseStrict(strings.ToUpper(commandID))
	if err != nil {
		command = ulid.ULID{}
	}
	copy(id[:timeBytes], command[:timeBytes])
	return id.String()
}

// Order begins an export and returns its job, queued. The same command again returns
// the job as it is now; with another spec it is refused. Once the job is over what its filter
// searched for is not known any more and is not compared.
//
// Errors: *domain.Rejection with the code validation_failed, app_not_found, position_ahead, export_quota_exceeded or
// command_id_reused; any other error means that the job may or may not have been
// ordered, which the same command again finds out.
func (s *Service) Order(ctx context.Context, req Request, spec Spec) (Job, error) {
	if err := req.check(); err != nil {
		return Job{}, err
	}
	spec, err := spec.normalize()
	if err != nil {
		return Job{}, err
	}
	position, err := s.orderPosition(ctx, spec.App)
	if err != nil {
		return Job{}, err
	}
	if spec.AsOf, err = s.resolve(ctx, spec.AsOf, uint64(position)); err != nil {
		return Job{}, err
	}
	id := jobID(spec.App, req.ID)
	placed, err := s.admit(ctx, spec.App, id)
	if err != nil {
		return Job{}, err
	}
	defer placed()
	e := s.event(Requested, Job{App: spec.App, ID: id, CommandID: req.ID, correlationID: req.CorrelationID, traceParent: req.TraceParent})
	e.Actor, e.Spec, e.MinPosition = req.Actor, spec, uint64(position)
	if err := s.sealText(ctx, &e); err != nil {
		return Job{}, fmt.Errorf("order export %s: %w", e.Job, err)
	}
	e.Sequence, err = s.cfg.Events.Publish(ctx, e, First())
	if errors.Is(err, ErrConflict) {
		return s.orderedBefore(ctx, e, spec)
	}
	if err != nil {
		return Job{}, fmt.Errorf("order export %s: %w", e.Job, err)
	}
	// A job whose event is written but that is not in the queue is put there by the next sweep.
	if err := s.cfg.Queue.Enqueue(ctx, e.App, e.Job, 0); err != nil {
		s.cfg.Logger.Warn("an export waits for the next sweep to be queued", "app", e.App, "job", e.Job, "error", err)
	}
	s.awaitOwn(ctx, e.Sequence)
	e.Spec = spec
	return Job{}.fold(e), nil
}

// orderPosition returns the end of the log, which an application that is known
// lies before.
func (s *Service) orderPosition(ctx context.Context, app domain.AppID) (eventstore.Position, error) {
	last, err := s.cfg.Log.Last(ctx)
	if err != nil {
		return 0, fmt.Errorf("order export: %w", err)
	}
	_, _, err = s.cfg.Accounts.App(ctx, app)
	if errors.Is(err, domain.CodeAppNotFound) {
		// It may have been created a moment ago.
		if werr := s.cfg.Waiter.WaitFor(ctx, last); werr != nil {
			return 0, fmt.Errorf("order export: %w", werr)
		}
		_, _, err = s.cfg.Accounts.App(ctx, app)
	}
	if err != nil {
		return 0, fmt.Errorf("order export: %w", err)
	}
	return last, nil
}

// orderedBefore answers a command whose job exists.
func (s *Service) orderedBefore(ctx context.Context, e Event, spec Spec) (Job, error) {
	job, err := s.show(ctx, e.App, e.Job)
	if err != nil {
		return Job{}, fmt.Errorf("order export %s: %w", e.Job, err)
	}
	if !job.asksFor(spec) {
		return Job{}, &domain.Rejection{Code: CodeIDReused, Detail: fmt.Sprintf("command %s has ordered export %s, which asks for something else; give a new command a new id", e.CommandID, e.Job)}
	}
	if !job.Status.Finished() {
		if err := s.cfg.Queue.Enqueue(ctx, e.App, e.Job, job.Rebuilds); err != nil {
			s.cfg.Logger.Warn("an export waits for the next sweep to be queued", "app", e.App, "job", e.Job, "error", err)
		}
	}
	return job, nil
}

// awaitOwn waits for what this instance has just written to be seen by its own
// reads, but not for long.
func (s *Service) awaitOwn(ctx context.Context, sequence uint64) {
	const patience = time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.index.waitFor(ctx, sequence); err != nil {
		s.cfg.Logger.Debug("the index of exports is behind", "sequence", sequence)
	}
}

// Cancel ends a job that is not over; its file, as far as it is written, is removed. Cancelling a cancelled
// job changes nothing.
//
// Errors: *domain.Rejection with the code export_not_found or, when the job ended otherwise
// before, export_finished.
func (s *Service) Cancel(ctx context.Context, req Request, app domain.AppID, id string) (Job, error) {
	if err := req.check(); err != nil {
		return Job{}, err
	}
	sequence, err := s.tell(ctx, app, id, func(j Job) (Event, error) {
		if j.Status.Finished() {
			return Event{}, errSettled
		}
		e := s.event(Cancelled, j)
		e.Actor, e.CausationID = req.Actor, req.ID
		return e, nil
	})
	switch {
	case err == nil:
		s.awaitOwn(ctx, sequence)
	case errors.Is(err, CodeNotFound):
		return Job{}, err
	case !errors.Is(err, errSettled):
		return Job{}, fmt.Errorf("cancel export %s: %w", id, err)
	}
	job, err := s.load(ctx, app, id)
	if err != nil {
		return Job{}, err
	}
	if job.Status != StatusCancelled {
		return Job{}, &domain.Rejection{Code: CodeFinished, Detail: fmt.Sprintf("export %s is %s already; it cannot be cancelled any more", id, job.Status)}
	}
	if err := s.removeParts(ctx, job); err != nil { // what is being written is removed by the one who writes it
		s.cfg.Logger.Warn("parts of an export are removed by the next sweep", "app", app, "job", id, "error", err)
	}
	return job, nil
}

// event returns a new event of a job.
func (s *Service) event(t EventType, j Job) Event {
	return Event{
		ID: ulid.Make().String(), Type: t, App: j.App, Job: j.ID, Time: s.cfg.Now().UTC(), Actor: j.RequestedBy, Rebuild: j.Rebuilds,
		CommandID: j.CommandID, CausationID: j.CommandID, CorrelationID: j.correlationID, TraceParent: j.traceParent,
	}
}

// load reads a job from its events.
func (s *Service) load(ctx context.Context, app domain.AppID, id string) (Job, error) {
	if _, err := ulid.ParseStrict(id); err != nil || app == "" {
		return Job{}, notFound(app, id)
	}
	events, err := s.cfg.Events.Load(ctx, app, id)
	if err != nil {
		return Job{}, fmt.Errorf("load export %s: %w", id, err)
	}
	var job Job
	for _, e := range events {
		job = job.fold(e)
	}
	if job.ID == "" {
		return Job{}, notFound(app, id)
	}
	return job, nil
}

func notFound(app domain.AppID, id string) error {
	return &domain.Rejection{Code: CodeNotFound, Detail: fmt.Sprintf("there is no export %q in application %s", id, app)}
}
