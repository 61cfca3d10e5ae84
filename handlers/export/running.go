package export

import (
	"context"
	"errors"
	"sync"
)

// running holds the jobs that this instance works on. The zero value is empty.
type running struct {
	mu   sync.Mutex
	jobs map[jobKey]*task
}

// task is one attempt at a job.
type task struct {
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the attempt has ended
	// erasedUntil is the position up to which the attempt leaves out what is deleted, zero while it has not begun to read;
	// guarded by running.mu. What earlier attempts left is gone when it is set.
	erasedUntil uint64
	// rebuild is the Rebuilds of the job, noJob while it has not been looked at; guarded by running.mu.
	rebuild int
}

const noJob = -1

// errOver ends the work on a job that is over, such as by a cancellation.
var errOver = errors.New("the export is over")

// errTakenOver ends an attempt at a job that the queue has handed out again.
var errTakenOver = errors.New("the export is worked on by another attempt")

// errRecalled ends an attempt that may have written an account which has been deleted meanwhile.
var errRecalled = errors.New("an account that the file may hold has been deleted")

// start notes that a job is worked on until end is called, any number of times. A job that the
// queue gives out a second time is left by the one who worked on it, which start waits for.
func (r *running) start(ctx context.Context, k jobKey) (work context.Context, t *task, end func(), err error) {
	work, cancel := context.WithCancelCause(ctx)
	t = &task{cancel: cancel, done: make(chan struct{}), rebuild: noJob}
	for before := r.enter(k, t); before != nil; before = r.enter(k, t) {
		before.cancel(errTakenOver)
		select {
		case <-before.done:
		case <-ctx.Done():
			cancel(nil)
			return nil, nil, nil, context.Cause(ctx)
		}
	}
	return work, t, sync.OnceFunc(func() {
		cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.jobs, k)
		close(t.done)
	}), nil
}

// enter puts a task in unless the job has one, which it returns.
func (r *running) enter(k jobKey, t *task) (before *task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := r.jobs[k]; before != nil {
		return before
	}
	if r.jobs == nil {
		r.jobs = make(map[jobKey]*task)
	}
	r.jobs[k] = t
	return nil
}

// count returns how many jobs are worked on.
func (r *running) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.jobs)
}

// write notes that all files of the job that is worked on are of this attempt, and what it leaves out.
func (r *running) write(t *task, erasedUntil uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.erasedUntil = erasedUntil
}

// writes tells whether the files of a job are being written by this instance.
func (r *running) writes(k jobKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.jobs[k]
	return t != nil && t.erasedUntil > 0
}

// identify notes which job is worked on.
func (r *running) identify(t *task, j Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.rebuild = j.Rebuilds
}

// stop ends the work on a job that is over, but not on one whose file is rebuilt since. Who has not looked at it yet sees that it is over.
func (r *running) stop(j Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.jobs[jobKey{j.App, j.ID}]; t != nil && t.rebuild != noJob && t.rebuild <= j.Rebuilds {
		t.cancel(errOver)
	}
}

// recall ends an attempt at a job that does not leave out all that was deleted, and returns what is closed when it has ended. One that has not begun to
// read will; nil is returned then.
func (r *running) recall(j Job) (ended <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.jobs[jobKey{j.App, j.ID}]
	if t == nil || t.erasedUntil == 0 || t.erasedUntil >= j.recalled {
		return nil
	}
	t.cancel(errRecalled)
	return t.done
}
