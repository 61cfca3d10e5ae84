package files_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/handlers/export"
	"rollcall/handlers/export/files"
	"rollcall/handlers/export/files/s3test"
)

// newBucket returns a store in a bucket of a real server.
func newBucket(t *testing.T) *fixture {
	t.Helper()
	server := s3test.Run(t)
	return bucketFixture(t, server, server.Bucket(t, "exports"), "exports")
}

func bucketFixture(t *testing.T, server *s3test.Server, url, raw string) *fixture {
	t.Helper()
	f := &fixture{
		now: time.Now(), gone: http.StatusNotFound, cfg: files.Config{URL: url}, store: openStore(t, files.Config{URL: url}),
		raw: filepath.Join(server.Root(), raw), kept: func(t *testing.T) []string { return server.Files(t) },
	}
	f.put(t, file, content)
	f.url = f.link(t, file)
	return f
}

func openStore(t *testing.T, cfg files.Config) *files.Store {
	t.Helper()
	s, err := files.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// checkFault checks that an error has a cause and nothing secret.
func checkFault(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want that %v", what, err, want)
	} else if strings.Contains(err.Error(), s3test.SecretKey) || strings.Contains(err.Error(), "another-secret") {
		t.Errorf("%s: the secret is in %v", what, err)
	}
}

// useAll does everything with a store that asks it something, side by side, for each part is tried again after a pause. It returns
// the errors.
func useAll(t *testing.T, s *files.Store) map[string]error {
	t.Helper()
	parts := map[string]func(context.Context) error{
		"check":       s.Check,
		"list":        func(ctx context.Context) error { return list(ctx, s) },
		"delete":      func(ctx context.Context) error { return s.Delete(ctx, file) },
		"write":       func(ctx context.Context) error { return write(ctx, s, content) },
		"write parts": func(ctx context.Context) error { return write(ctx, s, several()) },
	}
	var mu sync.Mutex
	var work sync.WaitGroup
	errs := make(map[string]error)
	for what, do := range parts {
		work.Go(func() {
			err := do(t.Context())
			mu.Lock()
			defer mu.Unlock()
			errs[what] = err
		})
	}
	work.Wait()
	return errs
}

func list(ctx context.Context, s *files.Store) error {
	for _, err := range s.All(ctx, "", "") {
		if err != nil {
			return err
		}
	}
	return nil
}

func write(ctx context.Context, s *files.Store, content string) error {
	up, err := s.Create(ctx, file)
	if err != nil {
		return err
	}
	defer up.Abort()
	if _, err := io.WriteString(up, content); err != nil {
		return err
	}
	return up.Commit()
}

func TestAStoreThatRefusesCredentialsSaysSo(t *testing.T) {
	server := s3test.Run(t)
	url := server.Bucket(t, "exports")
	for name, c := range map[string][2]string{
		"a wrong secret": {s3test.AccessKey, "another-secret"},
		"an unknown key": {"nobody", "another-secret"},
		"no credentials": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s3test.UseCredentials(t, c[0], c[1])
			s := openStore(t, files.Config{URL: url})
			for what, err := range useAll(t, s) {
				checkFault(t, what, err, export.ErrStoreRefuses)
			}
		})
	}
	if kept := server.Files(t); len(kept) > 0 {
		t.Errorf("it keeps %v", kept)
	}
}

func TestABucketThatIsNotThereIsSaidToBe(t *testing.T) {
	server := s3test.Run(t)
	for what, err := range useAll(t, openStore(t, files.Config{URL: server.URL("nowhere")})) {
		checkFault(t, what, err, export.ErrNoBucket)
	}
}

func TestAStoreThatCannotBeReachedIsUsedAgainWhenItIsBack(t *testing.T) {
	server := s3test.Run(t)
	s := openStore(t, files.Config{URL: server.Bucket(t, "exports")})
	server.Stop()
	for what, err := range useAll(t, s) {
		checkFault(t, what, err, export.ErrStoreAway)
	}
	server.Start(t)
	if err := write(t.Context(), s, content); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreThatDoesNotAnswerIsGivenUp(t *testing.T) {
	server := s3test.Run(t)
	s := openStore(t, files.Config{URL: server.Bucket(t, "exports"), Patience: 100 * time.Millisecond})
	server.Hang(true)
	for what, err := range useAll(t, s) {
		checkFault(t, what, err, export.ErrStoreAway)
	}
}

func TestAnUploadThatCouldNotBeAbortedIsListedAndRemoved(t *testing.T) {
	server := s3test.Run(t)
	f := bucketFixture(t, server, server.Bucket(t, "shared")+"&prefix=roll/call/", filepath.Join("shared", "roll", "call"))
	half := file
	half.Name = "accounts-shop-43.csv"
	up := f.begin(t, t.Context(), half, several())
	server.Stop()
	if err := up.Commit(); !errors.Is(err, export.ErrStoreAway) {
		t.Errorf("a commit while the store is away gives %v", err)
	}
	up.Abort()
	server.Start(t)

	if res, _ := do(t, http.MethodGet, f.link(t, half)); res.StatusCode != f.gone {
		t.Errorf("its URL answers %s", res.Status)
	}
	var left []export.StoredFile
	for _, stored := range f.all(t, half.App, half.Job) {
		if stored.Unfinished {
			left = append(left, stored)
		}
	}
	if len(left) != 1 || !strings.HasPrefix(left[0].Name.Name, half.Name) || left[0].Name.Job != half.Job || time.Since(left[0].Modified).Abs() > time.Minute {
		t.Fatalf("listed are %v", left)
	}
	for range 2 { // removing twice is no error
		if err := f.store.Delete(t.Context(), left[0].Name); err != nil {
			t.Fatal(err)
		}
	}
	f.checkLeft(t)
}

func TestAFileOfManyPartsTakesLittleMemory(t *testing.T) {
	f := newBucket(t)
	const (
		block  = 1 << 20
		blocks = 160
		bound  = 60 << 20
	)
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	up := f.begin(t, t.Context(), file, "")
	part := []byte(strings.Repeat("x", block))
	for n := range blocks {
		if _, err := up.Write(part); err != nil {
			t.Fatal(err)
		}
		if grown := int64(live()) - int64(before); n%8 == 7 && grown > bound {
			t.Fatalf("after %d MiB there are %d MiB more in memory", n+1, grown>>20)
		}
	}
	if err := up.Commit(); err != nil {
		t.Fatal(err)
	}
	if res, _ := do(t, http.MethodGet, f.url, "Range", "bytes=0-9"); res.Header.Get("Content-Range") != fmt.Sprintf("bytes 0-9/%d", block*blocks) {
		t.Errorf("it is stored with the range %s", res.Header.Get("Content-Range"))
	}
}

func TestStoresBelowPrefixesOfOneBucketAreApart(t *testing.T) {
	server := s3test.Run(t)
	bucket := server.Bucket(t, "shared")
	f := bucketFixture(t, server, bucket+"&prefix=roll/call/", filepath.Join("shared", "roll", "call"))
	other := bucketFixture(t, server, bucket+"&prefix=roll/call2/", filepath.Join("shared", "roll", "call2"))
	half := file
	half.Name = "accounts-shop-43.csv"
	up := other.begin(t, t.Context(), half, several())
	defer up.Abort()
	eventually(t, "an upload is under way", func() bool { return len(other.all(t, file.App, "")) == 2 })
	if got := names(f.all(t, "", "")); !slices.Equal(got, []export.FileName{file}) {
		t.Errorf("one lists %v", got)
	}
	if err := f.store.Delete(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if res, _ := do(t, http.MethodGet, f.url); res.StatusCode != f.gone {
		t.Errorf("the file that is removed answers %s", res.Status)
	}
	if res, body := do(t, http.MethodGet, other.url); body != content {
		t.Errorf("that of the other one answers %s with %q", res.Status, body)
	}
}

func TestAURLIsSignedForNoLongerThanTheStoreTakes(t *testing.T) {
	f := newBucket(t)
	for life, want := range map[time.Duration]string{
		90 * 24 * time.Hour: "X-Amz-Expires=604800&", 90*time.Second + 999*time.Millisecond: "X-Amz-Expires=90&", time.Millisecond: "X-Amz-Expires=1&",
	} {
		link, err := f.store.URL(t.Context(), file, life)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(link, want) {
			t.Errorf("for %s it is %s", life, link)
		}
	}
}

func TestNoCredentialsAreTakenFromTheURLOrTold(t *testing.T) {
	for _, url := range []string{"s3://key:another-secret@exports", "s3://key:another%zzsecret@exports", "s3://key:another-secret@exports:x"} {
		_, err := files.Open(t.Context(), files.Config{URL: url})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s gives %v", url, err)
		}
	}
}
