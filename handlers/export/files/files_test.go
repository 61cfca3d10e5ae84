package files_test

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/handlers/export"
	"rollcall/handlers/export/files"
)

const content = "user_id,nickname\r\nu1,김\r\n"

var file = export.FileName{App: "shop", Job: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Name: "accounts-shop-42.csv"}

// fixture is a store with one file, and a server for it where it is a folder.
type fixture struct {
	store  *files.Store
	cfg    files.Config // of store
	folder string       // empty where the store is a bucket
	now    time.Time
	url    string                    // of the file, for a minute
	gone   int                       // what the URL of a file that is not there answers
	raw    string                    // where the applications' folders are
	kept   func(*testing.T) []string // the paths of all that the store keeps
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{folder: filepath.Join(t.TempDir(), "exports"), now: time.Now(), gone: http.StatusGone}
	f.raw, f.kept = f.folder, func(t *testing.T) []string { return regularFiles(t, f.folder) }
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.store.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	secret, err := files.LoadSecret(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	f.cfg = files.Config{URL: "file://" + f.folder, Secret: secret, BaseURL: srv.URL, Now: func() time.Time { return f.now }}
	f.store = openStore(t, f.cfg)
	f.put(t, file, content)
	if f.url, err = f.store.URL(t.Context(), file, time.Minute); err != nil {
		t.Fatal(err)
	}
	return f
}

// regularFiles returns the paths of all files below a folder.
func regularFiles(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	if err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

func (f *fixture) put(t *testing.T, name export.FileName, content string) {
	t.Helper()
	up, err := f.store.Create(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(up, content); err != nil {
		t.Fatal(err)
	}
	if err := up.Commit(); err != nil {
		t.Fatal(err)
	}
	up.Abort() // does nothing any more
}

// do sends a request with headers given as pairs.
func do(t *testing.T, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestAFolderServesHEADAndKeepsBrowsersFromGuessing(t *testing.T) {
	f := newFixture(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		res, _ := do(t, method, f.url)
		if res.StatusCode != http.StatusOK || res.ContentLength != int64(len(content)) || res.Header.Get("Content-Type") != "text/csv; charset=utf-8" ||
			res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s answers %s: %v", method, res.Status, res.Header)
		}
	}
	head, _ := do(t, http.MethodHead, f.url)
	if res, _ := do(t, http.MethodGet, f.url, "If-Modified-Since", head.Header.Get("Last-Modified")); res.StatusCode != http.StatusNotModified {
		t.Errorf("If-Modified-Since answers %s", res.Status)
	}
	if res, body := do(t, http.MethodGet, f.url, "If-Range", head.Header.Get("ETag"), "Range", "bytes=0-3"); res.StatusCode != http.StatusPartialContent || body != content[:4] {
		t.Errorf("If-Range answers %s with %q", res.Status, body)
	}
}

func TestAURLThatWasNotGivenOutIsRefused(t *testing.T) {
	f := newFixture(t)
	other := file
	other.Job = "01ARZ3NDEKTSV4RRFFQ69G5FAW"
	f.put(t, other, "secret of another job")
	u, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	host := "http://" + u.Host
	signed := "?" + u.RawQuery
	cases := map[string]string{
		"no signature":        host + u.Path,
		"another job":         host + strings.Replace(u.Path, file.Job, other.Job, 1) + signed,
		"another application": host + strings.Replace(u.Path, "/shop/", "/shoq/", 1) + signed,
		"another name":        host + strings.Replace(u.Path, "-42", "-43", 1) + signed,
		"a later end":         strings.Replace(f.url, "expires=", "expires=9", 1),
		"half a signature":    f.url[:len(f.url)-10],
		"no base64":           f.url + "!",
		"a folder":            host + files.PathPrefix + "shop/" + signed,
		"the prefix alone":    host + files.PathPrefix,
		"a way up":            host + files.PathPrefix + "shop/..%2f..%2fetc/passwd" + signed,
		"a way up in parts":   host + files.PathPrefix + "shop/x/../" + file.Job + "/" + file.Name + signed,
	}
	for name, target := range cases {
		t.Run(name, func(t *testing.T) {
			res, body := do(t, http.MethodGet, target)
			if res.StatusCode != http.StatusForbidden || !strings.Contains(body, `"code":"invalid_signature"`) ||
				res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("answers %s: %s", res.Status, body)
			}
		})
	}
	t.Run("another method", func(t *testing.T) {
		if res, _ := do(t, http.MethodPut, f.url); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("PUT answers %s", res.Status)
		}
	})
}

func TestAURLExpires(t *testing.T) {
	f := newFixture(t)
	f.now = f.now.Add(time.Minute + time.Second)
	res, body := do(t, http.MethodGet, f.url)
	if res.StatusCode != http.StatusForbidden || !strings.Contains(body, `"code":"url_expired"`) {
		t.Errorf("answers %s: %s", res.Status, body)
	}
}

func TestAURLToARemovedFileSaysThatItIsGone(t *testing.T) {
	f := newFixture(t)
	for range 2 { // removing twice is no error
		if err := f.store.Delete(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	res, body := do(t, http.MethodGet, f.url)
	if res.StatusCode != http.StatusGone || !strings.Contains(body, `"code":"export_expired"`) {
		t.Errorf("answers %s: %s", res.Status, body)
	}
}

func TestTheFolderAndItsFilesArePrivate(t *testing.T) {
	f := newFixture(t)
	if err := filepath.WalkDir(f.folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestASecretIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	first, err := files.LoadSecret(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := files.LoadSecret(path)
	if err != nil || string(first) != string(second) || len(first) < files.MinSecretBytes {
		t.Errorf("read again it has %d bytes, %v", len(second), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := files.LoadSecret(path); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a short secret gives %v", err)
	}
}

func TestAStoreThatCannotWorkIsRefused(t *testing.T) {
	secret := make([]byte, files.MinSecretBytes)
	for name, cfg := range map[string]files.Config{
		"no URL":            {Secret: secret, BaseURL: "http://localhost"},
		"a path":            {URL: "/exports", Secret: secret, BaseURL: "http://localhost"},
		"another host":      {URL: "file://elsewhere/exports", Secret: secret, BaseURL: "http://localhost"},
		"an unknown scheme": {URL: "gopher://exports"},
		"a bucket's path":   {URL: "s3://exports/below?region=us-east-1"},
		"no bucket":         {URL: "s3://?region=us-east-1"},
		"an open prefix":    {URL: "s3://exports?region=us-east-1&prefix=staging"},
		"no such parameter": {URL: "s3://exports?regoin=us-east-1"},
		"a short secret":    {URL: "file://" + t.TempDir(), Secret: secret[1:], BaseURL: "http://localhost"},
		"no base":           {URL: "file://" + t.TempDir(), Secret: secret},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := files.Open(t.Context(), cfg); err == nil {
				t.Errorf("opened %v", s)
			}
		})
	}
}

func TestAFileIsServedAsWhatItsNameEndsWith(t *testing.T) {
	f := newFixture(t)
	for name, want := range map[string]string{
		"accounts-shop-42.ndjson":            "application/x-ndjson",
		"accounts-shop-42.xlsx":              "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		"accounts-shop-42.parquet":           "application/vnd.apache.parquet",
		"accounts-shop-42.csv.gz":            "application/gzip",
		"accounts-shop-42.ndjson.zst":        "application/zstd",
		"accounts-shop-42.csv.manifest.json": "application/json",
		"accounts-shop-42":                   "application/octet-stream",
	} {
		n := file
		n.Name = name
		f.put(t, n, content)
		link, err := f.store.URL(t.Context(), n, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		// A client that asks for compressed content gets the file's own bytes, which its hash is of.
		res, body := do(t, http.MethodGet, link, "Accept-Encoding", "gzip")
		if got := res.Header.Get("Content-Type"); got != want || body != content || res.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s is served as %q: %q", name, got, body)
		}
	}
}

func TestAFolderIsListedWhileFilesComeAndGo(t *testing.T) {
	f := newFixture(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			name := filepath.Join(f.folder, "shop", file.Job+"-half.csv.tmp")
			if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Remove(name)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 300 {
		for _, err := range f.store.All(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	<-stopped
}
