package export

import (
	"context"
	"errors"

	"rollcall/domain"
)

// errSettled means that there is nothing to tell of a job any more.
var errSettled = errors.New("the export is not as it was")

// tell adds an event that decides over a whole job: it is made of the job as it is at the end of all events, and made again when one of any job has come
// between. So nothing is decided twice, or without knowing of what was decided before. The error of decide ends it.
func (s *Service) tell(ctx context.Context, app domain.AppID, id string, decide func(Job) (Event, error)) (sequence uint64, err error) {
	for {
		last, err := s.cfg.Events.Last(ctx)
		if err != nil {
			return 0, err
		}
		job, err := s.load(ctx, app, id)
		if err != nil {
			return 0, err
		}
		e, err := decide(job)
		if err != nil {
			return 0, err
		}
		if sequence, err = s.cfg.Events.Publish(ctx, e, AtEnd(last)); !errors.Is(err, ErrConflict) {
			return sequence, err
		}
	}
}

// tellOf is tell for what an attempt at a job has to tell: errSettled when the job is over, or its file is of a version that has been withdrawn.
func (s *Service) tellOf(ctx context.Context, job Job, decide func(now Job) (Event, error)) error {
	_, err := s.tell(ctx, job.App, job.ID, func(now Job) (Event, error) {
		if now.Status.Finished() || now.Rebuilds != job.Rebuilds {
			return Event{}, errSettled
		}
		return decide(now)
	})
	return err
}

// unlessSettled drops the error that there is nothing to tell any more.
func unlessSettled(err error) error {
	if errors.Is(err, errSettled) {
		return nil
	}
	return err
}
