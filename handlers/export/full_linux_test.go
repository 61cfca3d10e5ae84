package export_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"rollcall/handlers/export"
)

// fill makes the files that are being written to a folder ones that have no space left: what is written to them from now on gets the real
// error of the system.
func fill(t *testing.T, folder string) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	const open = "/proc/self/fd"
	all, err := os.ReadDir(open)
	if err != nil {
		t.Fatal(err)
	}
	filled := 0
	for _, f := range all {
		name, err := os.Readlink(filepath.Join(open, f.Name()))
		if err != nil || !strings.HasPrefix(name, folder) || filepath.Ext(name) != ".tmp" {
			continue // or it was closed meanwhile
		}
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Dup3(int(full.Fd()), fd, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		filled++
	}
	if filled == 0 {
		t.Fatal("no file is being written")
	}
}

func TestAnExportWaitsForAFullStoreAndNothingOfItCanBeDownloaded(t *testing.T) {
	w := newWorld(t, 1000)
	w.chunk = 20
	reached, release := w.list.hold(500)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	ended := make(chan error, 1)
	go func() { ended <- in.Work(t.Context(), app, job.ID) }()
	<-reached
	fill(t, w.folder)
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
