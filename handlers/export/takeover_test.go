package export_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// workOn works on a job as the queue's lane does, again and again until the queue is done with it.
func (in *instance) workOn(t testing.TB, job string) (ended <-chan error) {
	done := make(chan error, 1)
	background(t, func(ctx context.Context) error {
		err := in.Work(ctx, app, job)
		for err != nil && ctx.Err() == nil {
			err = in.Work(ctx, app, job)
		}
		done <- err
		return nil
	})
	return done
}

func TestOfTwoWorkersThatTheQueueGaveAJobTheLatterFinishesIt(t *testing.T) {
	for name, part := range map[string]int{"without parts": 0, "with parts": 50} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1000)
			w.chunk, w.part = 20, part
			reached, release := w.list.hold(600)
			a, b := w.start(t), w.start(t)
			job := a.order(t, "cmd", export.Spec{})
			first := a.workOn(t, job.ID)
			<-reached
			second := b.workOn(t, job.ID)
			eventually(t, "the second attempt has begun", func() bool {
				events, err := a.exports.Load(t.Context(), app, job.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					if e.Type == export.Started && e.Attempt == 2 {
						return true
					}
				}
				return false
			})
			release()
			for _, ended := range []<-chan error{first, second} {
				if err := <-ended; err != nil {
					t.Errorf("a worker ends with %v", err)
				}
			}
			done := a.await(t, job.ID, export.StatusCompleted)
			links, err := a.Link(t.Context(), done)
			if err != nil {
				t.Fatal(err)
			}
			if _, body := download(t, links.File); strings.Count(body, "\n") != 1000 {
				t.Errorf("the file has %d lines", strings.Count(body, "\n"))
			}
			if err := a.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.await(t, job.ID, export.StatusCompleted)
		})
	}
}

func TestAWorkerThatTheQueueGivesAJobAgainGoesOnFromItsParts(t *testing.T) {
	w := inParts(t, 1000)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	reached, release := w.list.holdIf(func(id domain.UserID) bool { return id >= "u000600" })
	first := in.workOn(t, job.ID)
	<-reached
	eventually(t, "it has parts", func() bool { return len(in.partsOf(t, job.ID)) >= 10 })
	w.list.given.Store(0)
	second := in.workOn(t, job.ID)
	if err := <-first; err != nil {
		t.Errorf("the first attempt ends with %v", err)
	}
	release()
	if err := <-second; err != nil {
		t.Errorf("the second attempt ends with %v", err)
	}
	done := in.await(t, job.ID, export.StatusCompleted)
	if read := w.list.given.Load(); done.Rows != 1000 || read > 550 {
		t.Errorf("the file has %d rows, and %d were read again", done.Rows, read)
	}
}

func TestAnAttemptThatTheQueueTookForDeadIsNotCompletedWithADeletedAccount(t *testing.T) {
	w := newWorld(t, 10)
	a, b := w.start(t), w.start(t)
	var readers atomic.Int64
	reachedA, reachedB, open := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w.list.gate = func(ctx context.Context, id domain.UserID) {
		if id != "u000000" {
			return
		}
		switch readers.Add(1) {
		case 1:
			close(reachedA)
		case 2:
			close(reachedB)
		default:
			return
		}
		select {
		case <-open:
		case <-ctx.Done():
		}
	}
	job := a.order(t, "cmd", export.Spec{})
	first := a.workOn(t, job.ID)
	<-reachedA // with the account that is deleted now
	deleted := w.list.remove("u000009")
	second := b.workOn(t, job.ID)
	<-reachedB // it leaves the account out
	if err := b.Forget(t.Context(), app, export.Deletion{User: "u000009", Position: deleted}); err != nil {
		t.Fatal(err)
	}
	close(open)
	for _, ended := range []<-chan error{first, second} {
		if err := <-ended; err != nil {
			t.Errorf("a worker ends with %v", err)
		}
	}
	done := a.await(t, job.ID, export.StatusCompleted)
	links, err := a.Link(t.Context(), done)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := download(t, links.File); strings.Contains(body, "u000009") || done.Rows != 9 {
		t.Errorf("%d rows: %s", done.Rows, body)
	}
}

func TestNothingIsLeftOfARecalledAttemptWhenItsAccountIsForgotten(t *testing.T) {
	w := inParts(t, 1000)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	reached, release := w.list.holdIf(func(id domain.UserID) bool { return id >= "u000600" })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Work(ctx, app, job.ID) }()
	<-reached
	deleted := w.list.remove("u000001")
	if err := in.Forget(t.Context(), app, export.Deletion{User: "u000001", Position: deleted}); err != nil {
		t.Fatal(err)
	}
	for _, name := range in.stored(t) {
		if strings.Contains(name, "-1001-1001") || strings.Contains(name, "accounts-shop-1001.") {
			t.Errorf("%s is left", name)
		}
	}
	stop()
	release()
	<-ended
}

func TestAnExportWhoseAccountsAreDeletedFasterThanItIsWrittenFailsAndSaysWhy(t *testing.T) {
	w := newWorld(t, 100)
	w.chunk = 10
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	reads := make(chan struct{})
	w.list.gate = func(ctx context.Context, id domain.UserID) {
		if id != "u000050" {
			return
		}
		select {
		case reads <- struct{}{}:
		case <-ctx.Done():
			return
		}
		<-ctx.Done()
	}
	ended := in.workOn(t, job.ID)
	for {
		select {
		case <-reads:
			id := w.list.last()
			if err := in.Forget(t.Context(), app, export.Deletion{User: id, Position: w.list.remove(id)}); err != nil {
				t.Fatal(err)
			}
			continue
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		}
		break
	}
	if failed := in.await(t, job.ID, export.StatusFailed); failed.Reason() != "accounts_deleted_too_often" {
		t.Errorf("it failed with %q, %s", failed.Reason(), failed.Error)
	}
	if left := in.stored(t); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}
