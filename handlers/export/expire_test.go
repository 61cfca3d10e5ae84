package export_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
)

func TestAFileIsRemovedAtTheEndOfItsLife(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	in.work(t)
	job := in.await(t, in.order(t, "cmd", export.Spec{}).ID, export.StatusCompleted)
	w.clock.advance(export.DefaultFileLife - time.Minute)
	url, until, err := in.Link(t.Context(), job)
	if err != nil || until.After(job.ExpiresAt) {
		t.Fatalf("link: until %v, %v; the file lives until %v", until, err, job.ExpiresAt)
	}
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if res, _ := download(t, url); res.StatusCode != http.StatusOK {
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
	if url, _, err := in.Link(t.Context(), job); url != "" || err != nil {
		t.Errorf("an expired job links to %q, %v", url, err)
	}
}

func TestFilesThatBelongToNoJobAreRemoved(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	in.work(t)
	job := in.await(t, in.order(t, "cmd", export.Spec{}).ID, export.StatusCompleted)
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
	if names := in.stored(t); len(names) != 4 {
		t.Errorf("young files may still be written: left are %v", names)
	}
	w.clock.advance(time.Hour)
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := in.stored(t); len(names) != 1 || names[0] != job.ID+"/"+job.File().Name {
		t.Errorf("left are %v", names)
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
	url, _, err := in.Link(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	deleted := w.list.remove("u000005")
	later := in.await(t, in.order(t, "later", export.Spec{}).ID, export.StatusCompleted)
	if err := in.Forget(t.Context(), app, "u000005", deleted); err != nil {
		t.Fatal(err)
	}
	if res, _ := download(t, url); res.StatusCode != http.StatusGone {
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
	if names := in.stored(t); len(names) != 2 {
		t.Errorf("left are %v", names)
	}
}

func TestAnAccountErasedDuringAnExportIsNotHandedOut(t *testing.T) {
	for name, c := range map[string]struct {
		spec export.Spec
		want export.Status
	}{
		"all accounts":        {export.Spec{}, export.StatusExpired},
		"accounts without it": {export.Spec{UserIDs: ids("u000001", "u000002", "u000003")}, export.StatusCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 10)
			reached, release := w.list.hold(2)
			defer release()
			in, other := w.start(t), w.start(t)
			in.work(t)
			job := in.order(t, "cmd", c.spec)
			<-reached
			deleted := w.list.remove("u000009")
			if err := other.Forget(t.Context(), app, domain.UserID("u000009"), deleted); err != nil {
				t.Fatal(err)
			}
			release()
			job = in.await(t, job.ID, c.want)
			if names := in.stored(t); (len(names) == 0) != (c.want == export.StatusExpired) {
				t.Errorf("an export that is %s has the files %v", job.Status, names)
			}
		})
	}
}
