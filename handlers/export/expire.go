package export

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rollcall/domain"
)

const (
	reasonAge    = "the file has reached the end of its life"
	reasonErased = "an account that the file may hold has been deleted since"
	reasonLost   = "the file has been lost"
)

const (
	// stuckAfter is how long nothing may have been heard of a job that is not over until it is put into
	// the queue again. It is no harm when it is there already.
	stuckAfter = 30 * time.Second
	// orphanAge is how old a file that has come up since the start and belongs to no completed job must be to be
	// removed: another instance may be writing it.
	orphanAge = 10 * time.Minute
)

// expire removes the file of a completed job and then tells so. It may be repeated.
func (s *Service) expire(ctx context.Context, j Job, reason string) error {
	if err := s.remove(ctx, j.File()); err != nil {
		return fmt.Errorf("remove the file of export %s: %w", j.ID, err)
	}
	e := s.event(Expired, j)
	e.Reason = reason
	if _, err := s.cfg.Events.Publish(ctx, e, true); err != nil && !errors.Is(err, ErrExists) {
		return fmt.Errorf("tell that export %s has expired: %w", j.ID, err)
	}
	return nil
}

func (s *Service) expireLogged(ctx context.Context, j Job, reason string) {
	if err := s.expire(ctx, j, reason); err != nil && ctx.Err() == nil {
		s.cfg.Logger.Warn("a file is removed by the next sweep", "app", j.App, "job", j.ID, "error", err)
	}
}

// Sweep removes files that have reached the end of their life, that may hold a
// deleted account, or that belong to no completed job, destroys the keys of jobs that are over, and
// puts jobs into the queue that have fallen out of it. Run does it regularly.
func (s *Service) Sweep(ctx context.Context) error {
	if err := s.index.waitReady(ctx); err != nil {
		return err
	}
	now := s.cfg.Now()
	var errs []error
	for _, j := range s.index.collect("", func(j Job) bool {
		return j.mustExpire() || j.Status == StatusCompleted && !now.Before(j.ExpiresAt)
	}) {
		reason := reasonAge
		if j.mustExpire() {
			reason = reasonErased
		}
		errs = append(errs, s.expire(ctx, j, reason))
	}
	for _, j := range s.index.collect("", func(j Job) bool {
		return !j.Status.Finished() && now.Sub(j.lastEvent) >= stuckAfter
	}) {
		errs = append(errs, s.cfg.Queue.Enqueue(ctx, j.App, j.ID))
	}
	orphaned := func(f StoredFile) bool {
		return f.Modified.Before(s.started) || now.Sub(f.Modified) >= orphanAge
	}
	return errors.Join(append(errs, s.destroyKeys(ctx), s.removeOrphans(ctx, "", orphaned))...)
}

// removeOrphans removes files that no completed job has and that no attempt in this process is writing, as far
// as the test lets them through: leftovers of attempts that were killed. They are of one application, or of all
// when app is empty. The upload of a job that other instances may be at work on is left until nothing has been heard of the
// job for stuckAfter: nobody can read it, and Forget has marked the job if need be.
func (s *Service) removeOrphans(ctx context.Context, app domain.AppID, test func(StoredFile) bool) error {
	var errs []error
	for f, err := range s.cfg.Files.All(ctx, app, "") {
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("list the files of exports: %w", err))...)
		}
		if !test(f) || s.running.writes(jobKey{f.Name.App, f.Name.Job}) {
			continue
		}
		job, err := s.load(ctx, f.Name.App, f.Name.Job)
		p, isPart := partOf(job, f.Name)
		switch {
		case errors.Is(err, CodeNotFound):
		case err != nil:
			errs = append(errs, err)
			continue
		case job.Status == StatusCompleted && job.has(f.Name):
			continue
		case isPart && !job.mayUse(p.version): // whoever writes it will not need it either
		case isPart:
			continue
		case job.Status == StatusRunning && s.cfg.Now().Sub(job.lastEvent) < stuckAfter:
			continue // another instance is writing it; when that died, the next attempt or sweep removes it
		}
		s.cfg.Logger.Info("removed a file that belongs to no export", "app", f.Name.App, "job", f.Name.Job, "file", f.Name.Name)
		errs = append(errs, s.cfg.Files.Delete(ctx, f.Name))
	}
	return errors.Join(errs...)
}

// Deletion is that of an account.
type Deletion struct {
	User     domain.UserID
	Position uint64 // of the log
}

// Forget removes what exports still hold of deleted accounts of an application. A file of the
// application that shows a position before a deletion, and that does not
// leave the account out by its user ids, is removed before Forget returns, and its job
// expires. So is a file that belongs to no completed job and that no attempt in this process is writing. A job that
// is running is marked, so that it begins anew without the account. It may be repeated. One instance at a time calls it, as the one reactor to deletions.
func (s *Service) Forget(ctx context.Context, app domain.AppID, deletions ...Deletion) error {
	s.forgetting.Lock() // a mark of a later deletion must not be replaced by one of an earlier
	defer s.forgetting.Unlock()
	var errs []error
	for _, d := range deletions {
		errs = append(errs, s.forget(ctx, app, d))
	}
	all := func(StoredFile) bool { return true }
	return errors.Join(append(errs, s.removeOrphans(ctx, app, all))...)
}

// forget removes or marks the files of completed and running jobs.
func (s *Service) forget(ctx context.Context, app domain.AppID, d Deletion) error {
	if err := s.catchUp(ctx); err != nil {
		return fmt.Errorf("look for exports of %s: %w", d.User, err)
	}
	jobs := s.index.collect(app, func(j Job) bool {
		switch {
		case j.Status == StatusCompleted:
			return j.erasedUntil < d.Position
		case !j.Status.Finished() && !j.StartedAt.IsZero():
			// While it is not known what it leaves out it may be less.
			return j.erasedUntil < d.Position && j.recalled < d.Position
		}
		return false // a job that was never begun takes a position behind the deletion
	})
	var errs []error
	for _, j := range jobs {
		mayHold, err := s.mayHold(ctx, j, d.User)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !mayHold:
		case j.Status == StatusCompleted:
			errs = append(errs, s.expire(ctx, j, reasonErased))
		default:
			errs = append(errs, s.recall(ctx, j, d.Position))
		}
	}
	return errors.Join(errs...)
}

// catchUp waits until the index has seen all events that there are.
func (s *Service) catchUp(ctx context.Context) error {
	if err := s.index.waitReady(ctx); err != nil {
		return err
	}
	last, err := s.cfg.Events.Last(ctx)
	if err != nil {
		return err
	}
	return s.index.waitFor(ctx, last)
}

// mayHold tells whether an account is not left out by the job's user ids.
func (s *Service) mayHold(ctx context.Context, j Job, user domain.UserID) (bool, error) {
	if j.Spec.UserCount == 0 {
		return true, nil
	}
	if len(j.Spec.UserIDs) != j.Spec.UserCount {
		var err error
		if j, err = s.load(ctx, j.App, j.ID); err != nil {
			return false, err
		}
	}
	return slices.Contains(j.Spec.UserIDs, user), nil
}

// recall marks a running job.
func (s *Service) recall(ctx context.Context, j Job, deletedAt uint64) error {
	e := s.event(Recalled, j)
	e.Position, e.Reason = deletedAt, reasonErased
	sequence, err := s.cfg.Events.Publish(ctx, e, false)
	if err != nil {
		return fmt.Errorf("mark export %s, which may hold a deleted account: %w", j.ID, err)
	}
	if err := s.index.waitFor(ctx, sequence); err != nil {
		return err
	}
	j.recalled = max(j.recalled, deletedAt)
	s.running.recall(j) // so that it does not finish after Forget has returned
	return nil
}
