package export_test

import (
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
	stop := in.work(t)
	size := in.await(t, in.order(t, "c1", export.Spec{}).ID, export.StatusCompleted).Bytes
	stop()
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
