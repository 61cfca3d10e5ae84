package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/handlers/export/files"
)

// cutter is a proxy that breaks every download off after some bytes.
type cutter struct {
	*httptest.Server
	target atomic.Pointer[url.URL]
	after  atomic.Int64
	cuts   atomic.Int64
}

func newCutter(t *testing.T) *cutter {
	t.Helper()
	c := &cutter{}
	c.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(c.target.Load()) },
		ModifyResponse: func(resp *http.Response) error {
			if strings.HasPrefix(resp.Request.URL.Path, files.PathPrefix) {
				resp.Body = &cut{body: resp.Body, left: c.after.Load(), cuts: &c.cuts}
			}
			return nil
		},
		ErrorLog: log.New(io.Discard, "", 0),
	})
	t.Cleanup(c.Close)
	return c
}

// cut is a body that breaks off.
type cut struct {
	body io.ReadCloser
	left int64
	cuts *atomic.Int64
}

func (c *cut) Read(b []byte) (int, error) {
	if c.left == 0 {
		c.cuts.Add(1)
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.body.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (c *cut) Close() error { return c.body.Close() }

func TestAnExportIsOrderedWatchedAndDownloadedAtOnce(t *testing.T) {
	proxy := newCutter(t)
	p := serveWith(t, filepath.Join(t.TempDir(), "data"), []string{"--nats-listen", "", "--public-url", proxy.URL})
	target, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy.target.Store(target)
	env := p.env()
	must(t, env, "apps", "create", "demo")
	imported(t, p.client(t), 100)
	t.Chdir(t.TempDir())
	order := func(args ...string) string {
		t.Helper()
		return must(t, env, append([]string{"exports", "create", "--format", "ndjson"}, args...)...)
	}
	proxy.after.Store(1 << 40)
	order("--download", "all.ndjson")
	all, err := os.ReadFile("all.ndjson")
	if err != nil || bytes.Count(all, []byte("\n")) != 100 {
		t.Fatalf("the file has %d rows (%v)", bytes.Count(all, []byte("\n")), err)
	}
	proxy.after.Store(int64(len(all))/2 + 1) // one half at a time
	for what, args := range map[string][]string{
		"a name of its own":   {"--watch", "--download"},
		"a name":              {"--download=halves.ndjson", "--watch"},
		"standard output":     {"--download", "-"},
		"no more than a flag": {"--download", "--output", "json"},
	} {
		before := proxy.cuts.Load()
		out := order(args...)
		if proxy.cuts.Load() == before {
			t.Errorf("%s: the download was not broken off", what)
		}
		if what == "standard output" && out != string(all) {
			t.Errorf("%s: %d bytes came, want %d", what, len(out), len(all))
		}
	}
	names, err := filepath.Glob("*")
	if err != nil || len(names) != 4 {
		t.Fatalf("the folder holds %v: %v", names, err)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, all) {
			t.Errorf("%s is not what was exported (%v)", name, err)
		}
	}
	for _, args := range [][]string{{"--download", "a", "b"}, {"--download", "--frobnicate"}} {
		if code, _, errs := rollcall(t, env, "", append([]string{"exports", "create"}, args...)...); code != exitUsage {
			t.Errorf("%v: status %d, %s", args, code, errs)
		}
	}
}

func TestBytesThatAreNotTheExportsDoNotGetItsName(t *testing.T) {
	t.Parallel()
	content := []byte("what was exported")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	defer other.Close()
	api, err := client.New(other.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	good := client.Export{ID: "x", App: "demo", Status: "completed", Bytes: int64(len(content)), SHA256: fmt.Sprintf("%x", sha256.Sum256(content)), DownloadURL: other.URL}
	name := filepath.Join(t.TempDir(), "file")
	ignore := func(int64) {}
	for what, change := range map[string]func(*client.Export){
		"another hash": func(e *client.Export) { e.SHA256 = strings.Repeat("0", 64) },
		"more bytes":   func(e *client.Export) { e.Bytes-- },
	} {
		e := good
		change(&e)
		if err := api.Download(t.Context(), e, name, ignore); err == nil || !strings.Contains(err.Error(), "not what was exported") {
			t.Errorf("%s: %v", what, err)
		}
		if left, err := filepath.Glob(name + "*"); err != nil || len(left) != 0 {
			t.Errorf("%s: %v is left", what, left)
		}
		if err := api.Copy(t.Context(), e, io.Discard, ignore); err == nil || !strings.Contains(err.Error(), "not what was exported") {
			t.Errorf("%s, to a stream: %v", what, err)
		}
	}
	if err := api.Download(t.Context(), good, name, ignore); err != nil {
		t.Error(err)
	}
}

func TestWhoeverStopsWatchingIsToldHowToGoOn(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			interrupt()
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"id":"01J","app":"demo","status":"running","progress":{"done":5,"total":10,"bytes":2500,"rows_per_second":2,"seconds_left":3}}`)
	}))
	defer service.Close()
	var out, errs bytes.Buffer
	code := Run(ctx, []string{"exports", "create", "--download", "--server", service.URL, "--app", "demo"}, variables(nil), strings.NewReader(""), &out, &errs)
	want := "rollcall: interrupted: export 01J goes on; follow it with rollcall exports watch 01J --app demo, end it with rollcall exports cancel 01J --app demo\n"
	if code != exitFailed || errs.String() != want {
		t.Errorf("status %d and %q, want %q", code, errs.String(), want)
	}
}

func TestProgressTellsWhatTheServiceSays(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := newProgress(&out, "rows", 1_000_000)
	p.bytes, p.rate, p.left = 12_345_678, 2000, 3e9
	p.tell(500_000)
	if got, want := out.String(), "500,000 of 1,000,000 rows, 12.3 MB, 2,000/s, 3s left\n"; got != want {
		t.Errorf("progress is %q, want %q", got, want)
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 5_400_000_000: "5.4 GB", 7e15: "7000.0 TB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}
