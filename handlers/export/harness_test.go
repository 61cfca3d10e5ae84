package export_test

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore/keyring"
	"rollcall/eventstore/storetest"
	"rollcall/handlers/export"
	"rollcall/handlers/export/files"
	"rollcall/handlers/messaging"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// ackWait is how long it takes until the job of a dead worker is given to another.
const ackWait = time.Second

// clock is a clock that can be moved forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// world is a server, a folder, an account list and a clock, which instances of the service share.
type world struct {
	url    string
	folder string
	bucket string // URL of a file store that is not the folder, if set
	list   *list
	scan   export.Accounts                 // list, unless a test has another
	past   export.Past                     // list, unless a test has another
	wrap   func(export.Files) export.Files // of the file store, if set
	log    interface {                     // list, unless a test has another
		export.Log
		export.Waiter
	}
	listed   int // MaxListed of instances, if set
	chunk    int // ChunkRows of instances, if set
	part     int // PartRows of instances, if set
	observe  func(export.Attempt)
	quota    export.Quota    // of instances, if set
	onDelete export.OnDelete // of instances, if set
	calm     time.Duration   // Calm of instances: none unless set
	clock    *clock
	secret   []byte
	master   keyring.MasterKey
}

func newWorld(t testing.TB, accounts int) *world {
	t.Helper()
	l := newList(accounts)
	master, err := keyring.CreateMasterKey(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		master: master,
		url:    storetest.RunServer(t), folder: filepath.Join(t.TempDir(), "exports"),
		list: l, scan: l, past: l, log: l, clock: &clock{}, secret: make([]byte, files.MinSecretBytes),
	}
}

// instance is one instance of the service.
type instance struct {
	*export.Service
	js      jetstream.JetStream
	exports *messaging.Exports
	files   *files.Store
	http    *httptest.Server
	keys    *keyring.Keyring
	stop    func() // ends Run
	log     *lines // what the service logged
}

// start runs an instance without a worker until the end of the test.
func (w *world) start(t testing.TB) *instance {
	t.Helper()
	js, err := jetstream.New(storetest.Connect(t, w.url))
	if err != nil {
		t.Fatal(err)
	}
	in := &instance{js: js, log: &lines{}, keys: w.openKeys(t, js)}
	if in.exports, err = messaging.OpenExports(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	in.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { in.files.ServeHTTP(rw, r) }))
	t.Cleanup(in.http.Close)
	if in.files, err = files.Open(t.Context(), files.Config{URL: cmp.Or(w.bucket, "file://"+w.folder), Secret: w.secret, BaseURL: in.http.URL, Now: w.clock.now}); err != nil {
		t.Fatal(err)
	}
	if in.Service, err = export.New(export.Config{
		Events: in.exports, Queue: in.exports, Files: w.through(in.files), Accounts: w.scan, Past: w.past, Waiter: w.log, Log: w.log, Sealer: in.keys,
		Logger: slog.New(slog.NewTextHandler(in.log, nil)),
		Now:    w.clock.now, MaxAttempts: attempts, MaxListed: w.listed, ChunkRows: w.chunk, PartRows: w.part, Observe: w.observe, Quota: w.quota,
		OnDelete: w.onDelete, Calm: cmp.Or(w.calm, time.Nanosecond),
	}); err != nil {
		t.Fatal(err)
	}
	in.stop = background(t, in.Run)
	return in
}

// openKeys opens the keyring anew, with nothing in memory.
func (w *world) openKeys(t testing.TB, js jetstream.JetStream) *keyring.Keyring {
	t.Helper()
	keys, err := keyring.Open(t.Context(), js, w.master, keyring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	return keys
}

// through returns the file store as the service sees it.
func (w *world) through(f export.Files) export.Files {
	if w.wrap == nil {
		return f
	}
	return w.wrap(f)
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// work runs a worker until it is stopped or the test ends.
func (in *instance) work(t testing.TB) (stop func()) {
	t.Helper()
	return background(t, func(ctx context.Context) error {
		return in.exports.RunExportWorker(ctx, messaging.ExportWorkerConfig{
			Work: in.Work, RetryAfter: time.Millisecond, MaxRetryAfter: 10 * time.Millisecond, AckWait: ackWait,
		})
	})
}

// complete orders an export and returns it once it is completed and its worker has ended.
func (in *instance) complete(t testing.TB, command string, spec export.Spec) export.Job {
	t.Helper()
	id := in.order(t, command, spec).ID
	if err := <-in.workOn(t, id); err != nil {
		t.Fatal(err)
	}
	return in.await(t, id, export.StatusCompleted)
}

// background runs a function until it is stopped or the test ends.
func background(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// order orders an export of everything, unless the spec says otherwise.
func (in *instance) order(t testing.TB, command string, spec export.Spec) export.Job {
	t.Helper()
	spec.App = app
	if spec.Format == "" {
		spec.Format = export.NDJSON
	}
	job, err := in.Order(t.Context(), export.Request{ID: command, Actor: "alice"}, spec)
	if err != nil {
		t.Fatalf("order: %v", err)
	}
	return job
}

// await waits until a job has a status.
func (in *instance) await(t testing.TB, id string, want export.Status) export.Job {
	t.Helper()
	var job export.Job
	eventually(t, "export is "+string(want), func() bool {
		var err error
		if job, err = in.Get(t.Context(), app, id); err != nil {
			t.Fatalf("get: %v", err)
		}
		return job.Status == want
	})
	return job
}

// eventually polls a condition until it holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("did not happen within %v: %s", patience, what)
		}
	}
}

// watch returns all events of a job until it is over.
func (in *instance) watch(t testing.TB, id string) []export.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var events []export.Event
	for e, err := range in.Watch(ctx, app, id) {
		if err != nil {
			t.Fatalf("watch: %v", err)
		}
		events = append(events, e)
	}
	return events
}

// download fetches a URL.
func download(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	res, err := http.Get(url)
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

// stored returns the names of all files in the store.
func (in *instance) stored(t testing.TB) []string {
	t.Helper()
	var names []string
	for f, err := range in.files.All(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name.Job+"/"+f.Name.Name)
	}
	return names
}

// filesOf returns the names of the files that a completed job has, as stored does.
func filesOf(j export.Job) []string {
	name := j.ID + "/" + j.File().Name
	return []string{name, name + ".manifest.json"}
}

// hold makes the list stop before an account, counted from now, until the returned function is called; reached is closed
// when the first reader gets there.
func (l *list) hold(at int) (reached <-chan struct{}, release func()) {
	var n atomic.Int64
	return l.holdIf(func(domain.UserID) bool { return n.Add(1) >= int64(at) })
}

// holdIf is hold before accounts that a test picks.
func (l *list) holdIf(pick func(domain.UserID) bool) (reached <-chan struct{}, release func()) {
	arrived, open := make(chan struct{}), make(chan struct{})
	var once sync.Once
	l.gate = func(ctx context.Context, id domain.UserID) {
		if !pick(id) {
			return
		}
		once.Do(func() { close(arrived) })
		select {
		case <-open:
		case <-ctx.Done():
		}
	}
	return arrived, sync.OnceFunc(func() { close(open) })
}

func ids(names ...domain.UserID) []domain.UserID { return names }
