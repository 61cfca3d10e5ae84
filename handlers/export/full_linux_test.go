package export_test

import (
	"slices"
	"testing"

	"rollcall/eventstore/storetest"

	"rollcall/handlers/export"
)

func TestAnExportWaitsForAFullStoreAndNothingOfItCanBeDownloaded(t *testing.T) {
	w := newWorld(t, 1000)
	w.chunk = 20
	reached, release := w.list.hold(500)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	ended := make(chan error, 1)
	go func() { ended <- in.Work(t.Context(), app, job.ID) }()
	<-reached
	storetest.FillDisk(t, w.folder, ".tmp")
	release()
	if err := <-ended; err == nil {
		t.Error("an attempt without space gives no error")
	}
	job = in.await(t, job.ID, export.StatusQueued)
	if links, err := in.Link(t.Context(), job); err != nil || links != (export.Links{}) {
		t.Errorf("a job that waits has the URL %q (%v)", links, err)
	}
	events, err := in.exports.Load(t.Context(), app, job.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e export.Event) bool {
		return e.Type == export.Interrupted && e.Reason == export.ErrStoreFull.Error()
	}) {
		t.Errorf("nothing tells why it waits: %+v", events)
	}
	if names := in.uploads(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
	w.list.gate = nil
	if err := in.Work(t.Context(), app, job.ID); err != nil { // there is space again
		t.Fatal(err)
	}
	if job = in.await(t, job.ID, export.StatusCompleted); job.Rows != 1000 {
		t.Errorf("it is completed with %d rows", job.Rows)
	}
}
