package export_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// orderFails orders an export and returns why it is refused.
func (in *instance) orderFails(t *testing.T, command string) *domain.Rejection {
	t.Helper()
	_, err := in.Order(t.Context(), export.Request{ID: command, Actor: "alice"}, export.Spec{App: app, Format: export.NDJSON})
	r, ok := errors.AsType[*domain.Rejection](err)
	if !ok || r.Code != export.CodeQuota {
		t.Fatalf("order %s: %v, want a rejection with %s", command, err, export.CodeQuota)
	}
	return r
}

func TestAnApplicationHasNoMoreLiveExportsThanItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.quota.MaxLive = 2
	in := w.start(t)
	first := in.order(t, "c1", export.Spec{})
	second := in.order(t, "c2", export.Spec{})
	r := in.orderFails(t, "c3")
	if !strings.Contains(r.Detail, "shop has 2 exports") || !strings.Contains(r.Detail, "cancel one") {
		t.Errorf("the detail is %q", r.Detail)
	}
	if again := in.order(t, "c1", export.Spec{}); again.ID != first.ID {
		t.Errorf("the repeated order gives %s, want %s", again.ID, first.ID)
	}
	if _, err := in.Order(t.Context(), export.Request{ID: "c4"}, export.Spec{App: "other", Format: export.CSV}); errors.Is(err, export.CodeQuota) {
		t.Error("another application is refused")
	}
	if _, err := in.Cancel(t.Context(), export.Request{ID: "x"}, app, first.ID); err != nil {
		t.Fatal(err)
	}
	third := in.order(t, "c5", export.Spec{})
	in.work(t)
	frees := in.await(t, third.ID, export.StatusCompleted).ExpiresAt
	in.await(t, second.ID, export.StatusCompleted)
	if r := in.orderFails(t, "c6"); !strings.Contains(r.Detail, "the first file is removed at "+frees.UTC().Format("2006-01-02T")) {
		t.Errorf("a file counts, and the detail is %q", r.Detail)
	}
}

func TestOrdersAtTheSameMomentDoNotPassTheQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.quota.MaxLive = 3
	in := w.start(t)
	var taken atomic.Int32
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			_, err := in.Order(t.Context(), export.Request{ID: string(rune('a' + i))}, export.Spec{App: app, Format: export.CSV})
			switch {
			case err == nil:
				taken.Add(1)
			case !errors.Is(err, export.CodeQuota):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 3 {
		t.Errorf("%d orders were taken, want 3", n)
	}
}

func TestTheFilesOfAnApplicationHaveNoMoreBytesThanTheyMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	in := w.start(t)
	size := in.complete(t, "c1", export.Spec{}).Bytes
	in.stop()

	w.quota.MaxBytes = 2*size - 1
	in = w.start(t)
	in.work(t)
	failed := in.await(t, in.order(t, "c2", export.Spec{}).ID, export.StatusFailed)
	if !strings.Contains(failed.Error, "the file would pass the") || !strings.Contains(failed.Error, "export fewer accounts") {
		t.Errorf("it failed by %q", failed.Error)
	}
	if names := in.stored(t); len(names) != 2 {
		t.Errorf("the store has %v, want the first file and its manifest", names)
	}
	fits := in.await(t, in.order(t, "c3", export.Spec{UserIDs: ids("u000001")}).ID, export.StatusCompleted)
	if fits.Bytes == 0 {
		t.Error("the file that fits is empty")
	}
	in.stop()
	w.quota.MaxBytes = size
	if r := w.start(t).orderFails(t, "c4"); !strings.Contains(r.Detail, "bytes") {
		t.Errorf("the detail is %q", r.Detail)
	}
}

func TestFilesThatAreWrittenAtOnceDoNotPassTheBytesTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	size := int64(len(encode(t, export.NDJSON, allFields, w.list.accounts...)))
	w.quota.MaxBytes = size + size/2
	var committing sync.WaitGroup // until each job that can be is about to be committed
	committing.Add(1)
	w.wrap = func(f export.Files) export.Files { return heldFiles{f, &committing} }
	in := w.start(t)
	var jobs []string
	var work sync.WaitGroup
	for _, command := range []string{"a", "b", "c", "d"} {
		jobs = append(jobs, in.order(t, command, export.Spec{}).ID)
	}
	var ended atomic.Int32
	for _, id := range jobs {
		work.Go(func() {
			defer ended.Add(1)
			if err := in.Work(t.Context(), app, id); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "those for which there is no room have ended", func() bool { return ended.Load() == 3 })
	committing.Done()
	work.Wait()
	used, completed := int64(0), 0
	for _, id := range jobs {
		job, err := in.Get(t.Context(), app, id)
		switch {
		case err != nil:
			t.Fatal(err)
		case job.Status == export.StatusCompleted:
			completed++
			used += job.Bytes
		case !strings.Contains(job.Error, "the file would pass the"):
			t.Errorf("one is %s: %s", job.Status, job.Error)
		}
	}
	if completed != 1 || used != size {
		t.Errorf("%d jobs are completed with %d bytes, want one with %d", completed, used, size)
	}
	if names := in.stored(t); len(names) != 2 {
		t.Errorf("the store has %v", names)
	}
}

// heldFiles are files that are committed only when they may.
type heldFiles struct {
	export.Files
	until *sync.WaitGroup
}

type heldUpload struct {
	export.Upload
	until *sync.WaitGroup
}

func (f heldFiles) Create(ctx context.Context, name export.FileName) (export.Upload, error) {
	u, err := f.Files.Create(ctx, name)
	return heldUpload{u, f.until}, err
}

func (u heldUpload) Commit() error {
	u.until.Wait()
	return u.Upload.Commit()
}

func TestOfTwoFilesThatInstancesWriteTheOneThatWasOrderedLaterGivesWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	size := int64(len(encode(t, export.NDJSON, allFields, w.list.accounts...)))
	w.quota.MaxBytes = size + size/2
	in := w.start(t)
	jobs := []export.Job{in.order(t, "first", export.Spec{}), in.order(t, "second", export.Spec{}), in.order(t, "third", export.Spec{})}
	for _, other := range []export.Job{jobs[0], jobs[2]} { // another instance is at work on them
		for _, e := range []export.Event{
			{Type: export.Started, Attempt: 1},
			{Type: export.Progressed, Position: 1, ErasedUntil: 1, Progress: export.Progress{Done: 9, Total: 10, Bytes: size}},
		} {
			e.ID, e.App, e.Job, e.Time = string(e.Type)+other.ID, app, other.ID, w.clock.now()
			if _, err := in.exports.Publish(t.Context(), e, export.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := in.Work(t.Context(), app, jobs[1].ID); err != nil {
		t.Fatal(err)
	}
	if job := in.await(t, jobs[1].ID, export.StatusFailed); !strings.Contains(job.Error, "the file would pass the") {
		t.Errorf("the one that was ordered later failed by %q", job.Error)
	}
	if err := in.Work(t.Context(), app, jobs[0].ID); err != nil { // beside the third one
		t.Fatal(err)
	}
	in.await(t, jobs[0].ID, export.StatusCompleted)
}
