package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// inParts is a world whose attempts keep what they have every 50 accounts.
func inParts(t testing.TB, accounts int) *world {
	w := newWorld(t, accounts)
	w.chunk, w.part = 20, 50
	return w
}

// breakOff works on a job until the list has got to an account, and then stops the worker.
func (in *instance) breakOff(t *testing.T, w *world, job string, at int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reached, release := w.list.holdIf(func(id domain.UserID) bool { return id >= domain.UserID(fmt.Sprintf("u%06d", at)) })
	defer release()
	ended := make(chan error, 1)
	go func() { ended <- in.Work(ctx, app, job) }()
	select {
	case <-reached:
	case err := <-ended:
		t.Fatalf("the worker ended at once: %v", err)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a stopped attempt gives %v", err)
	}
}

func TestAnotherWorkerGoesOnFromTheLastPartAndWritesTheSameBytes(t *testing.T) {
	const accounts = 1000
	for _, format := range export.Formats() {
		for _, compression := range packings(format) {
			t.Run(string(format)+" "+string(compression), func(t *testing.T) {
				t.Parallel()
				w := inParts(t, accounts)
				in := w.start(t)
				spec := export.Spec{Format: format, Compression: compression}
				undisturbed := in.order(t, "undisturbed", spec)
				if err := in.Work(t.Context(), app, undisturbed.ID); err != nil {
					t.Fatal(err)
				}
				want := in.await(t, undisturbed.ID, export.StatusCompleted)
				job := in.order(t, "disturbed", spec)
				position := w.list.position
				for _, percent := range []int{20, 50, 80} {
					in.breakOff(t, w, job.ID, accounts*percent/100)
					w.list.add(domain.UserID(fmt.Sprint("a", percent))) // behind the position
					in = w.start(t)
				}
				w.list.gate = nil
				w.list.given.Store(0)
				if err := in.Work(t.Context(), app, job.ID); err != nil {
					t.Fatal(err)
				}
				got := in.await(t, job.ID, export.StatusCompleted)
				if got.SHA256 != want.SHA256 || got.Position != position || got.Rows != accounts || got.Bytes != want.Bytes {
					t.Errorf("the disturbed export is %+v, the undisturbed one %+v", got, want)
				}
				if given := w.list.given.Load(); given > accounts/2 {
					t.Errorf("the last attempt read %d accounts once more", given)
				}
				if n := in.events(t, job.ID, export.Completed); n != 1 {
					t.Errorf("%d events tell that it is completed", n)
				}
				if names := in.stored(t); len(names) != 4 {
					t.Errorf("left are %v", names)
				}
			})
		}
	}
}

// events counts the events of a type that a job has.
func (in *instance) events(t *testing.T, job string, of export.EventType) (n int) {
	for _, e := range in.watch(t, job) {
		if e.Type == of {
			n++
		}
	}
	return n
}

// partsOf returns the names of the parts of a job.
func (in *instance) partsOf(t *testing.T, job string) []string {
	return slices.DeleteFunc(in.stored(t), func(name string) bool { return !strings.HasPrefix(name, job+"/part-") })
}

func TestPartsAreThrownAwayWhenTheyMayHoldADeletedAccountOrTheJobIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		spec export.Spec
		then func(t *testing.T, in *instance, w *world, job string)
		lost int // parts
	}{
		"a sweep keeps them": {then: func(t *testing.T, in *instance, w *world, _ string) {
			if err := in.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		"a deletion": {then: func(t *testing.T, in *instance, w *world, _ string) {
			if err := in.Forget(t.Context(), app, export.Deletion{User: "u000001", Position: w.list.remove("u000001")}); err != nil {
				t.Fatal(err)
			}
		}, lost: 1000},
		"a cancellation": {then: func(t *testing.T, in *instance, _ *world, job string) {
			if _, err := in.Cancel(t.Context(), export.Request{ID: "c", Actor: "alice"}, app, job); err != nil {
				t.Fatal(err)
			}
		}, lost: 1000},
		"another damaged them": {then: func(t *testing.T, in *instance, _ *world, job string) {
			for _, name := range in.partsOf(t, job) {
				if _, id, _ := strings.Cut(name, "/"); strings.Contains(id, "000003") {
					if err := in.files.Delete(t.Context(), export.FileName{App: app, Job: job, Name: id}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}, lost: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := inParts(t, 1000)
			in := w.start(t)
			job := in.order(t, "cmd", c.spec)
			in.breakOff(t, w, job.ID, 600)
			kept := len(in.partsOf(t, job.ID))
			if kept < 7 {
				t.Fatalf("%d parts are kept", kept)
			}
			c.then(t, in, w, job.ID)
			if n, want := len(in.partsOf(t, job.ID)), max(0, kept-c.lost); n != want {
				t.Fatalf("%d parts are left of %d, want %d", n, kept, want)
			}
			w.list.gate = nil
			if err := in.Work(t.Context(), app, job.ID); err != nil {
				t.Fatal(err)
			}
			if job, err := in.Get(t.Context(), app, job.ID); err != nil || job.Status == export.StatusCompleted && job.Rows != int64(len(w.list.accounts)) {
				t.Errorf("%d rows, %v", job.Rows, err)
			}
			if names := in.partsOf(t, job.ID); len(names) != 0 {
				t.Errorf("left are %v", names)
			}
		})
	}
}

func TestAPartThatIsNotWhatWasWrittenIsDroppedAndTheFileIsTheSame(t *testing.T) {
	for name, damage := range map[string]func(path string, content []byte) error{
		"a flipped bit": func(path string, content []byte) error {
			content[bytes.Index(content, []byte("u000"))+4] ^= 1 // in the id of an account
			return os.WriteFile(path, content, 0o600)
		},
		"half of it": func(path string, content []byte) error { return os.WriteFile(path, content[:len(content)/2], 0o600) },
		"nothing":    func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"another one": func(path string, _ []byte) error {
			another, err := os.ReadFile(strings.Replace(path, "-000003-", "-000001-", 1))
			return errors.Join(err, os.WriteFile(path, another, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := inParts(t, 1000)
			in := w.start(t)
			undisturbed := in.order(t, "undisturbed", export.Spec{})
			if err := in.Work(t.Context(), app, undisturbed.ID); err != nil {
				t.Fatal(err)
			}
			job := in.order(t, "cmd", export.Spec{})
			in.breakOff(t, w, job.ID, 600)
			w.list.gate = nil
			paths, err := filepath.Glob(filepath.Join(w.folder, string(app), job.ID+"-part-*-000003-*"))
			if err != nil || len(paths) != 1 {
				t.Fatalf("the part is %v, %v", paths, err)
			}
			content, err := os.ReadFile(paths[0])
			if err := errors.Join(err, damage(paths[0], content)); err != nil {
				t.Fatal(err)
			}
			w.list.given.Store(0)
			if err := in.Work(t.Context(), app, job.ID); err == nil {
				t.Error("the attempt that finds it gives no error")
			}
			if err := in.Work(t.Context(), app, job.ID); err != nil { // goes on from the part before
				t.Fatal(err)
			}
			got, want := in.await(t, job.ID, export.StatusCompleted), in.await(t, undisturbed.ID, export.StatusCompleted)
			if got.SHA256 != want.SHA256 || got.Rows != want.Rows {
				t.Errorf("the file has %d rows of SHA-256 %s, want %d of %s", got.Rows, got.SHA256, want.Rows, want.SHA256)
			}
			if given := w.list.given.Load(); given > 1000-150 {
				t.Errorf("%d accounts were read again, though three parts are whole", given)
			}
			if !strings.Contains(in.log.String(), "a part of the export is damaged") {
				t.Errorf("the log does not tell: %s", in.log)
			}
			if names := in.partsOf(t, job.ID); len(names) != 0 {
				t.Errorf("left are %v", names)
			}
		})
	}
}

func TestPartsOfAnEarlierFormAreNotReadAndAreRemoved(t *testing.T) {
	w := inParts(t, 1000)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	in.breakOff(t, w, job.ID, 600)
	w.list.gate = nil
	for _, name := range in.partsOf(t, job.ID) {
		name = filepath.Join(w.folder, string(app), strings.Replace(name, "/", "-", 1))
		if err := os.Rename(name, strings.Replace(name, "-part-3-", "-part-2-", 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.Cancel(t.Context(), export.Request{ID: "c", Actor: "alice"}, app, job.ID); err != nil {
		t.Fatal(err)
	}
	if names := in.partsOf(t, job.ID); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
}

// add creates an account and returns the position of that.
func (l *list) add(id domain.UserID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.position++
	a := l.accounts[0]
	a.UserID, a.Revision = id, l.position
	l.accounts = append([]domain.Account{a}, l.accounts...)
	slices.SortFunc(l.accounts, func(a, b domain.Account) int { return strings.Compare(string(a.UserID), string(b.UserID)) })
	return l.position
}
