package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Work does a job that the queue hands out. Nil means that the queue is done
// with it: completed, failed for good, cancelled, or not there at all. An error is temporary: the
// same job is to be handed out again after a pause, and goes on at the same position. A job that was tried MaxAttempts
// times fails. A *Later tells that it gives way to jobs of other applications, or that accounts are being deleted which its file must not
// hold, and is to go back to the queue.
//
// An attempt that ends by the end of ctx, or because an account was deleted that it may have written, does not count, nor does one
// that the account list, the file store or the log was not available to within MaxWait of the order.
func (s *Service) Work(ctx context.Context, app domain.AppID, id string) error {
	end, err := s.takeTurn(app)
	if err != nil {
		return err
	}
	defer end()
	for {
		if wait := s.calm(app, id); wait > 0 {
			return &Later{After: wait}
		}
		err := s.workOnce(ctx, app, id)
		if !errors.Is(err, errRecalled) {
			return err
		}
	}
}

// workOnce makes one attempt at a job. errRecalled means that another one is to be made at once.
func (s *Service) workOnce(ctx context.Context, app domain.AppID, id string) error {
	work, task, end, err := s.running.start(ctx, jobKey{app, id})
	if err != nil {
		return err
	}
	defer end()
	job, err := s.load(ctx, app, id)
	if errors.Is(err, CodeNotFound) {
		s.cfg.Logger.Warn("the queue holds an export that nobody ordered; dropped", "app", app, "job", id)
		return nil
	}
	if err != nil || job.Status.Finished() {
		return err
	}
	if job.isPast(s.cfg.Now()) {
		return unlessSettled(s.expire(ctx, job, reasonAge))
	}
	if job.attempts >= s.cfg.MaxAttempts {
		return s.fail(ctx, job, fmt.Errorf("the worker ended %d times before the file was finished", job.attempts))
	}
	s.running.identify(task, job)
	if seen, ok := s.index.get(app, id); ok && seen.Status.Finished() && seen.Rebuilds >= job.Rebuilds {
		return nil // it has just ended
	}
	began := s.cfg.Now()
	err = s.attempt(work, task, &job)
	stopped := context.Cause(work)
	end() // what is left of the attempt from here on is a leftover
	outcome, err := s.conclude(ctx, job, stopped, err)
	s.cfg.Observe(Attempt{Format: job.Spec.Format, Outcome: outcome, Took: s.cfg.Now().Sub(began), Rows: job.Rows, Bytes: job.Bytes})
	return err
}

// mostRecalls is how many attempts may be in vain because accounts were deleted. By then what is written would not be kept for long either.
const mostRecalls = 20

// takenOver tells whether another attempt has begun: the queue has taken this one for dead. That one may have removed what this one wrote.
func (s *Service) takenOver(ctx context.Context, job Job) bool {
	if job.startedBy == "" {
		return false
	}
	now, err := s.load(ctx, job.App, job.ID)
	return err == nil && now.Rebuilds == job.Rebuilds && now.startedBy != job.startedBy
}

// conclude tells what became of an attempt, and what the queue is told.
func (s *Service) conclude(ctx context.Context, job Job, stopped, err error) (AttemptOutcome, error) {
	var refused *domain.Rejection
	switch {
	case err == nil:
		return AttemptCompleted, nil
	case errors.Is(stopped, errTakenOver), errors.Is(err, errTakenOver), errors.Is(err, errSettled), stopped == nil && s.takenOver(ctx, job):
		return AttemptOver, nil // whoever did goes on with what there is
	case errors.Is(stopped, errOver):
		ctx = context.WithoutCancel(ctx)
		return AttemptOver, errors.Join(s.keepPromise(ctx, job.App, job.ID), s.removeParts(ctx, job))
	case ctx.Err() != nil:
		s.interrupt(ctx, job, reasonStopped)
		return AttemptRepeated, context.Cause(ctx)
	case errors.Is(stopped, errRecalled), errors.Is(err, errRecalled):
		if job.recalls++; job.recalls >= mostRecalls {
			return AttemptFailed, s.fail(ctx, job, errRecalled)
		}
		s.interrupt(ctx, job, reasonRecalled)
		s.dropParts(ctx, job)
		return AttemptRepeated, errRecalled
	case errors.As(err, &refused):
		return AttemptFailed, s.fail(ctx, job, err)
	case unavailable(err) && s.cfg.Now().Sub(job.queuedAt()) < s.cfg.MaxWait:
		s.interrupt(ctx, job, forPeople(err))
		if errors.Is(err, ErrStoreFull) {
			s.dropParts(ctx, job) // they are in the way of the file
		}
	case job.attempts >= s.cfg.MaxAttempts:
		return AttemptFailed, s.fail(ctx, job, err)
	}
	s.cfg.Logger.Warn("an export will be tried again", "app", job.App, "job", job.ID, "attempt", job.attempts, "error", err)
	return AttemptRepeated, fmt.Errorf("export %s: %w", job.ID, err)
}

// attempt does the whole job once.
func (s *Service) attempt(ctx context.Context, t *task, job *Job) error {
	job.attempts++
	started := s.event(Started, *job)
	started.Attempt, started.Position = job.attempts, job.Position
	err := s.tellOf(ctx, *job, func(Job) (Event, error) { return started, nil })
	switch {
	case errors.Is(err, errSettled): // what there is is not this attempt's to tidy
		return err
	case err != nil:
		return fmt.Errorf("%w: tell that the export starts: %w", errLog, err)
	}
	job.startedBy = started.ID
	before, parts, err := s.tidy(ctx, *job)
	if err != nil {
		return err
	}
	spec, err := s.selection(ctx, *job)
	if err != nil {
		return err
	}
	v, err := s.fix(ctx, t, *job, before, parts)
	if err != nil {
		return err
	}
	w, err := newFileWriter(ctx, s.cfg.Files, nameFile(job.Spec, job.ID, v), job.Spec, room{service: s, job: *job})
	if err != nil {
		return err
	}
	defer w.hush()
	w.version, w.started = v, started.Time
	if err = s.write(ctx, *job, spec, w, parts); err != nil {
		w.abort()
		return err
	}
	if err := s.complete(ctx, *job, w); err != nil {
		return err
	}
	job.Rows, job.Bytes = w.rows.Load(), w.bytes.Load()
	return nil
}

// fix decides which version of the file an attempt writes, that of the parts before where there are any, tells it, and waits for the list to be that far.
func (s *Service) fix(ctx context.Context, t *task, job Job, before version, parts int) (version, error) {
	// The end of the log is read after the job is known to run. What was deleted before it is not in
	// the file; of a deletion behind it Forget finds the running job.
	last, err := s.cfg.Log.Last(ctx)
	if err != nil {
		return version{}, fmt.Errorf("%w: read its end: %w", errLog, err)
	}
	now := max(uint64(last), job.minPosition, job.recalled)
	v := version{position: job.Position, erasedUntil: max(now, job.Position)}
	switch {
	case parts > 0:
		v = before
	case !job.Spec.AsOf.IsZero():
		v.position = job.Spec.AsOf.Position
	case job.Position < max(job.recalled, 1):
		v.position = now
	}
	s.running.write(t, v.erasedUntil)
	if seen, ok := s.index.get(job.App, job.ID); ok && seen.recalled > v.erasedUntil {
		return version{}, errRecalled // it was marked in between
	}
	if err := s.publishProgress(ctx, job, v, Progress{}); err != nil {
		return version{}, fmt.Errorf("%w: tell the position of the export: %w", errLog, err)
	}
	if err := s.cfg.Waiter.WaitFor(ctx, eventstore.Position(v.erasedUntil)); err != nil {
		return version{}, fmt.Errorf("%w: wait for it to reach position %d: %w", errList, v.erasedUntil, err)
	}
	return v, nil
}

// selection returns the spec of a job with what its filter searches for.
func (s *Service) selection(ctx context.Context, job Job) (Spec, error) {
	job, err := s.unseal(ctx, job)
	switch {
	case errors.Is(err, eventstore.ErrKeyDestroyed):
		return Spec{}, &domain.Rejection{Code: CodeFinished, Detail: "what the filter searches for is not known any more; order the export again"}
	case errors.Is(err, eventstore.ErrUnavailable):
		return Spec{}, fmt.Errorf("%w: %w", errLog, err)
	}
	return job.Spec, err
}

// write writes the accounts to a file, which is not committed yet. Those of parts come first.
func (s *Service) write(ctx context.Context, job Job, spec Spec, w *fileWriter, parts int) error {
	scan := scan{list: s.cfg.Accounts, past: s.cfg.Past, spec: spec, position: w.version.position, least: w.version.erasedUntil, rows: s.cfg.ChunkRows}
	for p, err := range s.kept(ctx, job, w.version, parts) {
		if err == nil {
			err = w.add(p.accounts)
		}
		if err != nil {
			return err
		}
		w.took(p)
		scan.after = p.last
	}
	w.skip()
	w.quiet = s.report(ctx, job, w)
	k := keeper{service: s, job: job, next: part{w.version, parts}, rows: s.cfg.PartRows}
	defer k.wait()
	for p, err := range scan.pieces(ctx) {
		if err == nil {
			err = w.add(p.accounts)
		}
		if err != nil {
			return err
		}
		w.took(p)
		k.add(ctx, p)
	}
	return w.enc.End()
}

// complete makes the file and its manifest readable and tells so, unless something has ended the job first or has it begin anew.
// The file is removed then.
func (s *Service) complete(ctx context.Context, job Job, w *fileWriter) error {
	if err := w.commit(); err != nil {
		return err
	}
	e := s.event(Completed, job)
	e.Spec.Format, e.Position, e.ErasedUntil = job.Spec.Format, w.version.position, w.version.erasedUntil
	expires := e.Time.Add(s.cfg.FileLife)
	if job.Rebuilds > 0 {
		expires = job.ExpiresAt
	}
	m := manifestOf(job, w, e.Time)
	links, err := s.describe(ctx, w.name, m, expires.Sub(e.Time))
	if err != nil {
		return errors.Join(err, s.settle(context.WithoutCancel(ctx), e, w.name))
	}
	e.Result = FileResult{
		Rows: m.Rows, Bytes: m.Bytes, SHA256: m.SHA256, DownloadURL: links.File, ManifestURL: links.Manifest, ExpiresAt: expires,
	}
	w.hush()
	told := s.tellCompleted(ctx, job, e)
	if errors.Is(told, errTakenOver) {
		return told // the other attempt removes or replaces the file
	}
	// The last word must be heard even when the job has just been stopped.
	ctx = context.WithoutCancel(ctx)
	if told != nil && !errors.Is(told, errSettled) && !errors.Is(told, errRecalled) {
		return s.settleUnknown(ctx, e, w.name, told)
	}
	if err := s.settle(ctx, e, w.name); err != nil || !errors.Is(told, errRecalled) {
		return err
	}
	return errRecalled
}

// tellCompleted tells that a job is completed. errRecalled when the file may hold an account that has been
// deleted meanwhile, errSettled when the job is over or its file is of a version that has been withdrawn, errTakenOver when another attempt has begun, which
// may have removed the file.
func (s *Service) tellCompleted(ctx context.Context, job Job, e Event) error {
	return s.tellOf(ctx, job, func(now Job) (Event, error) {
		switch {
		case now.startedBy != job.startedBy:
			return Event{}, errTakenOver
		case now.recalled > e.ErasedUntil:
			return Event{}, errRecalled
		}
		return e, nil
	})
}

// settleUnknown decides over a file whose completion may or may not have been told.
func (s *Service) settleUnknown(ctx context.Context, e Event, name FileName, cause error) error {
	now, err := s.load(ctx, e.App, e.Job)
	if err != nil || !now.Status.Finished() && now.Rebuilds == e.Rebuild {
		// The next attempt or a sweep finds the file.
		return fmt.Errorf("%w: tell that the export is completed: %w", errLog, cause)
	}
	return s.settle(ctx, e, name)
}

// settle removes the file that was written unless the job is completed with it.
func (s *Service) settle(ctx context.Context, e Event, name FileName) error {
	now, err := s.load(ctx, e.App, e.Job)
	if err != nil {
		return err
	}
	if now.mustErase() {
		return unlessSettled(s.erase(ctx, now, now.recalled))
	}
	if now.completedBy == e.ID || (now.Status == StatusCompleted && now.File() == name) {
		return errors.Join(s.keepPromise(ctx, e.App, e.Job), s.removeRest(ctx, now))
	}
	return s.remove(ctx, name)
}

// keepPromise makes a job that is completed but whose file is gone expire: an attempt that took the
// one that wrote it for dead may have removed it.
func (s *Service) keepPromise(ctx context.Context, app domain.AppID, id string) error {
	now, err := s.load(ctx, app, id)
	if err != nil || now.Status != StatusCompleted {
		return err
	}
	missing := 1
	if now.hasManifest {
		missing++
	}
	for f, err := range s.cfg.Files.All(ctx, app, id) {
		if err != nil {
			return fmt.Errorf("look for the file of export %s: %w", id, err)
		}
		if now.has(f.Name) {
			missing--
		}
	}
	if missing == 0 {
		return nil
	}
	again, err := s.load(ctx, app, id)
	if err != nil || again.latest != now.latest {
		return err // it has been removed with a reason
	}
	return unlessSettled(s.expire(ctx, now, reasonLost))
}

// interrupt tells that an attempt does not count.
func (s *Service) interrupt(ctx context.Context, job Job, reason string) {
	const patience = 2 * time.Second // a stop waits for it
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	e := s.event(Interrupted, job)
	e.Attempt, e.Recalls, e.Reason = job.attempts-1, job.recalls, reason
	if _, err := s.cfg.Events.Publish(ctx, e, Condition{}); err != nil {
		s.cfg.Logger.Warn("an interrupted attempt at an export counts, for it cannot be told", "app", job.App, "job", job.ID, "error", err)
	}
}

// fail ends a job for good. The error is worded for people in the event and told in full to the log.
func (s *Service) fail(ctx context.Context, job Job, cause error) error {
	reason := forPeople(cause)
	err := s.tellOf(ctx, job, func(now Job) (Event, error) {
		e := s.event(Failed, now)
		e.Reason = reason
		return e, nil
	})
	if err != nil && !errors.Is(err, errSettled) {
		return fmt.Errorf("tell that export %s failed: %w", job.ID, err)
	}
	if err := s.removeParts(ctx, job); err != nil {
		s.cfg.Logger.Warn("parts of an export are removed by the next sweep", "app", job.App, "job", job.ID, "error", err)
	}
	s.cfg.Logger.Error("an export failed", "app", job.App, "job", job.ID, "reason", reason, "error", cause)
	return nil
}
