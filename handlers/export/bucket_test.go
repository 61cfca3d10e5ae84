package export_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"

	"rollcall/handlers/export"
	"rollcall/handlers/export/files/s3test"
)

// newBucketWorld returns a world with a list of so many accounts that a file of them has several parts, and with
// a bucket for it.
func newBucketWorld(t *testing.T) (*world, *s3test.Server) {
	t.Helper()
	w := newWorld(t, 20_000)
	for i := range w.list.accounts {
		w.list.accounts[i].Profile.SelfSignature = strings.Repeat("한", 200)
	}
	server := s3test.Run(t)
	w.bucket = server.Bucket(t, "exports")
	return w, server
}

// checkCompleted checks that the job's URL serves what the job says, and that nothing else is kept.
func checkCompleted(t *testing.T, in *instance, server *s3test.Server, id string) {
	t.Helper()
	job := in.await(t, id, export.StatusCompleted)
	links, err := in.Link(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	res, body := download(t, links.File)
	sum := sha256.Sum256([]byte(body))
	if res.StatusCode != http.StatusOK || hex.EncodeToString(sum[:]) != job.SHA256 || strings.Count(body, "\n") != 20_000 {
		t.Errorf("its URL answers %s with %d bytes, and the job has %d", res.Status, len(body), job.Bytes)
	}
	name := job.ID + "-" + job.File().Name
	eventually(t, "the parts are gone", func() bool { return len(server.Files(t)) == 2 })
	if kept := server.Files(t); !strings.HasSuffix(kept[0], name) || !strings.HasSuffix(kept[1], name+".manifest.json") {
		t.Errorf("the store keeps %v", kept)
	}
}

func TestAnExportWaitsForAStoreThatGoesAwayWhileItIsWritten(t *testing.T) {
	w, server := newBucketWorld(t)
	reached, release := w.list.hold(15_000) // the first part is sent
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	attempted := make(chan error)
	go func() { attempted <- in.Work(t.Context(), app, job.ID) }()
	<-reached
	server.Stop()
	release()
	if err := <-attempted; err == nil {
		t.Error("an attempt without a store gives no error")
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
		return e.Type == export.Interrupted && e.Reason == "the file store cannot be reached"
	}) {
		t.Errorf("nothing tells why it waits: %+v", events)
	}
	if log := in.log.String(); strings.Contains(log, s3test.SecretKey) {
		t.Errorf("the secret is in the log: %s", log)
	}

	server.Start(t)
	if names := in.stored(t); slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, ".ndjson") }) {
		t.Errorf("half a file can be read: %v", names)
	}
	in.work(t)
	checkCompleted(t, in, server, job.ID)
}

func TestAnotherInstanceLeavesTheUploadOfARunningJobAlone(t *testing.T) {
	w, server := newBucketWorld(t)
	reached, release := w.list.hold(15_000)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	in.work(t)
	<-reached
	eventually(t, "a part is in the store", func() bool { return len(in.uploads(t)) > 0 })
	other := w.start(t)
	if err := other.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Forget(t.Context(), app, export.Deletion{User: "nobody", Position: 1}); err != nil {
		t.Fatal(err)
	}
	if names := in.uploads(t); len(names) != 1 {
		t.Errorf("left are %v", names)
	}
	release()
	checkCompleted(t, in, server, job.ID)
	if attempts := strings.Count(in.log.String(), "will be tried again"); attempts > 0 {
		t.Errorf("it was tried again: %s", in.log)
	}
}

func TestTheUploadOfADeadWorkerIsRemovedByASweep(t *testing.T) {
	w, server := newBucketWorld(t)
	reached, release := w.list.hold(15_000)
	defer release()
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	ctx, kill := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- in.Work(ctx, app, job.ID) }()
	<-reached
	eventually(t, "a part is in the store", func() bool { return len(in.uploads(t)) > 0 })
	server.Stop() // so that the parts cannot be removed
	kill()
	<-ended
	server.Start(t)
	if names := in.uploads(t); len(names) != 1 {
		t.Fatalf("the worker left %v", names)
	}
	if _, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "alice"}, app, job.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(export.DefaultMaxWait)
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept := server.Files(t); len(kept) > 0 {
		t.Errorf("the store keeps %v", kept)
	}
}

// uploads returns the names of all in the store but what workers keep to go on from.
func (in *instance) uploads(t testing.TB) []string {
	return slices.DeleteFunc(in.stored(t), func(name string) bool { return strings.Contains(name, "/part-") })
}
