package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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

// expire removes the file of a job that is completed, or being rebuilt, and then tells so. It may be repeated. errSettled means that the job is not as it was.
func (s *Service) expire(ctx context.Context, j Job, reason string) error {
	if j.Status != StatusCompleted {
		if err := s.removeParts(ctx, j); err != nil {
			return err
		}
	} else if err := s.remove(ctx, j.File()); err != nil {
		return fmt.Errorf("remove the file of export %s: %w", j.ID, err)
	}
	var told Job // as it was when that was told
	_, err := s.tell(ctx, j.App, j.ID, func(now Job) (Event, error) {
		told = now
		if now.Rebuilds != j.Rebuilds || now.Status != StatusCompleted && (now.Status.Finished() || now.Rebuilds == 0) {
			return Event{}, errSettled
		}
		e := s.event(Expired, now)
		e.Reason = reason
		return e, nil
	})
	if err != nil {
		return fmt.Errorf("tell that export %s has expired: %w", j.ID, err)
	}
	if told.Status == StatusCompleted && told.File() != j.File() { // since the look at the job
		return s.remove(ctx, told.File())
	}
	return nil
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
	for _, j := range s.index.collect("", func(j Job) bool { return j.mustErase() || j.isPast(now) }) {
		var err error
		if j.mustErase() {
			err = s.erase(ctx, j, j.recalled)
		} else {
			err = s.expire(ctx, j, reasonAge)
		}
		errs = append(errs, unlessSettled(err))
	}
	for _, j := range s.index.collect("", func(j Job) bool {
		return !j.Status.Finished() && !j.isPast(now) && now.Sub(j.lastEvent) >= stuckAfter
	}) {
		errs = append(errs, s.cfg.Queue.Enqueue(ctx, j.App, j.ID, j.Rebuilds))
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
		case job.had(f.Name): // whoever withdrew it did not come to remove it
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

// gone is a deletion of an account whose creation is looked up once, when it is asked for.
type gone struct {
	Deletion
	creation func() creation
}

// creation is where an account was created, and of which type, zero where that is not known.
type creation struct {
	position uint64
	typ      domain.AccountType
	err      error
}

// gone returns deletions in the order of their positions.
func (s *Service) gone(ctx context.Context, app domain.AppID, deletions []Deletion) (accounts []gone) {
	for _, d := range slices.SortedFunc(slices.Values(deletions), func(a, b Deletion) int { return cmp.Compare(a.Position, b.Position) }) {
		accounts = append(accounts, gone{d, sync.OnceValue(func() (c creation) {
			c.position, c.typ, c.err = s.cfg.Past.Created(ctx, app, d.User, d.Position)
			return c
		})})
	}
	return accounts
}

// Forget removes what exports still hold of deleted accounts of an application. A file of the
// application that shows a position between the creation of an account and its deletion, and that does not
// leave the account out by its user ids or type, is removed before Forget returns, and its job
// expires or is queued again, as Config.OnDelete says. So is a file that belongs to no completed job and that no attempt in this process is writing. A job that
// is running is marked, so that it begins anew without the account. It may be repeated. One instance at a time calls it, as the one reactor to deletions.
func (s *Service) Forget(ctx context.Context, app domain.AppID, deletions ...Deletion) error {
	s.forgetting.Lock() // a mark of a later deletion must not be replaced by one of an earlier
	defer s.forgetting.Unlock()
	accounts := s.gone(ctx, app, deletions)
	err := s.forget(ctx, app, accounts)
	for errors.Is(err, errSettled) && ctx.Err() == nil {
		err = s.forget(ctx, app, accounts)
	}
	all := func(StoredFile) bool { return true }
	return errors.Join(err, s.removeOrphans(ctx, app, all))
}

// forget removes or marks the files of completed and running jobs, each once for all deletions.
func (s *Service) forget(ctx context.Context, app domain.AppID, deletions []gone) error {
	if err := s.catchUp(ctx); err != nil {
		return fmt.Errorf("look for exports of deleted accounts of %s: %w", app, err)
	}
	jobs := s.index.collect(app, func(j Job) bool {
		// One that was never begun takes a position behind the deletions.
		return j.Status == StatusCompleted || !j.Status.Finished() && !j.StartedAt.IsZero()
	})
	var errs []error
	for _, j := range jobs {
		deletedAt, err := s.latestHeld(ctx, j, deletions)
		switch {
		case err != nil:
			errs = append(errs, err)
		case deletedAt == 0:
		case j.Status == StatusCompleted:
			errs = append(errs, s.erase(ctx, j, deletedAt))
		default:
			errs = append(errs, s.recall(ctx, j, deletedAt))
		}
	}
	return errors.Join(errs...)
}

// latestHeld returns the position of the latest deletion of an account that a job's file may hold, or come to hold; zero for none.
func (s *Service) latestHeld(ctx context.Context, j Job, deletions []gone) (uint64, error) {
	known := j.erasedUntil
	if j.Status != StatusCompleted { // an earlier attempt than the one that told what it leaves out may be alive
		known = j.recalled
	}
	for _, d := range slices.Backward(deletions) {
		if d.Position <= known {
			return 0, nil
		}
		if mayHold, err := s.mayHold(ctx, j, d); err != nil || mayHold {
			return d.Position, err
		}
	}
	return 0, nil
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

// mayHold tells whether a deleted account may be in the file of a job, or come to be in it.
func (s *Service) mayHold(ctx context.Context, j Job, d gone) (bool, error) {
	if selected, err := s.selects(ctx, j, d.User); err != nil || !selected {
		return false, err
	}
	shown := j.Spec.AsOf.Position
	if j.Status == StatusCompleted {
		shown = j.Position // what a running attempt has told may be replaced by what another one tells
	}
	if shown == 0 && j.Spec.Filter.Type == "" {
		return true, nil
	}
	c := d.creation()
	if c.err != nil || c.position == 0 {
		return true, c.err
	}
	return (shown == 0 || c.position <= shown) && (j.Spec.Filter.Type == "" || j.Spec.Filter.Type == c.typ), nil
}

// selects tells whether an account is not left out by the job's user ids.
func (s *Service) selects(ctx context.Context, j Job, user domain.UserID) (bool, error) {
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

// mostStopping is how long an attempt has to stop.
const mostStopping = 10 * time.Second

// untilStopped ends the attempt of this instance at a job that has been marked, and waits until nothing more is written. Another instance
// hears of the mark by itself.
func (s *Service) untilStopped(ctx context.Context, j Job) error {
	ended := s.running.recall(j)
	if ended == nil {
		return nil
	}
	limit := time.NewTimer(mostStopping)
	defer limit.Stop()
	select {
	case <-ended:
		return nil
	case <-limit.C:
		return fmt.Errorf("export %s, which may hold a deleted account, is still being written", j.ID)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recall marks a running job.
func (s *Service) recall(ctx context.Context, j Job, deletedAt uint64) error {
	sequence, err := s.tell(ctx, j.App, j.ID, func(now Job) (Event, error) {
		e := s.event(Recalled, now)
		e.Position, e.Reason = max(now.recalled, deletedAt), reasonErased
		return e, nil
	})
	if err != nil {
		return fmt.Errorf("mark export %s, which may hold a deleted account: %w", j.ID, err)
	}
	if err := s.index.waitFor(ctx, sequence); err != nil {
		return err
	}
	j.recalled = max(j.recalled, deletedAt)
	if err := s.untilStopped(ctx, j); err != nil {
		return err
	}
	if now, ok := s.index.get(j.App, j.ID); ok && now.mustErase() {
		return s.erase(ctx, now, deletedAt) // it was completed meanwhile
	}
	return nil
}
