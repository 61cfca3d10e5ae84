package export_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rollcall/handlers/export"
)

func TestADeletionWhileAFileIsRebuiltIsHeededToo(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 10)
	in, other := w.start(t), w.start(t)
	heard := in.listen(t)
	job := in.complete(t, "cmd", export.Spec{})
	in.delete(t, w, "u000001")
	reached, release := w.list.hold(5)
	defer release()
	in.work(t)
	<-reached
	deleted := other.delete(t, w, "u000002")
	release()
	job = in.awaitRebuilt(t, job.ID, 1)
	if job.Rows != 8 || job.Position != deleted {
		t.Errorf("%d rows at %d, want 8 at %d", job.Rows, job.Position, deleted)
	}
	if got := told(heard.decisions(job.ID)); got != "requested0 completed0 withdrawn1 recalled1 completed1" {
		t.Errorf("the events tell %s", got)
	}
}

func TestOfTwoWorkersAtOneRebuildOneCounts(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 5000)
	in, other := w.start(t), w.start(t)
	heard := in.listen(t)
	job := in.order(t, "cmd", export.Spec{})
	if err := in.Work(t.Context(), app, job.ID); err != nil {
		t.Fatal(err)
	}
	in.delete(t, w, "u000001")
	reached, release := w.list.hold(2000)
	var wg sync.WaitGroup
	wg.Go(func() {
		// Its file may be gone by the end, which is an error of this attempt alone.
		if err := in.Work(t.Context(), app, job.ID); err != nil {
			t.Log(err)
		}
	})
	<-reached
	release()
	if err := other.Work(t.Context(), app, job.ID); err != nil {
		t.Error(err)
	}
	wg.Wait()
	done := in.awaitRebuilt(t, job.ID, 1)
	if got := told(heard.decisions(job.ID)); got != "requested0 completed0 withdrawn1 completed1" {
		t.Errorf("the events tell %s", got)
	}
	if names := in.stored(t); !slices.Equal(names, filesOf(done)) {
		t.Errorf("stored are %v, want %v", names, filesOf(done))
	}
}

func TestAWorkerThatComesLateBringsNoWithdrawnFileBack(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 5000)
	in, other := w.start(t), w.start(t)
	heard := in.listen(t)
	var late atomic.Bool
	held, proceed := make(chan struct{}), make(chan struct{})
	w.wrap = func(f export.Files) export.Files {
		return beforeManifest{f, func() {
			if late.CompareAndSwap(false, true) {
				close(held)
				<-proceed
			}
		}}
	}
	slow := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	ended := make(chan error, 1)
	go func() { ended <- slow.Work(context.WithoutCancel(t.Context()), app, job.ID) }()
	<-held // it has its file, and is about to tell so
	slow.stop()
	if err := other.Work(t.Context(), app, job.ID); err != nil {
		t.Fatal(err)
	}
	in.delete(t, w, "u000001")
	close(proceed)
	if err := <-ended; err != nil {
		t.Log(err)
	}
	if got := in.await(t, job.ID, export.StatusQueued); got.Rebuilds != 1 {
		t.Errorf("the job is %+v", got)
	}
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
	if err := in.Work(t.Context(), app, job.ID); err != nil {
		t.Fatal(err)
	}
	in.awaitRebuilt(t, job.ID, 1)
	if got := told(heard.decisions(job.ID)); got != "requested0 completed0 withdrawn1 completed1" {
		t.Errorf("the events tell %s", got)
	}
}

// beforeManifest does something before a manifest is begun.
type beforeManifest struct {
	export.Files
	do func()
}

func (b beforeManifest) Create(ctx context.Context, name export.FileName) (export.Upload, error) {
	if strings.HasSuffix(name.Name, ".manifest.json") {
		b.do()
	}
	return b.Files.Create(ctx, name)
}

func TestARecallJustBeforeACompletionHasTheJobBeginAnew(t *testing.T) {
	t.Parallel()
	for _, onDelete := range []export.OnDelete{export.Remove, export.Rebuild} {
		t.Run(string(onDelete), func(t *testing.T) {
			w := newWorld(t, 10)
			w.onDelete = onDelete
			other := w.start(t)
			heard := other.listen(t)
			var once sync.Once
			var deleted uint64
			w.wrap = func(f export.Files) export.Files {
				return beforeManifest{f, func() { once.Do(func() { deleted = other.delete(t, w, "u000001") }) }}
			}
			in := w.start(t)
			in.stop() // it does not hear of the recall
			job := other.order(t, "cmd", export.Spec{})
			if err := in.Work(t.Context(), app, job.ID); err != nil {
				t.Fatal(err)
			}
			if got := other.await(t, job.ID, export.StatusCompleted); got.Rows != 9 || got.Position != deleted || got.Rebuilds != 0 {
				t.Errorf("%d rows at %d, want 9 at %d", got.Rows, got.Position, deleted)
			}
			if got := told(heard.decisions(job.ID)); got != "requested0 recalled0 completed0" {
				t.Errorf("the events tell %s", got)
			}
		})
	}
}
