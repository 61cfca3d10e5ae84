package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/handlers/export"
)

// faulty is a file store in which single steps fail.
type faulty struct {
	export.Files
	mu   sync.Mutex
	step func(step, name string) error // nil while all is well
}

func (f *faulty) fails(step, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.step == nil {
		return nil
	}
	return f.step(step, name)
}

// during has steps fail that a test picks; nil for none.
func (f *faulty) during(step func(step, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.step = step
}

func (f *faulty) Create(ctx context.Context, name export.FileName) (export.Upload, error) {
	if err := f.fails("begin", name.Name); err != nil {
		return nil, err
	}
	u, err := f.Files.Create(ctx, name)
	return &faultyUpload{u, f, name.Name}, err
}

func (f *faulty) Open(ctx context.Context, name export.FileName) (io.ReadCloser, error) {
	if err := f.fails("read", name.Name); err != nil {
		return nil, err
	}
	return f.Files.Open(ctx, name)
}

func (f *faulty) Delete(ctx context.Context, name export.FileName) error {
	if err := f.fails("remove", name.Name); err != nil {
		return err
	}
	return f.Files.Delete(ctx, name)
}

type faultyUpload struct {
	export.Upload
	store *faulty
	name  string
}

func (u *faultyUpload) Write(b []byte) (int, error) {
	if err := u.store.fails("write", u.name); err != nil {
		n, _ := u.Upload.Write(b[:len(b)/2]) // as a full disk does
		return n, err
	}
	return u.Upload.Write(b)
}

func (u *faultyUpload) Commit() error {
	if err := u.store.fails("finish", u.name); err != nil {
		u.Upload.Abort()
		return err
	}
	return u.Upload.Commit()
}

// kindOf tells what a file of an export is.
func kindOf(name string) string {
	switch {
	case strings.HasPrefix(name, "part-"):
		return "part"
	case strings.HasSuffix(name, ".manifest.json"):
		return "manifest"
	}
	return "file"
}

// newFaultyWorld is a world in parts, with a store that can fail.
func newFaultyWorld(t testing.TB, accounts int) (*world, *faulty) {
	w, store := inParts(t, accounts), &faulty{}
	w.wrap = func(f export.Files) export.Files {
		store.Files = f
		return store
	}
	return w, store
}

func TestAnExportWaitsForItsStoreWhateverStepFailsAndThenHasTheSameFile(t *testing.T) {
	t.Parallel()
	w, store := newFaultyWorld(t, 500)
	in := w.start(t)
	undisturbed := in.order(t, "undisturbed", export.Spec{})
	if err := in.Work(t.Context(), app, undisturbed.ID); err != nil {
		t.Fatal(err)
	}
	want := in.await(t, undisturbed.ID, export.StatusCompleted)
	count := 0
	for _, cause := range []error{export.ErrStoreFull, export.ErrStoreAway, export.ErrStoreRefuses, export.ErrNoBucket, nil} {
		for _, kind := range []string{"file", "manifest", "part"} {
			for _, step := range []string{"begin", "write", "finish"} {
				name := fmt.Sprintf("%s %s: %v", step, kind, cause)
				count++
				store.during(func(s, n string) error {
					if s == step && kindOf(n) == kind {
						return errors.Join(cause, errors.New("secret"))
					}
					return nil
				})
				job := in.order(t, fmt.Sprint("c", count), export.Spec{})
				err := in.Work(t.Context(), app, job.ID)
				if kind != "part" { // one that cannot be kept costs time alone, and that only when an attempt breaks off
					if err == nil {
						t.Fatalf("%s: the attempt gives no error", name)
					}
					waits := in.await(t, job.ID, export.StatusQueued)
					if links, err := in.Link(t.Context(), waits); err != nil || links != (export.Links{}) {
						t.Errorf("%s: while it waits it links to %+v, %v", name, links, err)
					}
					reason := "the file store is not available"
					if cause != nil {
						reason = cause.Error()
					}
					events, loaded := in.exports.Load(t.Context(), app, job.ID)
					if loaded != nil || !slices.ContainsFunc(events, func(e export.Event) bool { return e.Type == export.Interrupted && e.Reason == reason }) {
						t.Errorf("%s: the events are %+v, %v", name, events, loaded)
					}
					gone := cause == export.ErrStoreFull || kind == "file" && step == "begin" // which comes before all parts
					if kept := len(in.partsOf(t, job.ID)); (kept == 0) != gone {
						t.Errorf("%s: %d parts are kept", name, kept)
					}
					store.during(nil)
					err = in.Work(t.Context(), app, job.ID)
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				store.during(nil)
				if got := in.await(t, job.ID, export.StatusCompleted); got.SHA256 != want.SHA256 || got.Rows != want.Rows {
					t.Errorf("%s: the file is %+v, want %+v", name, got, want)
				}
			}
		}
	}
	if names := in.stored(t); slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "/part-") || strings.HasSuffix(n, ".tmp") }) {
		t.Errorf("left are %v", names)
	}
	if log := in.log.String(); !strings.Contains(log, "a part of an export cannot be kept") {
		t.Error("the log does not tell of parts that could not be kept")
	}
}

func TestPartsThatCannotBeReadAreWaitedForAndDamagedOnesAreThrownAway(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, in *instance, store *faulty, part export.FileName){
		"away": func(_ *testing.T, _ *instance, store *faulty, part export.FileName) {
			store.during(func(step, n string) error {
				if step == "read" && n == part.Name {
					return export.ErrStoreAway
				}
				return nil
			})
		},
		"damaged": func(t *testing.T, in *instance, _ *faulty, part export.FileName) {
			f, err := in.files.Open(t.Context(), part)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(f)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			u, err := in.files.Create(t.Context(), part)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(u, bytes.NewReader(data[:len(data)-10])); err != nil {
				t.Fatal(err)
			}
			if err := u.Commit(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, store := newFaultyWorld(t, 500)
			in := w.start(t)
			undisturbed := in.order(t, "undisturbed", export.Spec{})
			if err := in.Work(t.Context(), app, undisturbed.ID); err != nil {
				t.Fatal(err)
			}
			want := in.await(t, undisturbed.ID, export.StatusCompleted)
			job := in.order(t, "cmd", export.Spec{})
			in.breakOff(t, w, job.ID, 400)
			parts := in.partsOf(t, job.ID)
			if len(parts) < 4 {
				t.Fatalf("there are the parts %v", parts)
			}
			_, file, _ := strings.Cut(parts[2], "/")
			damage(t, in, store, export.FileName{App: app, Job: job.ID, Name: file})
			w.list.gate = nil
			if err := in.Work(t.Context(), app, job.ID); err == nil {
				t.Error("an attempt goes on from a part that it cannot read")
			}
			if got := in.await(t, job.ID, export.StatusQueued); got.Position != want.Position {
				t.Errorf("it waits at position %d, was at %d", got.Position, want.Position)
			}
			store.during(nil)
			if err := in.Work(t.Context(), app, job.ID); err != nil {
				t.Error(err)
			}
			if got := in.await(t, job.ID, export.StatusCompleted); got.SHA256 != want.SHA256 {
				t.Errorf("the file is %+v, want %+v", got, want)
			}
			if names := in.partsOf(t, job.ID); len(names) != 0 {
				t.Errorf("left are %v", names)
			}
		})
	}
}
