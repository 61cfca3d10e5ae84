package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// OnDelete tells what becomes of a completed export whose file may hold an account that has been deleted since. The file is removed at once either way.
type OnDelete string

// What may become of it.
const (
	Remove  OnDelete = "remove"  // the export expires
	Rebuild OnDelete = "rebuild" // it is queued again, for a file without the account, which lives as long as the first would have
)

// erase removes the file of a completed job that may hold an account which was deleted at a position, and has it rebuilt where that is the
// setting and can be. errSettled means that the job is not as it was: look at it again.
func (s *Service) erase(ctx context.Context, j Job, deletedAt uint64) error {
	if s.cfg.OnDelete != Rebuild || !s.cfg.Now().Before(j.ExpiresAt) {
		return s.expire(ctx, j, reasonErased)
	}
	if _, err := s.unsealText(ctx, j); errors.Is(err, eventstore.ErrKeyDestroyed) {
		return s.expire(ctx, j, reasonErased) // it was completed when that was not the setting
	}
	return s.withdraw(ctx, j, deletedAt)
}

// withdraw removes the file of a completed job and queues the job. It tells so first, so that nobody takes the file for lost, but an
// erasure does not wait for that.
func (s *Service) withdraw(ctx context.Context, j Job, deletedAt uint64) error {
	rebuild := j.Rebuilds + 1
	_, err := s.tell(ctx, j.App, j.ID, func(now Job) (Event, error) {
		if now.Status != StatusCompleted || now.Rebuilds != j.Rebuilds {
			return Event{}, errSettled
		}
		e := s.event(Withdrawn, now)
		e.Rebuild, e.Position, e.Reason = rebuild, max(now.recalled, deletedAt), reasonErased
		return e, nil
	})
	if err != nil {
		err = fmt.Errorf("tell that the file of export %s is withdrawn: %w", j.ID, err)
	} else if err := s.cfg.Queue.Enqueue(ctx, j.App, j.ID, rebuild); err != nil {
		// A job whose event is written but that is not in the queue is put there by the next sweep.
		s.cfg.Logger.Warn("an export waits for the next sweep to be queued", "app", j.App, "job", j.ID, "error", err)
	}
	if removed := s.remove(ctx, j.File()); removed != nil {
		err = errors.Join(err, fmt.Errorf("remove the file of export %s: %w", j.ID, removed))
	}
	return err
}

// eraseLogged is erase for a job that is met on the way.
func (s *Service) eraseLogged(ctx context.Context, j Job) {
	if err := unlessSettled(s.erase(ctx, j, j.recalled)); err != nil && ctx.Err() == nil {
		s.cfg.Logger.Warn("a file is removed by the next sweep", "app", j.App, "job", j.ID, "error", err)
	}
}

// keepsKey tells whether what the job's filter searches for may still be needed.
func (o OnDelete) keepsKey(j Job) bool {
	return !j.Status.Finished() || o == Rebuild && j.Status == StatusCompleted
}

// withdrawn is what a job that is being rebuilt had before.
type withdrawn struct {
	version version
	bytes   int64
	at      time.Time
}

// unrest is a time in which accounts that a job's file may hold are deleted, and no attempt has begun since.
type unrest struct{ since, latest time.Time }

func (u *unrest) note(at time.Time) {
	if u.since.IsZero() {
		u.since = at
	}
	u.latest = at
}

// mostCalms is how many times the calm that is waited for an attempt is put off at most.
const mostCalms = 15

// calm returns for how long an attempt at a job waits for deletions to come to an end, so that many in a row are heeded by one file.
func (s *Service) calm(app domain.AppID, id string) time.Duration {
	j, _ := s.index.get(app, id)
	if j.unrest.since.IsZero() {
		return 0
	}
	until := j.unrest.latest.Add(s.cfg.Calm)
	if last := j.unrest.since.Add(mostCalms * s.cfg.Calm); last.Before(until) {
		until = last
	}
	return until.Sub(s.cfg.Now())
}
