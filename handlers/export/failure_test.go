package export_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// attempts is the MaxAttempts of instances.
const attempts = 4

// refusing is a file store that begins no file.
type refusing struct {
	export.Files
	cause error // nil when it is not known
}

func (r refusing) Create(context.Context, export.FileName) (export.Upload, error) {
	return nil, errors.Join(r.cause, errors.New("secret.place refuses secret"))
}

func refuse(cause error) func(*world) {
	return func(w *world) {
		w.wrap = func(f export.Files) export.Files { return refusing{f, cause} }
	}
}

// stale is a list that is not where it said it was.
type stale struct{ export.Accounts }

func (stale) Chunk(context.Context, domain.Stretch) (domain.Chunk, error) { return domain.Chunk{}, nil }

func TestAFailureForGoodSaysWhyInAFixedSentence(t *testing.T) {
	for want, set := range map[string]func(*world){
		"the account list is not available": func(w *world) {
			w.list.failures = slices.Repeat([]error{errors.New("sqlite: secret.place is locked")}, attempts)
		},
		"the file store is not available":                          refuse(nil),
		"the file store has no space left":                         refuse(export.ErrStoreFull),
		"the file store cannot be reached":                         refuse(export.ErrStoreAway),
		"the service has no credentials that the file store takes": refuse(export.ErrStoreRefuses),
		"the file store has no such bucket":                        refuse(export.ErrNoBucket),
	} {
		t.Run(want, func(t *testing.T) {
			w := newWorld(t, 3)
			set(w)
			in := w.start(t)
			job := in.order(t, "cmd", export.Spec{})
			w.clock.advance(export.DefaultMaxWait) // attempts count from here on
			in.work(t)
			job = in.await(t, job.ID, export.StatusFailed)
			if job.Error != want || job.FinishedAt.IsZero() {
				t.Errorf("failed with %q at %v", job.Error, job.FinishedAt)
			}
			if log := in.log.String(); !strings.Contains(log, "secret") {
				t.Errorf("the log does not tell the cause: %s", log)
			}
			if names := in.stored(t); len(names) != 0 {
				t.Errorf("files are left: %v", names)
			}
		})
	}
	t.Run("when the list has gone back", func(t *testing.T) {
		w := newWorld(t, 3)
		w.scan = stale{w.list}
		in := w.start(t)
		job := in.order(t, "cmd", export.Spec{})
		w.clock.advance(export.DefaultMaxWait)
		in.work(t)
		if job = in.await(t, job.ID, export.StatusFailed); job.Error != "the account list is not available" || !strings.Contains(in.log.String(), "shows position 0") {
			t.Errorf("failed with %q; the log tells %s", job.Error, in.log)
		}
	})
	t.Run("at once when it is refused", func(t *testing.T) {
		w := newWorld(t, 3)
		in := w.start(t)
		in.work(t)
		w.list.failures = []error{&domain.Rejection{Code: domain.CodeAppNotFound, Detail: "the application is gone"}}
		job := in.await(t, in.order(t, "gone", export.Spec{}).ID, export.StatusFailed)
		if job.Error != "the application is gone" {
			t.Errorf("failed with %q", job.Error)
		}
	})
}

func TestAJobOutlivesAnyNumberOfOutages(t *testing.T) {
	w := newWorld(t, 3)
	w.list.failures = slices.Repeat([]error{errors.New("the list is away")}, 3*attempts)
	in := w.start(t)
	in.work(t)
	if job := in.await(t, in.order(t, "cmd", export.Spec{}).ID, export.StatusCompleted); job.Rows != 3 {
		t.Errorf("%d rows", job.Rows)
	}
}

func TestAJobOutlivesAnyNumberOfStops(t *testing.T) {
	w := newWorld(t, 10)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	for range 2 * attempts {
		ctx, stop := context.WithCancel(t.Context())
		reached, release := w.list.hold(2)
		ended := make(chan error)
		go func() { ended <- in.Work(ctx, app, job.ID) }()
		<-reached
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a stopped attempt gives %v", err)
		}
		release()
		in.await(t, job.ID, export.StatusQueued)
	}
	in.work(t)
	if job := in.await(t, job.ID, export.StatusCompleted); job.Rows != 10 {
		t.Errorf("%d rows", job.Rows)
	}
}

func TestAWorkerThatDiesAgainAndAgainFailsItsJob(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	for n := range attempts { // what processes that were killed have left
		e := export.Event{ID: fmt.Sprint("start-", n), Type: export.Started, App: app, Job: job.ID, Time: time.Now(), Attempt: n + 1}
		if _, err := in.exports.Publish(t.Context(), e, export.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	in.work(t)
	in.await(t, job.ID, export.StatusFailed)
}
