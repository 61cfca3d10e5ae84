// Package s3test runs a real S3 server over a folder, which tests can take away and bring back. It must only be imported by
// tests.
package s3test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// AccessKey and SecretKey are what the server takes.
const (
	AccessKey = "rollcall-test"
	SecretKey = "never-to-be-seen-in-a-message"
)

const (
	region   = "us-east-1"
	building = 10 * time.Minute // the first time
	starting = 30 * time.Second
	private  = 0o700
)

// Server is an S3 server. Between it and its clients is a proxy, so that its address stays while it is stopped.
type Server struct {
	command string
	root    string // with a folder for each bucket
	sidecar string // what the server knows of files
	earlier string // versions of files that buckets with versioning keep
	socket  string
	proxy   *httptest.Server
	hanging atomic.Bool
	over    chan struct{} // closed by the end of the test

	process *exec.Cmd // nil while it is stopped
	exited  chan struct{}
}

// Run starts a server without buckets and gives its credentials to the environment of the test, whose end stops it.
func Run(t testing.TB) *Server {
	t.Helper()
	work, err := os.MkdirTemp("", "s3") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(work); err != nil {
			t.Error(err)
		}
	})
	s := &Server{
		command: build(t), root: filepath.Join(work, "root"), sidecar: filepath.Join(work, "sidecar"), earlier: filepath.Join(work, "earlier"), socket: filepath.Join(work, "socket"),
		over: make(chan struct{}),
	}
	for _, dir := range []string{s.root, s.sidecar, s.earlier} {
		if err := os.Mkdir(dir, private); err != nil {
			t.Fatal(err)
		}
	}
	s.proxy = httptest.NewServer(s.forward())
	t.Cleanup(func() {
		close(s.over)
		s.proxy.Close()
	})
	s.Start(t)
	t.Cleanup(s.Stop)
	UseCredentials(t, AccessKey, SecretKey)
	return s
}

// UseCredentials makes the AWS SDK take these and nothing of the machine's until the end of the test.
func UseCredentials(t testing.TB, access, secret string) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
}

// build returns the server's program, of the module .ci/tools. The go command keeps what it built.
func build(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), building)
	defer cancel()
	var errs strings.Builder
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", "versitygw")
	cmd.Dir, cmd.Stderr = filepath.Join(moduleRoot(t), ".ci", "tools"), &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build the S3 server: %v: %s", err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// moduleRoot returns the closest folder above with a go.mod.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("there is no go.mod in any folder above")
		}
		dir = up
	}
}

// Start starts the server again.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	var errs strings.Builder
	cmd := exec.Command(s.command, "--port", s.socket, "--region", region, "--quiet", "posix", "--sidecar", s.sidecar, "--versioning-dir", s.earlier, s.root)
	cmd.Env = []string{"ROOT_ACCESS_KEY_ID=" + AccessKey, "ROOT_SECRET_ACCESS_KEY=" + SecretKey, "PATH=" + os.Getenv("PATH"), "HOME=" + s.root}
	cmd.Stderr, cmd.Stdout = &errs, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	endWithTest(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.exited = cmd, make(chan struct{})
	exited := s.exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // it is killed
	}()
	if !s.listens() {
		s.Stop()
		t.Fatalf("the S3 server did not come up: %s", errs.String())
	}
}

// listens waits until the server can be reached.
func (s *Server) listens() bool {
	deadline := time.NewTimer(starting)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("unix", s.socket); err == nil {
			_ = c.Close()
			return true
		}
		select {
		case <-tick.C:
		case <-s.exited:
			return false
		case <-deadline.C:
			return false
		}
	}
}

// Stop kills the server. Requests from then on break off without an answer.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // it may have ended
	<-s.exited
	s.process = nil
	_ = os.Remove(s.socket) // it is gone when the server never listened
}

// Hang makes requests wait without an answer from now on, or no longer.
func (s *Server) Hang(hang bool) { s.hanging.Store(hang) }

// forward hands requests on as they are, for their signatures hold the host.
func (s *Server) forward() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "server"
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", s.socket)
			},
			DisableCompression: true, DisableKeepAlives: true,
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.hanging.Load() {
			select {
			case <-r.Context().Done():
			case <-s.over:
			}
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// Bucket creates a bucket, unless it is there, and returns its URL.
func (s *Server) Bucket(t testing.TB, name string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.root, name), private); err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}

// URL returns the URL of a bucket, whether it is there or not.
func (s *Server) URL(bucket string) string {
	return "s3://" + bucket + "?" + url.Values{"endpoint": {s.proxy.URL}, "region": {region}, "use_path_style": {"true"}}.Encode()
}

// Root returns the folder in which the buckets are folders and the files are files.
func (s *Server) Root() string { return s.root }

// Files returns the paths of all files in which the server keeps what was sent to it, parts of unfinished files too.
func (s *Server) Files(t testing.TB) []string {
	t.Helper()
	var found []string
	if err := fs.WalkDir(os.DirFS(s.root), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			return nil
		case err != nil:
			return err
		case d.Name() == ".vgwlocks": // empty files
			return fs.SkipDir
		case d.Type().IsRegular():
			found = append(found, path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}
