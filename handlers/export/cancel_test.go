package export_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// cancel cancels a job and checks that it is at once.
func (in *instance) cancel(t testing.TB, job string) {
	t.Helper()
	if got, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "bob"}, app, job); err != nil || got.Status != export.StatusCancelled {
		t.Errorf("cancel: %+v, %v", got, err)
	}
}

// awaitNothing waits until nothing is in the store, and then until nobody works on anything.
func awaitNothing(t testing.TB, instances ...*instance) {
	t.Helper()
	eventually(t, "nothing is left", func() bool { return len(instances[0].stored(t)) == 0 })
	for _, in := range instances {
		eventually(t, "nobody works", func() bool { return in.Running() == 0 })
	}
	if names := instances[0].stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
}

func TestCancellingARunningExportEndsItAtOnceAndLeavesNoFile(t *testing.T) {
	for _, format := range export.Formats() {
		for _, asked := range []string{"the instance that works", "another"} {
			t.Run(string(format)+" by "+asked, func(t *testing.T) {
				t.Parallel()
				w := inParts(t, 1000)
				reached, release := w.list.holdIf(func(id domain.UserID) bool { return id >= "u000700" })
				defer release()
				in := w.start(t)
				told := in
				if asked == "another" {
					told = w.start(t)
				}
				in.work(t)
				job := in.order(t, "cmd", export.Spec{Format: format})
				<-reached
				if len(in.partsOf(t, job.ID)) == 0 {
					t.Error("no part is kept")
				}
				told.cancel(t, job.ID)
				awaitNothing(t, in) // while the list still holds the reader
				told.cancel(t, job.ID)
				events := in.watch(t, job.ID)
				if last := events[len(events)-1]; last.Type != export.Cancelled || last.Actor != "bob" {
					t.Errorf("the last event is %+v", last)
				}
				release()
				next := in.await(t, in.order(t, "next", export.Spec{}).ID, export.StatusCompleted)
				if _, err := in.Cancel(t.Context(), export.Request{ID: "late", Actor: "bob"}, app, next.ID); !errors.Is(err, export.CodeFinished) {
					t.Errorf("cancelling a completed export gives %v", err)
				}
			})
		}
	}
}

func TestACancellationThatComesWhenTheFileIsThereLeavesNone(t *testing.T) {
	t.Parallel()
	w := inParts(t, 1000)
	other := w.start(t)
	var job export.Job
	var once sync.Once
	w.wrap = func(f export.Files) export.Files {
		return beforeManifest{f, func() { once.Do(func() { other.cancel(t, job.ID) }) }}
	}
	for _, hears := range []bool{true, false} {
		in := w.start(t)
		if !hears {
			in.stop()
		}
		once = sync.Once{}
		job = other.order(t, map[bool]string{true: "hears", false: "does-not"}[hears], export.Spec{})
		if err := in.Work(t.Context(), app, job.ID); err != nil {
			t.Error(err)
		}
		awaitNothing(t, in)
		if n := in.events(t, job.ID, export.Completed); n != 0 {
			t.Errorf("%d events tell that it is completed", n)
		}
	}
}

func TestCancellingAnExportToABucketLeavesNoUpload(t *testing.T) {
	w, server := newBucketWorld(t)
	w.part = 2000
	reached, release := w.list.hold(15_000)
	defer release()
	in, other := w.start(t), w.start(t)
	in.work(t)
	job := in.order(t, "cmd", export.Spec{})
	<-reached
	eventually(t, "an upload is under way", func() bool { return len(in.uploads(t)) > 0 })
	other.cancel(t, job.ID)
	awaitNothing(t, in, other)
	if kept := server.Files(t); slices.ContainsFunc(kept, func(name string) bool { return strings.Contains(name, job.ID) }) {
		t.Errorf("the store keeps %v", kept)
	}
}
