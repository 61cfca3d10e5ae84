package export_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/handlers/export"
)

func TestAFileIsRemovedAtTheEndOfItsLife(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	in.work(t)
	job := in.await(t, in.order(t, "cmd", export.Spec{}).ID, export.StatusCompleted)
	w.clock.advance(export.DefaultFileLife - time.Minute)
	links, err := in.Link(t.Context(), job)
	if err != nil || links.Until.After(job.ExpiresAt) {
		t.Fatalf("link: until %v, %v; the file lives until %v", links.Until, err, job.ExpiresAt)
	}
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if res, _ := download(t, links.File); res.StatusCode != http.StatusOK {
		t.Fatalf("before its end the file answers %s", res.Status)
	}
	w.clock.advance(time.Minute)
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	job = in.await(t, job.ID, export.StatusExpired)
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
	if links, err := in.Link(t.Context(), job); links != (export.Links{}) || err != nil {
		t.Errorf("an expired job links to %+v, %v", links, err)
	}
}

func TestFilesThatBelongToNoJobAreRemoved(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	job := in.complete(t, "cmd", export.Spec{}) // a worker removes at its end what the sweep would
	folder := filepath.Join(w.folder, string(app))
	for _, name := range []string{
		job.ID + "-accounts-shop-1.ndjson",               // of an attempt at another position
		job.ID + "-" + job.File().Name + ".12345.tmp",    // half-written
		"01ARZ3NDEKTSV4RRFFQ69G5FAV-accounts-shop-1.csv", // of no job at all
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := in.stored(t); len(names) != 5 {
		t.Errorf("young files may still be written: left are %v", names)
	}
	w.clock.advance(time.Hour)
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := in.stored(t); !slices.Equal(names, filesOf(job)) {
		t.Errorf("the completed file and its manifest alone should be left, not %v", names)
	}
}

func TestAJobThatIsNotInTheQueueIsTakenUpAgain(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	jobs, err := in.js.Stream(t.Context(), "EXPORT_JOBS")
	if err != nil {
		t.Fatal(err)
	}
	if err := jobs.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.work(t)
	w.clock.advance(time.Minute)
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.await(t, job.ID, export.StatusCompleted)
}

func TestAnErasedAccountLeavesNoExportThatMayHoldIt(t *testing.T) {
	w := newWorld(t, 10)
	in := w.start(t)
	in.work(t)
	all := in.order(t, "all", export.Spec{})
	named := in.order(t, "named", export.Spec{UserIDs: ids("u000001", "u000005")})
	others := in.order(t, "others", export.Spec{UserIDs: ids("u000002", "u000003")})
	for _, j := range []export.Job{all, named, others} {
		in.await(t, j.ID, export.StatusCompleted)
	}
	job, err := in.Get(t.Context(), app, all.ID)
	if err != nil {
		t.Fatal(err)
	}
	links, err := in.Link(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	deleted := w.list.remove("u000005")
	later := in.await(t, in.order(t, "later", export.Spec{}).ID, export.StatusCompleted)
	if err := in.Forget(t.Context(), app, export.Deletion{User: "u000005", Position: deleted}); err != nil {
		t.Fatal(err)
	}
	if res, _ := download(t, links.File); res.StatusCode != http.StatusGone {
		t.Errorf("a URL to the removed file answers %s", res.Status)
	}
	for _, j := range []export.Job{all, named} {
		if got := in.await(t, j.ID, export.StatusExpired); got.Error == "" {
			t.Error("an export expired without a reason")
		}
	}
	for _, j := range []export.Job{others, later} {
		in.await(t, j.ID, export.StatusCompleted)
	}
	if names := in.stored(t); len(names) != 4 {
		t.Errorf("left are %v", names)
	}
}

func TestAnExportBeginsAnewWithoutAnAccountThatIsDeletedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		spec    export.Spec
		another bool // instance is told of the deletion
		rows    int64
		anew    bool
	}{
		"all accounts":                  {export.Spec{}, false, 9, true},
		"accounts without it":           {export.Spec{UserIDs: ids("u000001", "u000002", "u000003")}, false, 3, false},
		"all accounts, told to another": {export.Spec{}, true, 9, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 10)
			reached, release := w.list.hold(2)
			defer release()
			in := w.start(t)
			told := in
			if c.another {
				told = w.start(t)
			}
			in.work(t)
			job := in.order(t, "cmd", c.spec)
			<-reached
			before := w.list.position
			deleted := w.list.remove("u000009")
			if err := told.Forget(t.Context(), app, export.Deletion{User: "u000009", Position: deleted}); err != nil {
				t.Fatal(err)
			}
			if c.anew {
				eventually(t, "the worker begins anew", func() bool {
					job, err := told.Get(t.Context(), app, job.ID)
					return err == nil && job.Position == deleted
				})
			}
			release()
			job = in.await(t, job.ID, export.StatusCompleted)
			if want := map[bool]uint64{true: deleted, false: before}[c.anew]; job.Rows != c.rows || job.Position != want {
				t.Errorf("%d rows at %d, want %d at %d", job.Rows, job.Position, c.rows, want)
			}
			eventually(t, "nothing else is left", func() bool { return slices.Equal(in.stored(t), filesOf(job)) })
			if found := filesWith(t, w.folder, "u000009"); len(found) > 0 {
				t.Errorf("the deleted account is in %v", found)
			}
		})
	}
}

// plant puts a file into the folder of the application that a killed attempt at a job may have left.
func (w *world) plant(t *testing.T, name string) {
	t.Helper()
	folder := filepath.Join(w.folder, string(app))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// leftovers are what killed attempts at a job may have left.
func leftovers(job string) []string {
	return []string{job + "-accounts-shop-1.ndjson.17f.tmp", job + "-accounts-shop-1.ndjson"}
}

func TestWhatAKilledAttemptLeftIsRemovedWhenTheNextBegins(t *testing.T) {
	w := newWorld(t, 10)
	reached, release := w.list.hold(2)
	defer release()
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	for _, name := range leftovers(job.ID) {
		w.plant(t, name)
	}
	in.work(t)
	<-reached
	if names := in.stored(t); len(names) != 1 || !strings.HasPrefix(names[0], job.ID+"/accounts-shop-11.ndjson.") {
		t.Errorf("while the next attempt writes there are %v", names)
	}
	release()
	in.await(t, job.ID, export.StatusCompleted)
}

func TestADeletionRemovesWhatKilledAttemptsLeftHoweverYoung(t *testing.T) {
	w := newWorld(t, 10)
	in := w.start(t)
	in.work(t)
	done := in.await(t, in.order(t, "done", export.Spec{UserIDs: ids("u000001")}).ID, export.StatusCompleted)
	reached, release := w.list.hold(2)
	defer release()
	underway := in.order(t, "underway", export.Spec{UserIDs: ids("u000001", "u000002")})
	<-reached
	for _, job := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", done.ID} {
		for _, name := range leftovers(job) {
			w.plant(t, name)
		}
	}
	deleted := w.list.remove("u000009")
	eventually(t, "the file that is completed and the one that is being written are left", func() bool {
		if err := in.Forget(t.Context(), app, export.Deletion{User: "u000009", Position: deleted}); err != nil {
			t.Fatal(err)
		}
		names := in.stored(t) // the worker may not have let go of the completed job at first
		return len(names) == 3 && slices.Contains(names, filesOf(done)[0]) && slices.Contains(names, filesOf(done)[1])
	})
	release()
	in.await(t, underway.ID, export.StatusCompleted)
}

func TestAStartRemovesWhatTheProcessBeforeItLeft(t *testing.T) {
	w := newWorld(t, 10)
	first := w.start(t)
	done := first.complete(t, "done", export.Spec{})
	queued := first.order(t, "queued", export.Spec{})
	for _, name := range append(leftovers(queued.ID), leftovers(done.ID)...) {
		w.plant(t, name)
	}
	w.clock.advance(time.Second) // less than what makes files old
	second := w.start(t)
	// The sweep that an instance starts with may take a file away that this one is about to look at.
	eventually(t, "a sweep is undisturbed", func() bool { return second.Sweep(t.Context()) == nil })
	if names := second.stored(t); !slices.Equal(names, filesOf(done)) {
		t.Errorf("left are %v", names)
	}
}
