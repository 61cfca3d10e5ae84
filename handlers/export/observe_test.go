package export_test

import (
	"errors"
	"maps"
	"sync"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// attemptsSeen collects what an Observe was told.
type attemptsSeen struct {
	mu  sync.Mutex
	all []export.Attempt
}

func (s *attemptsSeen) observe(a export.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, a)
}

// of returns how many attempts had an outcome, and the last of them.
func (s *attemptsSeen) of(outcome export.AttemptOutcome) (n int, last export.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.all {
		if a.Outcome == outcome {
			n, last = n+1, a
		}
	}
	return n, last
}

func TestEachAttemptIsToldWithWhatBecameOfIt(t *testing.T) {
	var seen attemptsSeen
	w := newWorld(t, 3)
	w.observe = seen.observe
	w.list.failures = []error{errors.New("a hiccup")}
	in := w.start(t)
	in.work(t)
	job := in.await(t, in.order(t, "one", export.Spec{Format: export.CSV}).ID, export.StatusCompleted)
	w.list.mu.Lock()
	w.list.failures = []error{&domain.Rejection{Code: domain.CodeAppNotFound, Detail: "the application is gone"}}
	w.list.mu.Unlock()
	in.await(t, in.order(t, "two", export.Spec{}).ID, export.StatusFailed)
	eventually(t, "three attempts are told of", func() bool {
		failed, _ := seen.of(export.AttemptFailed)
		repeated, _ := seen.of(export.AttemptRepeated)
		completed, _ := seen.of(export.AttemptCompleted)
		return failed == 1 && repeated == 1 && completed == 1
	})
	if _, a := seen.of(export.AttemptCompleted); a.Rows != job.Rows || a.Bytes != job.Bytes || a.Format != export.CSV {
		t.Errorf("the completed attempt is told as %+v, the job is %+v", a, job)
	}
	if in.Running() != 0 {
		t.Errorf("%d jobs are worked on though all are over", in.Running())
	}
}

func TestAnAttemptAtAJobThatIsCancelledIsOver(t *testing.T) {
	var seen attemptsSeen
	w := newWorld(t, 5000)
	w.observe = seen.observe
	reached, release := w.list.hold(2000)
	defer release()
	in := w.start(t)
	in.work(t)
	job := in.order(t, "cmd", export.Spec{})
	<-reached
	if in.Running() != 1 {
		t.Errorf("%d jobs are worked on, want 1", in.Running())
	}
	if _, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "bob"}, app, job.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the attempt is over", func() bool { n, _ := seen.of(export.AttemptOver); return n == 1 })
}

func TestJobsAreCountedByStatusAndFormat(t *testing.T) {
	w := newWorld(t, 3)
	w.listed = 1
	in, other := w.start(t), w.start(t)
	csv := in.order(t, "csv", export.Spec{Format: export.CSV})
	in.order(t, "ndjson", export.Spec{})
	check := func(what string, want map[export.Kind]int) {
		t.Helper()
		for _, i := range []*instance{in, other} {
			eventually(t, what, func() bool { return maps.Equal(i.Counts(), want) })
		}
	}
	check("two are queued", map[export.Kind]int{{export.StatusQueued, export.CSV}: 1, {export.StatusQueued, export.NDJSON}: 1})
	if _, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "bob"}, app, csv.ID); err != nil {
		t.Fatal(err)
	}
	check("the cancelled one, beyond what is listed, is gone", map[export.Kind]int{{export.StatusQueued, export.NDJSON}: 1})
	in.work(t)
	check("the other is completed", map[export.Kind]int{{export.StatusCompleted, export.NDJSON}: 1})
}
