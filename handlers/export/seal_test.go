package export_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/export"
)

// filesWith returns the files below a folder that hold some bytes.
func filesWith(t *testing.T, folder, secret string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // removed a moment ago
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if bytes.Contains(b, []byte(secret)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// requested returns the requested event of a job.
func (in *instance) requested(t *testing.T, job string) export.Event {
	t.Helper()
	events, err := in.exports.Load(t.Context(), app, job)
	if err != nil || len(events) == 0 || events[0].Type != export.Requested {
		t.Fatalf("the events of the job are %v, %v", events, err)
	}
	return events[0]
}

func TestWhatAFilterSearchesForIsInNoFileAndUnreadableOnceTheJobIsOver(t *testing.T) {
	const name = "비밀이름"
	w := newWorld(t, 3)
	data := filepath.Dir(t.TempDir()) // holds the folders of the server, the files and the master key
	in := w.start(t)
	spec := export.Spec{Filter: domain.Filter{Type: domain.TypeNormal, Text: name}}
	job := in.order(t, "cmd", spec)
	if job.Spec.Filter.Text != name {
		t.Errorf("the ordered job searches for %q", job.Spec.Filter.Text)
	}
	if got := in.await(t, job.ID, export.StatusQueued); got.Spec.Filter != spec.Filter {
		t.Errorf("the queued job has the filter %+v", got.Spec.Filter)
	}
	if listed, _, err := in.List(t.Context(), app, 1, ""); err != nil || listed[0].Spec.Filter != spec.Filter {
		t.Errorf("the queued job is listed as %+v, %v", listed, err)
	}
	if again := in.order(t, "cmd", spec); again.ID != job.ID {
		t.Errorf("the same order again gives %s", again.ID)
	}
	other := export.Spec{App: app, Format: export.NDJSON, Filter: domain.Filter{Type: domain.TypeNormal, Text: "other"}}
	if _, err := in.Order(t.Context(), export.Request{ID: "cmd", Actor: "alice"}, other); !errors.Is(err, export.CodeIDReused) {
		t.Errorf("the same id for another search gives %v", err)
	}
	if found := filesWith(t, data, name); len(found) > 0 {
		t.Errorf("while the job is queued the text is in %v", found)
	}
	requested := in.requested(t, job.ID)
	if found := filesWith(t, data, job.ID); len(found) == 0 {
		t.Fatal("not even the job's id is found in a file")
	}
	in.work(t)
	job = in.await(t, job.ID, export.StatusCompleted)
	if job.Rows != 0 || job.Spec.Filter != (domain.Filter{Type: domain.TypeNormal}) {
		t.Errorf("the completed job has %d rows and the filter %+v", job.Rows, job.Spec.Filter)
	}
	eventually(t, "the key is destroyed", func() bool {
		_, err := w.openKeys(t, in.js).Unseal(t.Context(), requested.KeyID, requested.SealedText, nil)
		return errors.Is(err, eventstore.ErrKeyDestroyed)
	})
	if found := filesWith(t, data, name); len(found) > 0 {
		t.Errorf("when the job is over the text is in %v", found)
	}
	if again := in.order(t, "cmd", spec); again.ID != job.ID {
		t.Errorf("the same order when the job is over gives %s", again.ID)
	}
	if _, err := in.Order(t.Context(), export.Request{ID: "cmd", Actor: "alice"}, export.Spec{App: app, Format: export.NDJSON, Filter: domain.Filter{Type: domain.TypeNormal}}); !errors.Is(err, export.CodeIDReused) {
		t.Errorf("the same id without a search gives %v", err)
	}
}

func TestAFilterIsAppliedByAnotherInstanceThanTheOneThatWasAsked(t *testing.T) {
	w := newWorld(t, 20)
	in, other := w.start(t), w.start(t)
	job := in.order(t, "cmd", export.Spec{Filter: domain.Filter{Text: "닉네임 1"}})
	other.work(t)
	if job = in.await(t, job.ID, export.StatusCompleted); job.Rows != 11 {
		t.Errorf("%d rows, want those of 1 and 10 to 19", job.Rows)
	}
}

func TestTheKeyOfAJobThatEndedUnseenIsDestroyedAtTheNextStart(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{Filter: domain.Filter{Text: "x"}})
	in.stop()
	if _, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "bob"}, app, job.ID); err != nil {
		t.Fatal(err)
	}
	requested := in.requested(t, job.ID)
	if _, err := w.openKeys(t, in.js).Unseal(t.Context(), requested.KeyID, requested.SealedText, nil); errors.Is(err, eventstore.ErrKeyDestroyed) {
		t.Fatalf("nobody runs, yet the key is destroyed: %v", err)
	}
	next := w.start(t)
	eventually(t, "the key is destroyed", func() bool {
		_, err := w.openKeys(t, next.js).Unseal(t.Context(), requested.KeyID, requested.SealedText, nil)
		return errors.Is(err, eventstore.ErrKeyDestroyed)
	})
}

func TestAnOrderThatIsRepeatedTakesNoMoreKeys(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	spec := export.Spec{Filter: domain.Filter{Text: "비밀이름"}}
	blocks := func() uint64 {
		t.Helper()
		keys, err := in.js.Stream(t.Context(), "KEYS")
		if err != nil {
			t.Fatal(err)
		}
		return keys.CachedInfo().State.Msgs
	}
	job := in.order(t, "cmd", spec)
	before := blocks()
	for range 300 {
		if again := in.order(t, "cmd", spec); again.ID != job.ID {
			t.Fatalf("the repeated order gives %s, want %s", again.ID, job.ID)
		}
	}
	if n := blocks(); n > before+1 { // one that was made ahead for the first
		t.Errorf("there are %d blocks of keys, before there were %d", n, before)
	}
	_, err := in.Order(t.Context(), export.Request{ID: "cmd", Actor: "alice"}, export.Spec{App: app, Format: export.NDJSON, Filter: domain.Filter{Text: "another"}})
	if !errors.Is(err, export.CodeIDReused) {
		t.Errorf("the same command with another text gives %v", err)
	}
}
