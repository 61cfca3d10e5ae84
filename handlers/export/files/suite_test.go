package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
	"rollcall/handlers/export/files"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// inEach runs a test in each kind of store.
func inEach(t *testing.T, test func(*testing.T, *fixture)) {
	t.Run("in a folder", func(t *testing.T) { test(t, newFixture(t)) })
	t.Run("in a bucket", func(t *testing.T) { test(t, newBucket(t)) })
}

// begin writes to a new file.
func (f *fixture) begin(t *testing.T, ctx context.Context, name export.FileName, content string) export.Upload {
	t.Helper()
	up, err := f.store.Create(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(up, content); err != nil {
		t.Fatal(err)
	}
	return up
}

// link returns the URL of a file for a minute.
func (f *fixture) link(t *testing.T, name export.FileName) string {
	t.Helper()
	link, err := f.store.URL(t.Context(), name, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// all returns what the store lists.
func (f *fixture) all(t *testing.T, app domain.AppID, job string) []export.StoredFile {
	t.Helper()
	var found []export.StoredFile
	for stored, err := range f.store.All(t.Context(), app, job) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, stored)
	}
	return found
}

func names(stored []export.StoredFile) []export.FileName {
	var found []export.FileName
	for _, s := range stored {
		found = append(found, s.Name)
	}
	return found
}

// checkLeft checks that the store keeps the first file of the fixture and nothing else, whatever it lists.
func (f *fixture) checkLeft(t *testing.T) {
	t.Helper()
	if got := names(f.all(t, "", "")); !slices.Equal(got, []export.FileName{file}) {
		t.Errorf("the store lists %v", got)
	}
	if got := f.kept(t); len(got) != 1 || !strings.HasSuffix(got[0], file.Name) {
		t.Errorf("the store keeps %v", got)
	}
}

// several are more bytes than go into one part of an upload.
func several() string { return strings.Repeat("u1,김,0123456789\r\n", 1<<20) }

func TestAFileIsServedWithItsNameAndType(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		res, body := do(t, http.MethodGet, f.url)
		if res.StatusCode != http.StatusOK || res.ContentLength != int64(len(content)) || body != content {
			t.Errorf("it answers %s with length %d and %q", res.Status, res.ContentLength, body)
		}
		for name, want := range map[string]string{
			"Content-Type":        "text/csv; charset=utf-8",
			"Content-Disposition": "attachment; filename=accounts-shop-42.csv",
			"Cache-Control":       "private, no-store",
			"Accept-Ranges":       "bytes",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	})
}

func TestPartsAndConditionsAreServed(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		res, body := do(t, http.MethodGet, f.url, "Range", "bytes=5-10")
		etag := res.Header.Get("ETag")
		if etag == "" {
			t.Fatal("there is no ETag")
		}
		if res.StatusCode != http.StatusPartialContent || body != content[5:11] {
			t.Errorf("a range answers %s with %q", res.Status, body)
		}
		if res, body = do(t, http.MethodGet, f.url, "Range", "bytes=-4"); body != content[len(content)-4:] {
			t.Errorf("the last bytes answer %s with %q", res.Status, body)
		}
		if res, _ = do(t, http.MethodGet, f.url, "Range", "bytes=1000-"); res.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("a range past the end answers %s", res.Status)
		}
		if res, _ = do(t, http.MethodGet, f.url, "If-None-Match", etag); res.StatusCode != http.StatusNotModified {
			t.Errorf("If-None-Match answers %s", res.Status)
		}
	})
}

func TestAURLServesOneFileAndNoOther(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		other := file
		other.Job = "01ARZ3NDEKTSV4RRFFQ69G5FAW"
		f.put(t, other, content)
		address, query, _ := strings.Cut(f.url, "?")
		host, _, _ := strings.Cut(strings.TrimPrefix(address, "http://"), "/")
		for name, target := range map[string]string{
			"no signature": address,
			"another job":  strings.Replace(f.url, file.Job, other.Job, 1),
			"a later end":  strings.NewReplacer("expires=", "expires=9", "X-Amz-Expires=", "X-Amz-Expires=9").Replace(f.url),
			"a changed signature": strings.NewReplacer("signature=", "signature=A", "X-Amz-Signature=", "X-Amz-Signature=0").
				Replace(f.url),
			"the folder above": address[:strings.LastIndex(address, "/")+1] + "?" + query,
			"the root":         "http://" + host + "/?" + query,
		} {
			if res, body := do(t, http.MethodGet, target); res.StatusCode < http.StatusBadRequest || strings.Contains(body, "nickname") {
				t.Errorf("%s answers %s: %s", name, res.Status, body)
			}
		}
	})
}

func TestAURLExpiresAsItSays(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		link, err := f.store.URL(t.Context(), file, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the URL has expired", func() bool {
			if f.folder != "" {
				f.now = f.now.Add(time.Second)
			}
			res, _ := do(t, http.MethodGet, link)
			return res.StatusCode == http.StatusForbidden
		})
		if res, _ := do(t, http.MethodGet, f.url); res.StatusCode != http.StatusOK && f.folder == "" {
			t.Errorf("one that is signed for longer answers %s", res.Status)
		}
	})
}

// eventually polls a condition until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("in vain waited %s until %s", patience, what)
		}
	}
}

func TestAFileThatIsRemovedIsGone(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		for range 2 { // removing twice is no error
			if err := f.store.Delete(t.Context(), file); err != nil {
				t.Fatal(err)
			}
		}
		res, body := do(t, http.MethodGet, f.url)
		if res.StatusCode != f.gone || strings.Contains(body, "nickname") {
			t.Errorf("its URL answers %s: %s", res.Status, body)
		}
		if got, kept := f.all(t, "", ""), f.kept(t); len(got) > 0 || len(kept) > 0 {
			t.Errorf("the store lists %v and keeps %v", got, kept)
		}
	})
}

func TestAFileIsReplacedAsAWhole(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		up := f.begin(t, t.Context(), file, "another content")
		if _, body := do(t, http.MethodGet, f.url); body != content {
			t.Errorf("before it is replaced it is %q", body)
		}
		if err := up.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, body := do(t, http.MethodGet, f.url); body != "another content" {
			t.Errorf("then it is %q", body)
		}
		f.checkLeft(t)
	})
}

func TestAFileOfSeveralPartsIsStoredAsItIsWritten(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		whole := several()
		f.put(t, file, whole)
		res, body := do(t, http.MethodGet, f.url)
		if sha256.Sum256([]byte(body)) != sha256.Sum256([]byte(whole)) {
			t.Errorf("it answers %s with %d bytes of %d", res.Status, len(body), len(whole))
		}
		if got := res.Header.Get("Content-Disposition"); got != "attachment; filename=accounts-shop-42.csv" {
			t.Errorf("its name is %q", got)
		}
		f.checkLeft(t)
	})
}

func TestAnEmptyFileIsStored(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		f.put(t, file, "")
		if res, body := do(t, http.MethodGet, f.url); res.StatusCode != http.StatusOK || body != "" {
			t.Errorf("it answers %s with %q", res.Status, body)
		}
	})
}

func TestWhatIsNotCommittedCannotBeReadAndLeavesNothing(t *testing.T) {
	half := file
	half.Name = "accounts-shop-43.csv"
	for _, c := range []struct{ name, content string }{{"of one part", content}, {"of several parts", several()}} {
		for name, end := range map[string]func(*testing.T, export.Upload, context.CancelFunc){
			"that is aborted": func(_ *testing.T, up export.Upload, _ context.CancelFunc) { up.Abort() },
			"whose context ends before it is committed": func(t *testing.T, up export.Upload, cancel context.CancelFunc) {
				cancel()
				if err := up.Commit(); err == nil {
					t.Error("it was committed")
				}
				up.Abort()
			},
			"whose context ends before it is aborted": func(_ *testing.T, up export.Upload, cancel context.CancelFunc) {
				cancel()
				up.Abort()
			},
		} {
			t.Run("one "+c.name+" "+name, func(t *testing.T) {
				inEach(t, func(t *testing.T, f *fixture) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					up := f.begin(t, ctx, half, c.content)
					link := f.link(t, half)
					if res, body := do(t, http.MethodGet, link); res.StatusCode != f.gone || strings.Contains(body, content) {
						t.Errorf("while it is written its URL answers %s", res.Status)
					}
					end(t, up, cancel)
					if res, _ := do(t, http.MethodGet, link); res.StatusCode != f.gone {
						t.Errorf("then its URL answers %s", res.Status)
					}
					f.checkLeft(t)
				})
			})
		}
	}
}

func TestFilesAreListedByApplicationAndJob(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		sibling := export.FileName{App: file.App, Job: "01BX5ZZKBKACTAV9WEVGEMMVRZ", Name: file.Name}
		stranger := export.FileName{App: file.App + "2", Job: file.Job, Name: "accounts-shop2-42.csv"}
		f.put(t, sibling, content)
		f.put(t, stranger, content)
		for _, c := range []struct {
			app  domain.AppID
			job  string
			want []export.FileName
		}{
			{"", "", []export.FileName{file, sibling, stranger}},
			{file.App, "", []export.FileName{file, sibling}},
			{file.App, file.Job, []export.FileName{file}},
			{"nobody", "", nil},
		} {
			stored := f.all(t, c.app, c.job)
			if got := names(stored); !slices.Equal(got, c.want) {
				t.Errorf("of %q and %q there are %v, want %v", c.app, c.job, got, c.want)
			}
			for _, s := range stored {
				if age := time.Since(s.Modified); age < -time.Minute || age > time.Minute || s.Unfinished {
					t.Errorf("%v is %s old, unfinished: %t", s.Name, age, s.Unfinished)
				}
			}
		}
	})
}

func TestMoreFilesThanOnAPageAreListed(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		const more = 1100 // a page of S3 has 1,000
		for n := range more {
			name := export.FileName{App: file.App, Job: fmt.Sprintf("01ARZ3NDEKTSV4RRFFQ7%06d", n), Name: file.Name}
			path := filepath.Join(f.raw, string(name.App), name.Job+"-"+name.Name)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.all(t, file.App, ""); len(got) != more+1 {
			t.Errorf("%d files are listed", len(got))
		}
		if got := f.all(t, file.App, "01ARZ3NDEKTSV4RRFFQ7001099"); len(got) != 1 {
			t.Errorf("of the last job %d files are listed", len(got))
		}
	})
}

func TestAStoreThatWorksPassesItsCheck(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		for range 2 { // with a file and without one
			if err := f.store.Check(t.Context()); err != nil {
				t.Error(err)
			}
			if err := f.store.Delete(t.Context(), file); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestWritesOfAllSizesArriveInOrder(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		up := f.begin(t, t.Context(), file, "")
		var want bytes.Buffer
		for n := 1; want.Len() < 9<<20; n = n*3 + 1 {
			part := bytes.Repeat([]byte{byte(n)}, n%(1<<20)+1)
			want.Write(part)
			if _, err := up.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := up.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, body := do(t, http.MethodGet, f.url); body != want.String() {
			t.Errorf("%d bytes are others than the %d that were written", len(body), want.Len())
		}
	})
}

func TestAFileThatIsCommittedCanBeRead(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		r, err := f.store.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if body, err := io.ReadAll(r); err != nil || string(body) != content {
			t.Errorf("it reads %q, %v", body, err)
		}
		other := file
		other.Name = "none.csv"
		defer f.begin(t, t.Context(), other, content).Abort()
		if r, err := f.store.Open(t.Context(), other); err == nil {
			r.Close()
			t.Error("a file that is not committed can be read")
		}
	})
}

func TestWhatRollcallDidNotPutThereIsNotListed(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		for _, path := range []string{
			"backups/2026-11-25T17:00:00.123456-db.dump",                    // has an id's length before the dash
			"shop/01ARZ3NDEKTSV4RRFFQ69G5FAV-notes.txt",                     // of no name that exports give
			"shop/01arz3ndektsv4rrffq69g5fav-accounts-shop-42.csv",          // lower case
			"shop/01ARZ3NDEKTSV4RRFFQ69G5FAV-accounts-other-42.csv",         // of another application
			"Shop/01ARZ3NDEKTSV4RRFFQ69G5FAV-accounts-Shop-42.csv",          // of none
			"deeper/shop/01ARZ3NDEKTSV4RRFFQ69G5FAV-accounts-shop-42.csv",   // of a store below
			"shop/01ARZ3NDEKTSV4RRFFQ69G5FAV-accounts-shop-42.csv.old",      // beside one
			"shop/01ARZ3NDEKTSV4RRFFQ69G5FAV-accounts-shop-42.csv/more.csv", // below one
			"readme.txt",
		} {
			path = filepath.Join(f.raw, filepath.FromSlash(path))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				continue // a file is where the folder would be
			}
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := names(f.all(t, "", "")); !slices.Equal(got, []export.FileName{file}) {
			t.Errorf("the store lists %v", got)
		}
	})
}

func TestAStoreHasOneOwner(t *testing.T) {
	const staging, production = "01BX5ZZKBKACTAV9WEVGEMMVRZ", "01BX5ZZKBKACTAV9WEVGEMMVS0"
	inEach(t, func(t *testing.T, f *fixture) {
		open := func(owner string) *files.Store {
			cfg := f.cfg
			cfg.Owner = owner
			return openStore(t, cfg)
		}
		for range 2 { // instances
			if err := open(staging).Claim(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		other := open(production)
		for what, err := range useAll(t, other) {
			checkFault(t, what, err, export.ErrStoreTaken)
		}
		if _, err := other.Open(t.Context(), file); !errors.Is(err, export.ErrStoreTaken) {
			t.Errorf("a file of the other one is read: %v", err)
		}
		if _, body := do(t, http.MethodGet, f.url); body != content {
			t.Errorf("the file of the owner is %q", body)
		}
		if err := write(t.Context(), open(staging), "again"); err != nil {
			t.Errorf("the owner cannot write: %v", err)
		}

		if f.folder == "" {
			return // the server remembers a file that is removed behind its back
		}
		if err := os.Remove(filepath.Join(f.raw, "rollcall.json")); err != nil { // as an operator does who knows better
			t.Fatal(err)
		}
		if err := list(t.Context(), other); err != nil {
			t.Errorf("without the mark: %v", err)
		}
		if err := open(staging).Claim(t.Context()); !errors.Is(err, export.ErrStoreTaken) || !strings.Contains(err.Error(), production) {
			t.Errorf("the owner before gets %v", err)
		}
	})
}

func TestAMarkThatNamesNobodyIsNotReplaced(t *testing.T) {
	inEach(t, func(t *testing.T, f *fixture) {
		if err := os.WriteFile(filepath.Join(f.raw, "rollcall.json"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := f.cfg
		cfg.Owner = "01BX5ZZKBKACTAV9WEVGEMMVRZ"
		if err := openStore(t, cfg).Claim(t.Context()); !errors.Is(err, export.ErrStoreTaken) {
			t.Errorf("it is claimed: %v", err)
		}
	})
}
