package export_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// manifestAt fetches a manifest.
func manifestAt(t *testing.T, url string) (text string, members map[string]any) {
	t.Helper()
	res, body := download(t, url)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("the manifest answers %s of type %s", res.Status, res.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatal(err)
	}
	return body, members
}

func TestAManifestBesideTheFileTellsWhatItHolds(t *testing.T) {
	w := newWorld(t, 10)
	in := w.start(t)
	in.work(t)
	job := in.await(t, in.order(t, "cmd", export.Spec{
		Format: export.CSV, Compression: export.Gzip, Fields: []domain.Field{domain.FieldUserID, domain.FieldLevel, domain.FieldCreatedAt},
	}).ID, export.StatusCompleted)
	links, err := in.Link(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	_, got := manifestAt(t, links.Manifest)
	for _, name := range []string{"started_at", "finished_at"} {
		at, err := time.Parse(time.RFC3339Nano, got[name].(string))
		if err != nil || at.Before(job.RequestedAt) || at.After(job.FinishedAt) {
			t.Errorf("%s is %v, %v; the job lasted from %v to %v", name, got[name], err, job.RequestedAt, job.FinishedAt)
		}
		delete(got, name)
	}
	want := map[string]any{
		"schema_version": 1.0, "job_id": job.ID, "app": "shop", "file": "accounts-shop-11.csv.gz", "format": "csv", "compression": "gzip",
		"position": 11.0, "rows": 10.0, "bytes": float64(job.Bytes), "sha256": job.SHA256,
	}
	fields, err := json.Marshal(got["fields"])
	if err != nil || string(fields) != `[{"kind":"text","name":"user_id"},{"kind":"number","name":"level"},{"kind":"time","name":"created_at"}]` {
		t.Errorf("fields are %s, %v", fields, err)
	}
	delete(got, "fields")
	if !maps.Equal(got, want) {
		t.Errorf("the manifest is %v, want %v", got, want)
	}
}

func TestTheCompletedEventLinksToTheManifest(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	in.work(t)
	events := in.watch(t, in.order(t, "cmd", export.Spec{}).ID)
	done := events[len(events)-1]
	if _, got := manifestAt(t, done.Result.ManifestURL); got["sha256"] != done.Result.SHA256 {
		t.Errorf("the manifest is %v, the event %+v", got, done.Result)
	}
}

func TestAManifestHoldsNothingPersonalOfTheChoice(t *testing.T) {
	w := newWorld(t, 10)
	in := w.start(t)
	in.work(t)
	for name, c := range map[string]struct {
		spec export.Spec
		want string
	}{
		"a text":   {export.Spec{Filter: domain.Filter{Text: "닉네임", Type: domain.TypeNormal}}, `"filter": {"type": "normal","text": true}`},
		"a type":   {export.Spec{Filter: domain.Filter{Type: domain.TypeNormal}}, `"filter": {"type": "normal","text": false}`},
		"user ids": {export.Spec{UserIDs: ids("u000007", "u000008", "nobody")}, `"user_count": 3`},
	} {
		t.Run(name, func(t *testing.T) {
			job := in.await(t, in.order(t, strings.ReplaceAll(name, " ", "-"), c.spec).ID, export.StatusCompleted)
			links, err := in.Link(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := manifestAt(t, links.Manifest)
			if oneLine := strings.NewReplacer("\n", "", "  ", "").Replace(text); !strings.Contains(oneLine, c.want) {
				t.Errorf("the manifest lacks %s: %s", c.want, text)
			}
			for _, personal := range []string{"닉네임", "u000007", "nobody"} {
				if strings.Contains(text, personal) {
					t.Errorf("the manifest holds %s: %s", personal, text)
				}
			}
		})
	}
}

func TestAManifestGoesWithItsFile(t *testing.T) {
	w := newWorld(t, 3)
	in := w.start(t)
	in.work(t)
	job := in.await(t, in.order(t, "cmd", export.Spec{}).ID, export.StatusCompleted)
	links, err := in.Link(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if names := in.stored(t); !slices.Equal(names, filesOf(job)) {
		t.Fatalf("stored are %v", names)
	}
	deleted := w.list.remove("u000001")
	if err := in.Forget(t.Context(), app, export.Deletion{User: "u000001", Position: deleted}); err != nil {
		t.Fatal(err)
	}
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
	if res, _ := download(t, links.Manifest); res.StatusCode != http.StatusGone {
		t.Errorf("the URL of a removed manifest answers %s", res.Status)
	}
}

// otherManifests is a file store that keeps manifests elsewhere.
type otherManifests struct {
	export.Files
	create func() (export.Upload, error)
}

func (s otherManifests) Create(ctx context.Context, name export.FileName) (export.Upload, error) {
	if strings.HasSuffix(name.Name, ".manifest.json") {
		return s.create()
	}
	return s.Files.Create(ctx, name)
}

func TestAFileWhoseManifestCannotBeWrittenIsRemoved(t *testing.T) {
	w := newWorld(t, 3)
	var before []string // what there was when the manifest was refused
	w.wrap = func(f export.Files) export.Files {
		return otherManifests{f, func() (export.Upload, error) {
			before, _ = filepath.Glob(filepath.Join(w.folder, string(app), "*")) // the pattern is well-formed
			return nil, errors.New("no manifests today")
		}}
	}
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	if err := in.Work(t.Context(), app, job.ID); err == nil {
		t.Error("an export without a manifest is completed")
	}
	if names := in.stored(t); len(before) != 1 || len(names) != 0 {
		t.Errorf("there were %v, left are %v", before, names)
	}
}

// nowhere is an upload that is lost.
type nowhere struct{ io.Writer }

func (nowhere) Commit() error { return nil }
func (nowhere) Abort()        {}

func TestAJobWhoseManifestIsLostExpires(t *testing.T) {
	w := newWorld(t, 3)
	w.wrap = func(f export.Files) export.Files {
		return otherManifests{f, func() (export.Upload, error) { return nowhere{io.Discard}, nil }}
	}
	in := w.start(t)
	job := in.order(t, "cmd", export.Spec{})
	if err := in.Work(t.Context(), app, job.ID); err != nil {
		t.Fatal(err)
	}
	if got := in.await(t, job.ID, export.StatusExpired); got.Error != "the file has been lost" {
		t.Errorf("it expired because %q", got.Error)
	}
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
}

// slowFiles takes a minute to write a manifest.
type slowFiles struct {
	export.Files
	clock *clock
}

func (f slowFiles) Create(ctx context.Context, name export.FileName) (export.Upload, error) {
	if strings.HasSuffix(name.Name, ".manifest.json") {
		f.clock.advance(time.Minute)
	}
	return f.Files.Create(ctx, name)
}

func TestTheURLsOfAnEventDoNotOutliveItsFile(t *testing.T) {
	w := newWorld(t, 3)
	w.wrap = func(f export.Files) export.Files { return slowFiles{f, w.clock} }
	in := w.start(t)
	in.work(t)
	job := in.await(t, in.order(t, "cmd", export.Spec{}).ID, export.StatusCompleted)
	events := in.watch(t, job.ID)
	result := events[len(events)-1].Result
	for _, link := range []string{result.DownloadURL, result.ManifestURL} {
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		if until := u.Query().Get("expires"); until != strconv.FormatInt(job.ExpiresAt.Unix(), 10) {
			t.Errorf("%s serves until %s, the file is there until %d", u.Path, until, job.ExpiresAt.Unix())
		}
	}
}
