package export_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/export"
)

func TestOneApplicationsManyExportsDoNotHoldUpAnothersOne(t *testing.T) {
	const many = 60
	w := newWorld(t, 3)
	reached, release := w.list.hold(1)
	defer release()
	w.list.others = true
	in := w.start(t)
	for i := range many {
		in.order(t, fmt.Sprint("many-", i), export.Spec{})
	}
	in.work(t)
	<-reached
	one, err := in.Order(t.Context(), export.Request{ID: "one", Actor: "bob"}, export.Spec{App: "other", Format: export.CSV})
	if err != nil {
		t.Fatal(err)
	}
	release()
	eventually(t, "the one is completed", func() bool {
		job, err := in.Get(t.Context(), "other", one.ID)
		return err == nil && job.Status == export.StatusCompleted
	})
	before := 0
	for i := range many {
		job, err := in.Order(t.Context(), export.Request{ID: fmt.Sprint("many-", i), Actor: "alice"}, export.Spec{App: app, Format: export.NDJSON})
		if err != nil {
			t.Fatal(err)
		}
		if job.Status == export.StatusCompleted {
			before++
		}
	}
	if before > many/2 {
		t.Errorf("%d of %d exports of the other application came first", before, many)
	}
	eventually(t, "all are completed", func() bool {
		return in.Counts()[export.Kind{Status: export.StatusCompleted, Format: export.NDJSON}] == many
	})
}

func TestACancelledExportLeavesNothingWhicheverInstanceIsAsked(t *testing.T) {
	w := inParts(t, 1000)
	reached, release := w.list.holdIf(func(id domain.UserID) bool { return id >= "u000600" })
	defer release()
	in, other := w.start(t), w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	ended := make(chan error, 1)
	go func() { ended <- in.Work(context.WithoutCancel(t.Context()), app, job.ID) }()
	<-reached
	if len(in.partsOf(t, job.ID)) == 0 {
		t.Error("no part is kept yet")
	}
	if _, err := other.Cancel(t.Context(), export.Request{ID: "c", Actor: "alice"}, app, job.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil { // though the list still holds
		t.Errorf("the worker ended with %v", err)
	}
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
	if _, err := other.Cancel(t.Context(), export.Request{ID: "c", Actor: "alice"}, app, job.ID); errors.Is(err, export.CodeFinished) {
		t.Error("it was not cancelled")
	}
}
