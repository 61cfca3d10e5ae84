package export

import (
	"context"
	"iter"
	"time"

	"rollcall/domain"
)

// MaxListLimit bounds how many jobs List returns at once.
const MaxListLimit = 1000

// Get returns a job. It is answered from memory where it can be; a job that is not over
// there may be over by now, which whoever has seen its last event expects to read.
//
// Errors: *domain.Rejection with the code export_not_found.
func (s *Service) Get(ctx context.Context, app domain.AppID, id string) (Job, error) {
	if j, ok := s.index.get(app, id); ok && j.Status.Finished() && len(j.Spec.UserIDs) == j.Spec.UserCount {
		return j, nil
	}
	return s.load(ctx, app, id)
}

// List returns jobs of an application, the newest first: at most limit of them, 1 to
// MaxListLimit, that are older than the job named after, from the newest on when after is
// empty. Next names the last one when there are more. It waits until the jobs are known
// after a start.
func (s *Service) List(ctx context.Context, app domain.AppID, limit int, after string) (jobs []Job, next string, err error) {
	if err := s.index.waitReady(ctx); err != nil {
		return nil, "", err
	}
	jobs, more := s.index.list(app, min(max(limit, 1), MaxListLimit), after)
	if more {
		next = jobs[len(jobs)-1].ID
	}
	return jobs, next, nil
}

// Watch yields the events of a job, past and to come, until the one that ends it;
// of a job that is over it yields what there is. An error ends it:
// *domain.Rejection with the code export_not_found, or the context's.
func (s *Service) Watch(ctx context.Context, app domain.AppID, id string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		job, err := s.load(ctx, app, id)
		if err != nil {
			yield(Event{}, err)
			return
		}
		if job.Status.Finished() {
			s.replay(ctx, app, id, yield)
			return
		}
		var seen Job
		for e, err := range s.cfg.Events.Follow(ctx, job.sequence, app, id) {
			if err != nil {
				yield(Event{}, err)
				return
			}
			seen = seen.fold(e)
			if !yield(e, nil) || seen.Status.Finished() {
				return
			}
		}
	}
}

// replay yields the events of a job that is over.
func (s *Service) replay(ctx context.Context, app domain.AppID, id string, yield func(Event, error) bool) {
	events, err := s.cfg.Events.Load(ctx, app, id)
	if err != nil {
		yield(Event{}, err)
		return
	}
	for _, e := range events {
		if !yield(e, nil) {
			return
		}
	}
}

// Link mints a URL that serves the job's file, and tells until when. Both are zero for a
// job without a file. A URL never outlives its file.
func (s *Service) Link(ctx context.Context, j Job) (url string, until time.Time, err error) {
	return s.link(ctx, j, s.cfg.URLLife)
}

func (s *Service) link(ctx context.Context, j Job, life time.Duration) (string, time.Time, error) {
	now := s.cfg.Now()
	if j.Status != StatusCompleted || j.mustExpire() || !now.Before(j.ExpiresAt) {
		return "", time.Time{}, nil
	}
	life = min(life, j.ExpiresAt.Sub(now))
	url, err := s.cfg.Files.URL(ctx, j.File(), life)
	if err != nil {
		return "", time.Time{}, err
	}
	return url, now.Add(life), nil
}
