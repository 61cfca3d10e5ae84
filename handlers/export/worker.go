package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"rollcall/domain"
	"rollcall/eventstore"
)

// running holds the jobs that this instance works on. The zero value is empty.
type running struct {
	mu   sync.Mutex
	jobs map[jobKey]*task
}

// task is one attempt at a job.
type task struct{ cancel context.CancelCauseFunc }

// errOver ends the work on a job that is over, such as by a cancellation.
var errOver = errors.New("the export is over")

// start notes that a job is worked on until the returned function is called. A job that the
// queue gives out a second time is left by the one who worked on it.
func (r *running) start(ctx context.Context, j Job) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	k, t := jobKey{j.App, j.ID}, &task{cancel: cancel}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.jobs == nil {
		r.jobs = make(map[jobKey]*task)
	}
	if before := r.jobs[k]; before != nil {
		before.cancel(errOver)
	}
	r.jobs[k] = t
	return ctx, func() {
		cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.jobs[k] == t {
			delete(r.jobs, k)
		}
	}
}

// stop ends the work on a job.
func (r *running) stop(j Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.jobs[jobKey{j.App, j.ID}]; t != nil {
		t.cancel(errOver)
	}
}

// Work does a job that the queue hands out. Nil means that the queue is done
// with it: completed, failed for good, cancelled, or not there at all. An error is temporary: the
// same job is to be handed out again after a pause. A job that was tried MaxAttempts
// times fails. It begins anew at each attempt, at a position of its own.
func (s *Service) Work(ctx context.Context, app domain.AppID, id string) error {
	job, err := s.load(ctx, app, id)
	if errors.Is(err, CodeNotFound) {
		s.cfg.Logger.Warn("the queue holds an export that nobody ordered; dropped", "app", app, "job", id)
		return nil
	}
	if err != nil || job.Status.Finished() {
		return err
	}
	if job.attempts >= s.cfg.MaxAttempts {
		return s.fail(ctx, job, fmt.Sprintf("the worker ended %d times before the file was finished", job.attempts))
	}
	work, done := s.running.start(ctx, job)
	defer done()
	err = s.attempt(work, &job)
	var refused *domain.Rejection
	switch {
	case err == nil, errors.Is(context.Cause(work), errOver):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &refused), job.attempts >= s.cfg.MaxAttempts:
		return s.fail(ctx, job, forPeople(err))
	}
	s.cfg.Logger.Warn("an export will be tried again", "app", app, "job", id, "attempt", job.attempts, "error", err)
	return fmt.Errorf("export %s: %w", id, err)
}

// attempt does the whole job once.
func (s *Service) attempt(ctx context.Context, job *Job) error {
	job.attempts++
	started := s.event(Started, *job)
	started.Attempt = job.attempts
	if _, err := s.cfg.Events.Publish(ctx, started, false); err != nil {
		return fmt.Errorf("tell that the export starts: %w", err)
	}
	// The end of the log is read after the job is known to run. A deletion before it is not in
	// the file; of one behind it Forget finds the running job.
	last, err := s.cfg.Log.Last(ctx)
	if err != nil {
		return fmt.Errorf("read the end of the log: %w", err)
	}
	if err := s.cfg.Waiter.WaitFor(ctx, max(last, eventstore.Position(job.minPosition))); err != nil {
		return fmt.Errorf("wait for the account list to reach position %d: %w", last, err)
	}
	var w *fileWriter
	err = s.cfg.Accounts.Scan(ctx, job.Spec.selection(), func(snap domain.Snapshot) error {
		var err error
		w, err = s.write(ctx, *job, snap)
		return err
	})
	if err != nil {
		if w != nil {
			w.abort()
		}
		return err
	}
	if w == nil {
		return errors.New("the account list gave no accounts to write")
	}
	return s.complete(ctx, *job, w)
}

// write writes the accounts to a file that is not committed yet. It returns the writer with an
// error too.
func (s *Service) write(ctx context.Context, job Job, snap domain.Snapshot) (*fileWriter, error) {
	name := nameFile(job.App, job.ID, job.Spec.Format, snap.Position)
	w, err := newFileWriter(ctx, s.cfg.Files, name, job.Spec)
	if err != nil {
		return nil, err
	}
	w.position = snap.Position
	stop := s.report(ctx, job, w, int64(snap.Total))
	defer stop()
	return w, w.writeAll(ctx, snap)
}

// complete makes the file readable and tells so. Whichever event finished the job
// first counts; when it is not this one the file is removed.
func (s *Service) complete(ctx context.Context, job Job, w *fileWriter) error {
	if err := w.commit(); err != nil {
		return err
	}
	e := s.event(Completed, job)
	e.Spec.Format, e.Position = job.Spec.Format, w.position
	e.Result = FileResult{Rows: w.rows.Load(), Bytes: w.bytes.Load(), SHA256: w.sum(), ExpiresAt: e.Time.Add(s.cfg.FileLife)}
	var err error
	if e.Result.DownloadURL, err = s.cfg.Files.URL(ctx, w.name, s.cfg.FileLife); err != nil {
		return fmt.Errorf("sign the download URL: %w", err)
	}
	_, err = s.cfg.Events.Publish(ctx, e, true)
	// The last word must be heard even when the job has just been stopped.
	ctx = context.WithoutCancel(ctx)
	if err != nil && !errors.Is(err, ErrExists) {
		return s.settleUnknown(ctx, e, w.name, err)
	}
	return s.settle(ctx, e, w.name)
}

// settleUnknown decides over a file whose completion may or may not have been told.
func (s *Service) settleUnknown(ctx context.Context, e Event, name FileName, cause error) error {
	now, err := s.load(ctx, e.App, e.Job)
	if err != nil || !now.Status.Finished() {
		// The next attempt or a sweep finds the file.
		return fmt.Errorf("tell that the export is completed: %w", cause)
	}
	return s.settle(ctx, e, name)
}

// settle removes the file that was written unless the job is completed with it.
func (s *Service) settle(ctx context.Context, e Event, name FileName) error {
	now, err := s.load(ctx, e.App, e.Job)
	if err != nil {
		return err
	}
	if now.mustExpire() {
		return s.expire(ctx, now, reasonErased)
	}
	if now.completedBy == e.ID || (now.Status == StatusCompleted && now.File() == name) {
		return nil
	}
	return s.cfg.Files.Delete(ctx, name)
}

// fail ends a job for good.
func (s *Service) fail(ctx context.Context, job Job, reason string) error {
	e := s.event(Failed, job)
	e.Reason = reason
	if _, err := s.cfg.Events.Publish(ctx, e, true); err != nil && !errors.Is(err, ErrExists) {
		return fmt.Errorf("tell that export %s failed: %w", job.ID, err)
	}
	s.cfg.Logger.Error("an export failed", "app", job.App, "job", job.ID, "reason", reason)
	return nil
}

// forPeople words an error for those who ordered the export, without the paths of
// the machine.
func forPeople(err error) string {
	var refused *domain.Rejection
	if errors.As(err, &refused) {
		return refused.Detail
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return "the file could not be written: " + path.Err.Error()
	}
	return err.Error()
}
