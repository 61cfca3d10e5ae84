package export

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"rollcall/domain"
)

// keptIDs is how many user ids of a job are kept in memory. A longer selection is
// read again from the job's events when it is needed.
const keptIDs = 100

type jobKey struct {
	app domain.AppID
	id  string
}

// index holds the state of jobs in memory: all that are not over, have a
// file, or are among the newest of their application.
type index struct {
	limit    int
	keepsKey func(Job) bool

	mu       sync.Mutex
	jobs     map[jobKey]Job
	byApp    map[domain.AppID][]jobKey // oldest first
	sequence uint64                    // of the latest event applied
	latest   map[domain.AppID]uint64   // and of each application
	moved    chan struct{}             // closed when sequence moves
	ready    chan struct{}             // closed when all that there was at start is applied
	isOpen   bool
	spent    map[string]struct{} // keys of jobs that are over, which this instance has not destroyed yet
	counts   map[Kind]int        // of jobs
}

func newIndex(limit int, keepsKey func(Job) bool) *index {
	return &index{
		limit: limit, keepsKey: keepsKey, jobs: make(map[jobKey]Job), byApp: make(map[domain.AppID][]jobKey), latest: make(map[domain.AppID]uint64),
		moved: make(chan struct{}), ready: make(chan struct{}), spent: make(map[string]struct{}), counts: make(map[Kind]int),
	}
}

// apply folds an event into its job, which it returns.
func (x *index) apply(e Event) Job {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sequence = max(x.sequence, e.Sequence)
	x.latest[e.App] = max(x.latest[e.App], e.Sequence)
	close(x.moved)
	x.moved = make(chan struct{})
	k := jobKey{e.App, e.Job}
	before, known := x.jobs[k]
	j := before.fold(e)
	if j.ID == "" {
		return j
	}
	if j.keyID != "" {
		switch keeps := x.keepsKey(j); {
		case keeps: // it may have been completed before
			delete(x.spent, j.keyID)
		case x.keepsKey(before):
			x.spent[j.keyID] = struct{}{}
		}
	}
	if len(j.Spec.UserIDs) > keptIDs {
		j.Spec.UserIDs = nil
	}
	x.jobs[k] = j
	if known {
		x.count(before, -1)
	}
	x.count(j, 1)
	if !known {
		x.byApp[e.App] = append(x.byApp[e.App], k)
	}
	x.trim(e.App)
	return j
}

// trim forgets the oldest jobs beyond the limit that are over and have no file.
func (x *index) trim(app domain.AppID) {
	keys := x.byApp[app]
	over := len(keys) - x.limit
	if over <= 0 {
		return
	}
	x.byApp[app] = slices.DeleteFunc(keys, func(k jobKey) bool {
		st := x.jobs[k].Status
		if over == 0 || !st.Finished() || st == StatusCompleted {
			return false
		}
		over--
		x.count(x.jobs[k], -1)
		delete(x.jobs, k)
		return true
	})
}

// count adds to the number of jobs that are like one. x.mu is held.
func (x *index) count(like Job, n int) {
	k := Kind{Status: like.Status, Format: like.Spec.Format}
	if x.counts[k] += n; x.counts[k] == 0 {
		delete(x.counts, k)
	}
}

func (x *index) kinds() map[Kind]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.counts)
}

// latestOf returns the sequence of an application's latest event, and what is closed when there is another event of any.
func (x *index) latestOf(app domain.AppID) (latest uint64, moved <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.latest[app], x.moved
}

// unfinished returns jobs that are not over, those that are worked on first, then in the order in which they were ordered.
func (x *index) unfinished(limit int) (jobs []Job) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, j := range x.jobs {
		if !j.Status.Finished() {
			jobs = append(jobs, j)
		}
	}
	slices.SortFunc(jobs, func(a, b Job) int {
		return cmp.Or(-cmp.Compare(a.Status, b.Status), cmp.Compare(a.sequence, b.sequence)) // running, queued
	})
	return jobs[:min(limit, len(jobs))]
}

func (x *index) get(app domain.AppID, id string) (Job, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	j, ok := x.jobs[jobKey{app, id}]
	return j, ok
}

// spentKeys returns the keys that are to be destroyed.
func (x *index) spentKeys() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Collect(maps.Keys(x.spent))
}

// dropKeys notes that keys have been destroyed.
func (x *index) dropKeys(ids []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		delete(x.spent, id)
	}
}

// list returns jobs of an application, the newest first, of those that were ordered before the event of a
// sequence.
func (x *index) list(app domain.AppID, limit int, before uint64) (jobs []Job, more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	keys := x.byApp[app]
	end, _ := slices.BinarySearchFunc(keys, before, func(k jobKey, n uint64) int { return cmp.Compare(x.jobs[k].sequence, n) })
	for i := end - 1; i >= 0; i-- {
		if len(jobs) == limit {
			return jobs, true
		}
		jobs = append(jobs, x.jobs[keys[i]])
	}
	return jobs, false
}

// collect returns all jobs that the test lets through, of one application or of all when
// app is empty.
func (x *index) collect(app domain.AppID, test func(Job) bool) []Job {
	x.mu.Lock()
	defer x.mu.Unlock()
	var jobs []Job
	take := func(keys []jobKey) {
		for _, k := range keys {
			if j := x.jobs[k]; test(j) {
				jobs = append(jobs, j)
			}
		}
	}
	if app != "" {
		take(x.byApp[app])
		return jobs
	}
	for _, keys := range x.byApp {
		take(keys)
	}
	return jobs
}

func (x *index) applied() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sequence
}

// waitFor waits until the event of a sequence has been applied.
func (x *index) waitFor(ctx context.Context, sequence uint64) error {
	for {
		x.mu.Lock()
		reached, moved := x.sequence >= sequence, x.moved
		x.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (x *index) setReady() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.isOpen {
		x.isOpen = true
		close(x.ready)
	}
}

func (x *index) isReady() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.isOpen
}

func (x *index) waitReady(ctx context.Context) error {
	select {
	case <-x.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
