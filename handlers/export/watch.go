package export

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strconv"

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
	return s.show(ctx, app, id)
}

// List returns jobs of an application, the newest first: at most limit of them, 1 to
// MaxListLimit, behind the cursor of the page before, from the newest on when it is
// empty. Next is the cursor of the next page, empty at the end. It waits until the jobs are known
// after a start.
//
// Errors: *domain.Rejection with the code invalid_cursor, or what unseals filters.
func (s *Service) List(ctx context.Context, app domain.AppID, limit int, cursor string) (jobs []Job, next string, err error) {
	before, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	if err := s.index.waitReady(ctx); err != nil {
		return nil, "", err
	}
	jobs, more := s.index.list(app, min(max(limit, 1), MaxListLimit), before)
	for i := range jobs {
		if jobs[i], err = s.reveal(ctx, jobs[i]); err != nil {
			return nil, "", err
		}
	}
	if more {
		next = formatCursor(jobs[len(jobs)-1].sequence)
	}
	return jobs, next, nil
}

// Changed waits until a job of an application changes behind a sequence of its events, and returns the sequence of the latest then. Errors: the context's.
func (s *Service) Changed(ctx context.Context, app domain.AppID, behind uint64) (uint64, error) {
	for {
		latest, moved := s.index.latestOf(app)
		if latest > behind {
			return latest, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Latest returns the sequence of an application's latest event, zero when there is none. What List returns after it shows that event.
func (s *Service) Latest(app domain.AppID) uint64 {
	latest, _ := s.index.latestOf(app)
	return latest
}

// Unfinished returns at most limit jobs of all applications that are not over: those that are worked on, then those that wait the longest. What their
// filters search for is left out.
func (s *Service) Unfinished(limit int) []Job { return s.index.unfinished(limit) }

// Kind is what jobs are counted by.
type Kind struct {
	Status Status
	Format Format
}

// Counts returns how many jobs are known of each kind that there is: all that are not over or have a file, and the newest of the others.
func (s *Service) Counts() map[Kind]int { return s.index.kinds() }

// Running returns how many jobs this instance works on.
func (s *Service) Running() int { return s.running.count() }

// cursorDigits is the length of a cursor, that of an id.
const cursorDigits = 26

// formatCursor returns the cursor of the page behind the job that was ordered by the event of a
// sequence. Unlike the job's id it has its place even when the job has gone from the list.
func formatCursor(sequence uint64) string { return fmt.Sprintf("%0*d", cursorDigits, sequence) }

// parseCursor undoes formatCursor; an empty cursor is behind no job.
func parseCursor(cursor string) (uint64, error) {
	if cursor == "" {
		return math.MaxUint64, nil
	}
	sequence, err := strconv.ParseUint(cursor, 10, 64)
	if err != nil || cursor != formatCursor(sequence) {
		return 0, &domain.Rejection{Code: CodeInvalidCursor, Detail: "the cursor is not one that this list gave; begin again without one"}
	}
	return sequence, nil
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
			// What has happened before may include the completion of a file that has been withdrawn since.
			if !yield(e, nil) || seen.Status.Finished() && e.Sequence > job.latest {
				return
			}
		}
	}
}

// replay yields the events of a job that is over, but for those that came too late to count.
func (s *Service) replay(ctx context.Context, app domain.AppID, id string, yield func(Event, error) bool) {
	events, err := s.cfg.Events.Load(ctx, app, id)
	if err != nil {
		yield(Event{}, err)
		return
	}
	for _, e := range events {
		if e.Counts(events) && !yield(e, nil) {
			return
		}
	}
}
