package export_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
)

func TestAnExportEndsInAFileThatItsURLServes(t *testing.T) {
	w := newWorld(t, 1000)
	in := w.start(t)
	in.work(t)
	for _, format := range export.Formats() {
		t.Run(string(format), func(t *testing.T) {
			ordered := in.order(t, "cmd-"+string(format), export.Spec{Format: format})
			if ordered.Status != export.StatusQueued || ordered.RequestedBy != "alice" {
				t.Errorf("ordered %+v", ordered)
			}
			if _, err := in.Get(t.Context(), app, ordered.ID); err != nil {
				t.Errorf("the job is not known right after its order: %v", err)
			}
			job := in.await(t, ordered.ID, export.StatusCompleted)
			links, err := in.Link(t.Context(), job)
			if err != nil || time.Until(links.Until) > export.URLLife {
				t.Fatalf("link: %v until %v", err, links.Until)
			}
			res, body := download(t, links.File)
			if res.StatusCode != 200 {
				t.Fatalf("GET answers %s: %s", res.Status, body)
			}
			if want := string(encode(t, format, allFields, w.list.accounts...)); body != want {
				t.Errorf("the file has %d bytes, want %d; it begins %.200q", len(body), len(want), body)
			}
			sum := sha256.Sum256([]byte(body))
			if job.Rows != 1000 || job.Bytes != int64(len(body)) || job.SHA256 != hex.EncodeToString(sum[:]) || job.Position != w.list.position {
				t.Errorf("job says %+v", job)
			}
		})
	}
}

func TestTheEventsOfAnExportTellItsLife(t *testing.T) {
	w := newWorld(t, 10)
	in := w.start(t)
	in.work(t)
	job := in.order(t, "cmd", export.Spec{Filter: domain.Filter{Text: "닉네임"}})
	events := in.watch(t, job.ID)
	var types []export.EventType
	for _, e := range events {
		types = append(types, e.Type)
		b, err := export.MarshalEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		if e.CommandID != "cmd" || e.CausationID != "cmd" || e.Actor != "alice" || e.App != app || e.Job != job.ID {
			t.Errorf("%s is of %+v", e.Type, e)
		}
		if strings.Contains(string(b), "닉네임") {
			t.Errorf("%s shows the text of the filter: %s", e.Type, b)
		}
	}
	types = slices.DeleteFunc(types, func(t export.EventType) bool { return t == export.Progressed })
	if want := []export.EventType{export.Requested, export.Started, export.Completed}; !slices.Equal(types, want) {
		t.Errorf("events are %v, want %v", types, want)
	}
	done := events[len(events)-1]
	res, body := download(t, done.Result.DownloadURL)
	if res.StatusCode != 200 || int64(len(body)) != done.Result.Bytes || done.Result.Rows != 10 {
		t.Errorf("completed says %+v; its URL answers %s with %d bytes", done.Result, res.Status, len(body))
	}
	if again := in.watch(t, job.ID); len(again) < 3 || again[len(again)-1].ID != done.ID {
		t.Errorf("watching a job that is over gives %d events", len(again))
	}
}

func TestACommandOrdersOneJobHoweverOftenItIsSent(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.start(t), w.start(t)
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			job, err := []*instance{a, b}[i%2].Order(t.Context(), export.Request{ID: "same", Actor: "alice"}, export.Spec{App: app, Format: export.CSV})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[job.ID]++
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Errorf("one command ordered the jobs %v", seen)
	}
	_, err := a.Order(t.Context(), export.Request{ID: "same", Actor: "alice"}, export.Spec{App: app, Format: export.NDJSON})
	if !errors.Is(err, export.CodeIDReused) {
		t.Errorf("the same id for another export gives %v", err)
	}
	if other := a.order(t, "other", export.Spec{Format: export.CSV}); seen[other.ID] != 0 {
		t.Error("another command ordered the same job")
	}
}

func TestAnOrderThatCannotBeDoneIsRefusedByField(t *testing.T) {
	in := newWorld(t, 1).start(t)
	many := make([]domain.UserID, domain.MaxSelectedIDs+1)
	for i := range many {
		many[i] = domain.UserID(fmt.Sprintf("u%d", i))
	}
	for name, c := range map[string]struct {
		spec  export.Spec
		field string
	}{
		"no application":         {export.Spec{Format: export.CSV}, "app"},
		"no format":              {export.Spec{App: app}, "format"},
		"an unknown format":      {export.Spec{App: app, Format: "doc"}, "format"},
		"an unknown compression": {export.Spec{App: app, Format: export.CSV, Compression: "zip"}, "compression"},
		"a compressed workbook":  {export.Spec{App: app, Format: export.XLSX, Compression: export.Gzip}, "compression"},
		"a field twice":          {export.Spec{App: app, Format: export.CSV, Fields: []domain.Field{domain.FieldType, domain.FieldType}}, "fields"},
		"an unknown field":       {export.Spec{App: app, Format: export.CSV, Fields: []domain.Field{99}}, "fields"},
		"an empty choice":        {export.Spec{App: app, Format: export.CSV, UserIDs: []domain.UserID{}}, "user_ids"},
		"too many accounts":      {export.Spec{App: app, Format: export.CSV, UserIDs: many}, "user_ids"},
		"a user id with a space": {export.Spec{App: app, Format: export.CSV, UserIDs: ids("a b")}, "user_ids"},
		"ids and a filter":       {export.Spec{App: app, Format: export.CSV, UserIDs: ids("a"), Filter: domain.Filter{Text: "x"}}, "filter"},
		"a filter of no type":    {export.Spec{App: app, Format: export.CSV, Filter: domain.Filter{Type: "x"}}, "type"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := in.Order(t.Context(), export.Request{ID: "c", Actor: "alice"}, c.spec)
			var r *domain.Rejection
			if !errors.As(err, &r) || len(r.Fields) == 0 || r.Fields[0].Field != c.field {
				t.Errorf("got %v, want the field %s refused", err, c.field)
			}
		})
	}
	t.Run("an unknown application", func(t *testing.T) {
		_, err := in.Order(t.Context(), export.Request{ID: "c", Actor: "alice"}, export.Spec{App: "nobody", Format: export.CSV})
		if !errors.Is(err, domain.CodeAppNotFound) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no command id", func(t *testing.T) {
		_, err := in.Order(t.Context(), export.Request{Actor: "alice"}, export.Spec{App: app, Format: export.CSV})
		if !errors.Is(err, domain.CodeInvalid) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheLongestChoiceOfAccountsFitsIntoItsEvent(t *testing.T) {
	w := newWorld(t, 1)
	in := w.start(t)
	in.work(t)
	many := make([]domain.UserID, domain.MaxSelectedIDs)
	for i := range many {
		many[i] = domain.UserID(fmt.Sprintf("%05d%s", i, strings.Repeat("<", 27)))
	}
	many[0] = "u000000"
	job := in.await(t, in.order(t, "cmd", export.Spec{UserIDs: many}).ID, export.StatusCompleted)
	if job.Rows != 1 || len(job.Spec.UserIDs) != len(many) || job.Spec.UserCount != len(many) {
		t.Errorf("%d rows of %d accounts", job.Rows, len(job.Spec.UserIDs))
	}
	listed, _, err := in.List(t.Context(), app, 10, "")
	if err != nil || len(listed) != 1 || listed[0].Spec.UserCount != len(many) {
		t.Errorf("listed %v, %v", len(listed), err)
	}
}

func TestAQueuedExportCanBeCancelled(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	if _, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "bob"}, app, job.ID); err != nil {
		t.Fatal(err)
	}
	in.work(t)
	// The next job is done after the cancelled one was taken from the queue.
	in.await(t, in.order(t, "next", export.Spec{}).ID, export.StatusCompleted)
	if got := in.await(t, job.ID, export.StatusCancelled); !got.StartedAt.IsZero() {
		t.Error("a cancelled job was begun")
	}
}

func TestATemporaryFailureIsTriedAgain(t *testing.T) {
	w := newWorld(t, 3)
	w.list.failures = []error{errors.New("a hiccup"), errors.New("another")}
	in := w.start(t)
	in.work(t)
	if job := in.await(t, in.order(t, "cmd", export.Spec{}).ID, export.StatusCompleted); job.Rows != 3 {
		t.Errorf("%d rows", job.Rows)
	}
}

func TestAJobOfAWorkerThatStopsIsDoneByAnother(t *testing.T) {
	w := newWorld(t, 5000)
	reached, release := w.list.hold(2000)
	in, other := w.start(t), w.start(t)
	stop := in.work(t)
	job := in.order(t, "cmd", export.Spec{Format: export.CSV})
	<-reached
	stop()
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("the worker that stopped left %v", names)
	}
	release()
	other.work(t)
	done := other.await(t, job.ID, export.StatusCompleted)
	links, err := other.Link(t.Context(), done)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := download(t, links.File); body != string(encode(t, export.CSV, allFields, w.list.accounts...)) {
		t.Error("the file is not that of an undisturbed export")
	}
}

func TestAJobOfAWorkerThatDiesIsDoneByAnother(t *testing.T) {
	w := newWorld(t, 5000)
	reached, release := w.list.hold(2000)
	in, other := w.start(t), w.start(t)
	in.work(t)
	job := in.order(t, "cmd", export.Spec{})
	<-reached
	in.js.Conn().Close() // the worker is never heard of again; its file stays half-written
	other.work(t)
	eventually(t, "the other worker has the job", func() bool {
		events, err := other.exports.Load(t.Context(), app, job.ID)
		return err == nil && slices.ContainsFunc(events, func(e export.Event) bool { return e.Type == export.Started && e.Attempt == 2 })
	})
	release()
	done := other.await(t, job.ID, export.StatusCompleted)
	links, err := other.Link(t.Context(), done)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := download(t, links.File); body != string(encode(t, export.NDJSON, allFields, w.list.accounts...)) {
		t.Error("the file is not that of an undisturbed export")
	}
}

func TestOfTwoWorkersAtOneJobOneCounts(t *testing.T) {
	w := newWorld(t, 5000)
	in, other := w.start(t), w.start(t)
	reached, release := w.list.hold(2000)
	job := in.order(t, "cmd", export.Spec{})
	var wg sync.WaitGroup
	wg.Go(func() {
		// Its file may be gone by the end, which is an error of this attempt alone.
		if err := in.Work(t.Context(), app, job.ID); err != nil {
			t.Log(err)
		}
	})
	<-reached
	// The server takes the first one for dead and gives the job to another, which reads a later list.
	w.list.remove("u000001")
	release()
	if err := other.Work(t.Context(), app, job.ID); err != nil {
		t.Error(err)
	}
	wg.Wait()
	done := in.await(t, job.ID, export.StatusCompleted)
	names := in.stored(t)
	if want := filesOf(done); !slices.Equal(names, want) {
		t.Errorf("stored are %v, want %v", names, want)
	}
	links, err := in.Link(t.Context(), done)
	if err != nil {
		t.Fatal(err)
	}
	_, body := download(t, links.File)
	if sum := sha256.Sum256([]byte(body)); hex.EncodeToString(sum[:]) != done.SHA256 {
		t.Error("the file is not the one that the job tells of")
	}
}

func TestAnInstanceThatStartsLaterKnowsAllJobs(t *testing.T) {
	w := newWorld(t, 3)
	first := w.start(t)
	first.work(t)
	var want []string
	for i := range 5 {
		job := first.order(t, fmt.Sprintf("cmd-%d", i), export.Spec{})
		first.await(t, job.ID, export.StatusCompleted)
		want = append([]string{job.ID}, want...)
	}
	second := w.start(t)
	var got []string
	for after := ""; ; {
		jobs, next, err := second.List(t.Context(), app, 2, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		if after = next; next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if _, err := second.Get(t.Context(), "other", want[0]); !errors.Is(err, export.CodeNotFound) {
		t.Errorf("the job of another application: %v", err)
	}
	if _, err := second.Get(t.Context(), app, "../../x"); !errors.Is(err, export.CodeNotFound) {
		t.Errorf("a job with an odd id: %v", err)
	}
}

func TestACursorHoldsWhenItsExportHasGoneFromTheList(t *testing.T) {
	w := newWorld(t, 3)
	w.listed = 3
	in := w.start(t)
	oldest := in.order(t, "oldest", export.Spec{})
	cancel := func(command string) export.Job {
		job := in.order(t, command, export.Spec{})
		if _, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "bob"}, app, job.ID); err != nil {
			t.Fatal(err)
		}
		return job
	}
	goes, _ := cancel("goes"), cancel("stays")
	page, cursor, err := in.List(t.Context(), app, 2, "")
	if err != nil || len(page) != 2 || page[1].ID != goes.ID {
		t.Fatalf("the first page is %+v, %v", page, err)
	}
	cancel("more")
	if all, _, err := in.List(t.Context(), app, 10, ""); err != nil || slices.ContainsFunc(all, func(j export.Job) bool { return j.ID == goes.ID }) {
		t.Fatalf("the export is still listed: %+v, %v", all, err)
	}
	page, next, err := in.List(t.Context(), app, 2, cursor)
	if err != nil || len(page) != 1 || page[0].ID != oldest.ID || next != "" {
		t.Errorf("the second page is %+v, %q, %v", page, next, err)
	}
	for _, bad := range []string{"x", "-1", "1", oldest.ID, cursor + "0"} {
		if _, _, err := in.List(t.Context(), app, 2, bad); !errors.Is(err, export.CodeInvalidCursor) {
			t.Errorf("the cursor %q gives %v", bad, err)
		}
	}
}

func TestAJobThatIsOverIsSeenToHaveEndedOnce(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	if err := in.Work(t.Context(), app, job.ID); err != nil {
		t.Fatal(err)
	}
	in.await(t, job.ID, export.StatusCompleted)
	// What Cancel does when it has read the job a moment before.
	late := export.Event{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Type: export.Cancelled, App: app, Job: job.ID, Time: w.clock.now()}
	if _, err := in.exports.Publish(t.Context(), late, export.First()); err != nil {
		t.Fatal(err)
	}
	events := in.watch(t, job.ID)
	if last := events[len(events)-1]; last.Type != export.Completed {
		t.Errorf("the last event is %s", last.Type)
	}
}
