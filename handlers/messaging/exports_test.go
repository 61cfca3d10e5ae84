package messaging_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/handlers/export"
	"rollcall/handlers/messaging"
)

func openExports(t testing.TB, js jetstream.JetStream) *messaging.Exports {
	t.Helper()
	x, err := messaging.OpenExports(t.Context(), js, 1)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func exportEvent(job string, typ export.EventType) export.Event {
	return export.Event{
		ID: ulid.Make().String(), Type: typ, App: "shop", Job: job, Time: time.Now().UTC(), Actor: "alice", CommandID: "cmd", CausationID: "cmd",
		Spec:   export.Spec{App: "shop", Format: export.CSV, Compression: export.NoCompression, Fields: []domain.Field{domain.FieldUserID}},
		Result: export.FileResult{ExpiresAt: time.Now().UTC()},
	}
}

func publish(t testing.TB, x *messaging.Exports, e export.Event, once bool) uint64 {
	t.Helper()
	var condition export.Condition
	if once {
		condition = export.First()
	}
	n, err := x.Publish(t.Context(), e, condition)
	if err != nil {
		t.Fatalf("publish %s: %v", e.Type, err)
	}
	return n
}

func TestAnEventThatCanHappenOnceIsStoredOnce(t *testing.T) {
	x := openExports(t, newNode(t).connect(t))
	job := ulid.Make().String()
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := x.Publish(t.Context(), exportEvent(job, export.Completed), export.First())
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, export.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 20 completions were stored", won.Load())
	}
}

func TestAnEventThatFollowsTheLatestOfAllIsRefusedOnceAnyOtherIsThere(t *testing.T) {
	x := openExports(t, newNode(t).connect(t))
	job, other := ulid.Make().String(), ulid.Make().String()
	last := publish(t, x, exportEvent(job, export.Requested), true)
	end := publish(t, x, exportEvent(other, export.Progressed), false)
	if _, err := x.Publish(t.Context(), exportEvent(job, export.Completed), export.AtEnd(last)); !errors.Is(err, export.ErrConflict) {
		t.Errorf("without knowing of the latest event: %v", err)
	}
	if n, err := x.Publish(t.Context(), exportEvent(job, export.Completed), export.AtEnd(end)); err != nil || n != end+1 {
		t.Errorf("knowing of it: %d, %v", n, err)
	}
}

func TestTheEventsOfAJobAreLoadedInOrderTheLatestOfEachType(t *testing.T) {
	x := openExports(t, newNode(t).connect(t))
	job, other := ulid.Make().String(), ulid.Make().String()
	if events, err := x.Load(t.Context(), "shop", job); err != nil || len(events) != 0 {
		t.Fatalf("a job that nobody ordered has %v, %v", events, err)
	}
	publish(t, x, exportEvent(job, export.Requested), true)
	publish(t, x, exportEvent(other, export.Requested), true)
	var last uint64
	for range 3 {
		last = publish(t, x, exportEvent(job, export.Progressed), false)
	}
	done := publish(t, x, exportEvent(job, export.Completed), true)
	events, err := x.Load(t.Context(), "shop", job)
	if err != nil || len(events) != 3 || events[1].Sequence != last || events[2].Sequence != done {
		t.Errorf("loaded %+v, %v", events, err)
	}
	if n, err := x.Last(t.Context()); err != nil || n != done {
		t.Errorf("the last is %d, %v", n, err)
	}
}

func TestFollowingGivesEventsPastAndToCome(t *testing.T) {
	x := openExports(t, newNode(t).connect(t))
	job, other := ulid.Make().String(), ulid.Make().String()
	publish(t, x, exportEvent(job, export.Requested), true)
	publish(t, x, exportEvent(other, export.Requested), true)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []export.EventType
	for e, err := range x.Follow(ctx, 0, "shop", job) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.Type); e.Type == export.Completed {
			break
		}
		if e.Type == export.Requested {
			publish(t, x, exportEvent(other, export.Failed), true)
			publish(t, x, exportEvent(job, export.Completed), true)
		}
	}
	if fmt.Sprint(got) != "[requested completed]" {
		t.Errorf("followed %v", got)
	}
	cancel()
	for _, err := range x.Follow(ctx, 0, "", "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of its context it gives %v", err)
		}
	}
}

func TestAJobIsInTheQueueAtMostOnceForEachRebuild(t *testing.T) {
	js := newNode(t).connect(t)
	x := openExports(t, js)
	stream, err := js.Stream(t.Context(), messaging.StreamExportJobs)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, job := range []string{"a", "b"} {
			for rebuild := range 2 {
				if err := x.Enqueue(t.Context(), "shop", job, rebuild); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n := left(t, stream); n != 4 {
		t.Errorf("the queue holds %d jobs, want 4", n)
	}
}

func TestAWorkerDoesAsManyJobsAtOnceAsItIsToldAndDropsWhatIsNone(t *testing.T) {
	js := newNode(t).connect(t)
	x := openExports(t, js)
	if _, err := js.Publish(t.Context(), "accounts.exportjob.shop.odd", []byte("{")); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		if err := x.Enqueue(t.Context(), "shop", fmt.Sprint(i), 0); err != nil {
			t.Fatal(err)
		}
	}
	var now, most, done atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	both := make(chan struct{})
	meet := sync.OnceFunc(func() { close(both) })
	wg.Go(func() {
		err := x.RunExportWorker(ctx, messaging.ExportWorkerConfig{
			Concurrency: 2,
			Work: func(ctx context.Context, app domain.AppID, job string) error {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				if n == 2 {
					meet()
				}
				select {
				case <-both: // the first two meet here
				case <-ctx.Done():
				}
				done.Add(1)
				return nil
			},
		})
		if err != nil {
			t.Error(err)
		}
	})
	stream, err := js.Stream(t.Context(), messaging.StreamExportJobs)
	if err != nil {
		t.Fatal(err)
	}
	// A stop between a job's end and its acknowledgement gives the job back.
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
	cancel()
	wg.Wait()
	if done.Load() != 6 || most.Load() != 2 {
		t.Errorf("%d jobs were done, %d at once, want 6 and 2", done.Load(), most.Load())
	}
}

func TestAWorkerThatStopsCancelsItsJobAndGivesItBack(t *testing.T) {
	js := newNode(t).connect(t)
	x := openExports(t, js)
	if err := x.Enqueue(t.Context(), "shop", "job", 0); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		begun := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			err := x.RunExportWorker(ctx, messaging.ExportWorkerConfig{Work: func(ctx context.Context, _ domain.AppID, _ string) error {
				close(begun)
				<-ctx.Done()
				return ctx.Err()
			}})
			if err != nil {
				t.Error(err)
			}
		})
		select {
		case <-begun: // the second round shows that the job came back at once
		case <-time.After(patience / 2):
			t.Errorf("round %d: the job did not come", round)
		}
		cancel()
		wg.Wait()
	}
}

func TestAWorkerThatCannotBeginTriesAgain(t *testing.T) {
	js := newNode(t).connect(t)
	x := openExports(t, js)
	if err := js.DeleteStream(t.Context(), messaging.StreamExportJobs); err != nil {
		t.Fatal(err)
	}
	refused, done := make(chan struct{}), make(chan struct{})
	logger := slog.New(slog.NewTextHandler(&onWrite{do: sync.OnceFunc(func() { close(refused) })}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := x.RunExportWorker(ctx, messaging.ExportWorkerConfig{
			RetryAfter: time.Millisecond, MaxRetryAfter: 10 * time.Millisecond, Logger: logger,
			Work: func(context.Context, domain.AppID, string) error {
				close(done)
				return nil
			},
		})
		if err != nil {
			t.Error(err)
		}
	})
	await := func(what string, c <-chan struct{}) {
		select {
		case <-c:
		case <-time.After(patience):
			t.Errorf("did not happen within %v: %s", patience, what)
		}
	}
	await("the worker cannot begin", refused)
	if err := openExports(t, js).Enqueue(t.Context(), "shop", "job", 0); err != nil {
		t.Error(err)
	}
	await("the job is done", done)
	cancel()
	wg.Wait()
}

// onWrite does something when it is written to.
type onWrite struct{ do func() }

func (w *onWrite) Write(b []byte) (int, error) {
	w.do()
	return len(b), nil
}

func TestAStreamThatIsSetUpOtherwiseIsRefused(t *testing.T) {
	js := newNode(t).connect(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: messaging.StreamExports, Subjects: []string{"accounts.export.>"}, MaxAge: time.Hour, MaxMsgSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	_, err = messaging.OpenExports(t.Context(), js, 1)
	if !errors.Is(err, messaging.ErrStream) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"max_age is 1h0m0s", "max_msg_size is 100"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say that %s: %v", want, err)
		}
	}
}
