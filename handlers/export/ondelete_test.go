package export_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/export"
)

// newRebuildingWorld is a world whose exports are rebuilt when an account is deleted that they hold.
func newRebuildingWorld(t testing.TB, accounts int) *world {
	w := newWorld(t, accounts)
	w.onDelete = export.Rebuild
	return w
}

// story hears all events that are stored from now on.
type story struct {
	t   testing.TB
	in  *instance
	sub *nats.Subscription
}

func (in *instance) listen(t testing.TB) story {
	t.Helper()
	sub, err := in.js.Conn().SubscribeSync(eventstore.StoredPrefix + "accounts.export.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := in.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	return story{t, in, sub}
}

// decisions returns what has been told of a job since, but for what tells of attempts.
func (s story) decisions(job string) (all []export.Event) {
	s.t.Helper()
	last, err := s.in.exports.Last(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for at := uint64(0); at < last; {
		m, err := s.sub.NextMsg(patience)
		if err != nil {
			s.t.Fatal(err)
		}
		if at, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
			s.t.Fatal(err)
		}
		e, err := export.UnmarshalEvent(m.Data)
		if err != nil {
			s.t.Fatal(err)
		}
		switch e.Type {
		case export.Started, export.Progressed, export.Interrupted:
		default:
			if e.Job == job {
				all = append(all, e)
			}
		}
	}
	return all
}

// told names what events tell, with the number of the rebuild.
func told(events []export.Event) string {
	var names []string
	for _, e := range events {
		names = append(names, fmt.Sprint(e.Type, e.Rebuild))
	}
	return strings.Join(names, " ")
}

// delete deletes an account and has the exports forget it.
func (in *instance) delete(t testing.TB, w *world, id domain.UserID) (position uint64) {
	t.Helper()
	position = w.list.remove(id)
	if err := in.Forget(t.Context(), app, export.Deletion{User: id, Position: position}); err != nil {
		t.Fatal(err)
	}
	return position
}

// awaitRebuilt waits until a job is completed with its file rebuilt a number of times.
func (in *instance) awaitRebuilt(t testing.TB, id string, rebuilds int) (job export.Job) {
	t.Helper()
	eventually(t, fmt.Sprintf("export is completed with %d rebuilds", rebuilds), func() bool {
		var err error
		if job, err = in.Get(t.Context(), app, id); err != nil {
			t.Fatal(err)
		}
		return job.Status == export.StatusCompleted && job.Rebuilds == rebuilds
	})
	return job
}

// file downloads what a completed job has.
func (in *instance) file(t testing.TB, job export.Job) string {
	t.Helper()
	links, err := in.Link(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	res, body := download(t, links.File)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the file answers %s", res.Status)
	}
	return body
}

func TestAnExportIsRebuiltWithoutAnAccountThatIsDeleted(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 10)
	in := w.start(t)
	heard := in.listen(t)
	in.work(t)
	asOf := w.list.position
	ordered := map[string]export.Job{
		"all":    in.order(t, "all", export.Spec{}),
		"named":  in.order(t, "named", export.Spec{UserIDs: ids("u000001", "u000005")}),
		"as of":  in.order(t, "as-of", export.Spec{AsOf: export.Moment{Position: asOf}}),
		"search": in.order(t, "search", export.Spec{Filter: domain.Filter{Text: "닉네임"}}),
	}
	others := in.order(t, "others", export.Spec{UserIDs: ids("u000002", "u000003")})
	before := make(map[string]export.Job)
	links := make(map[string]export.Links)
	for name, j := range ordered {
		before[name] = in.await(t, j.ID, export.StatusCompleted)
		var err error
		if links[name], err = in.Link(t.Context(), before[name]); err != nil {
			t.Fatal(err)
		}
	}
	in.await(t, others.ID, export.StatusCompleted)
	deleted := in.delete(t, w, "u000005")
	for name, l := range links {
		for _, url := range []string{l.File, l.Manifest} {
			if res, _ := download(t, url); res.StatusCode != http.StatusGone {
				t.Errorf("%s: a URL from before the deletion answers %s", name, res.Status)
			}
		}
	}
	for name, was := range before {
		job := in.awaitRebuilt(t, was.ID, 1)
		position, rows := deleted, int64(9)
		switch name {
		case "as of":
			position = asOf
		case "named":
			rows = 1
		}
		if job.Position != position || job.Rows != rows || !job.ExpiresAt.Equal(was.ExpiresAt) || job.SHA256 == was.SHA256 || job.File() == was.File() {
			t.Errorf("%s: %d rows at %d, %s until %v, want %d at %d until %v", name, job.Rows, job.Position, job.File().Name, job.ExpiresAt, rows, position, was.ExpiresAt)
		}
		if body := in.file(t, job); strings.Contains(body, "u000005") || !strings.Contains(body, "u000001") {
			t.Errorf("%s: the rebuilt file is\n%s", name, body)
		}
	}
	if got := in.await(t, others.ID, export.StatusCompleted); got.Rebuilds != 0 {
		t.Error("an export that cannot hold the account was rebuilt")
	}
	events := heard.decisions(before["all"].ID)
	if got := told(events); got != "requested0 completed0 withdrawn1 completed1" {
		t.Fatalf("the events tell %s", got)
	}
	if e := events[2]; e.Position != deleted || e.Reason != "an account that the file may hold has been deleted since" {
		t.Errorf("the withdrawal is told as %+v", e)
	}
	if names := in.stored(t); len(names) != 2*5 {
		t.Errorf("left are %v", names)
	}
}

func TestWhoWatchesARebuildIsToldUntilItIsThere(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 10)
	in := w.start(t)
	job := in.complete(t, "cmd", export.Spec{})
	in.delete(t, w, "u000005")
	waits := in.await(t, job.ID, export.StatusQueued)
	if waits.Rebuilds != 1 || waits.Rows != 0 || waits.SHA256 != "" || !waits.FinishedAt.IsZero() || waits.ExpiresAt != job.ExpiresAt {
		t.Errorf("while it is rebuilt the job is %+v", waits)
	}
	if links, err := in.Link(t.Context(), waits); err != nil || links != (export.Links{}) {
		t.Errorf("while it is rebuilt it links to %+v, %v", links, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var types []export.EventType
	for e, err := range in.Watch(ctx, app, job.ID) {
		if err != nil {
			t.Fatal(err)
		}
		if types = append(types, e.Type); e.Type == export.Withdrawn {
			in.work(t)
		}
	}
	if at := slices.Index(types, export.Withdrawn); at < 0 || types[len(types)-1] != export.Completed || !slices.Contains(types[at:], export.Started) {
		t.Errorf("it was told of %v", types)
	}
}

func TestDeletionsInARowAreHeededByOneRebuild(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 200)
	w.calm = time.Minute
	in := w.start(t)
	heard := in.listen(t)
	job := in.order(t, "cmd", export.Spec{})
	if err := in.Work(t.Context(), app, job.ID); err != nil {
		t.Fatal(err)
	}
	work := func() (later *export.Later) {
		err := in.Work(t.Context(), app, job.ID)
		if err != nil && !errors.As(err, &later) {
			t.Fatal(err)
		}
		return later
	}
	for i := range 50 {
		in.delete(t, w, domain.UserID(fmt.Sprintf("u%06d", i)))
		w.clock.advance(time.Second)
		if later := work(); later == nil || later.After < 30*time.Second || later.After > time.Minute {
			t.Fatalf("after deletion %d an attempt begins: %v", i, later)
		}
	}
	var many []export.Deletion
	for i := 50; i < 100; i++ {
		id := domain.UserID(fmt.Sprintf("u%06d", i))
		many = append(many, export.Deletion{User: id, Position: w.list.remove(id)})
	}
	if err := in.Forget(t.Context(), app, many...); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Minute)
	if later := work(); later != nil {
		t.Fatalf("when it is calm: %v", later)
	}
	if got := in.awaitRebuilt(t, job.ID, 1); got.Rows != 100 {
		t.Errorf("%d rows", got.Rows)
	}
	events := heard.decisions(job.ID)
	if n := len(events); n != 1+1+1+49+1+1 || events[n-1].Type != export.Completed {
		t.Errorf("%d events: %s", n, told(events))
	}
	// Deletions that do not end do not keep it from being rebuilt.
	for i := 100; ; i++ {
		if i == 200 {
			t.Fatal("it is never rebuilt")
		}
		in.delete(t, w, domain.UserID(fmt.Sprintf("u%06d", i)))
		w.clock.advance(50 * time.Second)
		if work() == nil {
			break
		}
	}
	in.awaitRebuilt(t, job.ID, 2)
}

func TestWhatAFilterSearchesForCanBeReadForAsLongAsItsFileMayBeRebuilt(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 20)
	in := w.start(t)
	in.work(t)
	destroyed := func(in *instance, job string) bool {
		requested := in.requested(t, job)
		_, err := w.openKeys(t, in.js).Unseal(t.Context(), requested.KeyID, requested.SealedText, nil)
		return errors.Is(err, eventstore.ErrKeyDestroyed)
	}
	search := export.Spec{Filter: domain.Filter{Text: "닉네임 1"}}
	job := in.await(t, in.order(t, "cmd", search).ID, export.StatusCompleted)
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if job.Spec.Filter.Text != "" || destroyed(in, job.ID) {
		t.Errorf("the completed job searches for %q; key destroyed: %t", job.Spec.Filter.Text, destroyed(in, job.ID))
	}
	in.delete(t, w, "u000010")
	if got := in.awaitRebuilt(t, job.ID, 1); got.Rows != 10 {
		t.Errorf("%d rows", got.Rows)
	}
	w.clock.advance(export.DefaultFileLife)
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.await(t, job.ID, export.StatusExpired)
	eventually(t, "the key is destroyed at the end of the file's life", func() bool { return destroyed(in, job.ID) })

	cancelled := in.order(t, "cancelled", search)
	in.await(t, cancelled.ID, export.StatusCompleted)
	in.stop()
	// A start with the other setting destroys what it does not need.
	w.onDelete = export.Remove
	in = w.start(t)
	eventually(t, "the key is destroyed", func() bool { return destroyed(in, cancelled.ID) })
	in.stop()
	// And what was completed then cannot be rebuilt.
	w.onDelete = export.Rebuild
	in = w.start(t)
	in.delete(t, w, "u000011")
	if got := in.await(t, cancelled.ID, export.StatusExpired); got.Reason() != "account_deleted" {
		t.Errorf("it expired by %q", got.Error)
	}
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
}

func TestARebuildGoesOnWhenTheSettingChanges(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 20)
	in := w.start(t)
	job := in.complete(t, "cmd", export.Spec{Filter: domain.Filter{Text: "닉네임 1"}})
	in.delete(t, w, "u000010")
	in.stop()
	w.onDelete = export.Remove
	in = w.start(t)
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.work(t)
	if got := in.awaitRebuilt(t, job.ID, 1); got.Rows != 10 {
		t.Errorf("%d rows", got.Rows)
	}
	in.delete(t, w, "u000011")
	in.await(t, job.ID, export.StatusExpired)
}

func TestARebuildDoesNotOutliveTheFirstFile(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 10)
	in := w.start(t)
	stop := in.work(t)
	job := in.await(t, in.order(t, "cmd", export.Spec{}).ID, export.StatusCompleted)
	swept := in.await(t, in.order(t, "swept", export.Spec{}).ID, export.StatusCompleted)
	stop()
	in.delete(t, w, "u000001")
	w.clock.advance(export.DefaultFileLife)
	if err := in.Work(t.Context(), app, job.ID); err != nil {
		t.Fatal(err)
	}
	if got := in.await(t, job.ID, export.StatusExpired); got.Reason() != "age" {
		t.Errorf("it expired by %q", got.Error)
	}
	if err := in.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.await(t, swept.ID, export.StatusExpired)
}

// stuck is a file store that removes nothing while it is told so.
type stuck struct {
	export.Files
	is *atomic.Bool
}

func (s stuck) Delete(ctx context.Context, name export.FileName) error {
	if s.is.Load() {
		return export.ErrStoreAway
	}
	return s.Files.Delete(ctx, name)
}

func TestAWithdrawnFileWhoseRemovalBrokeOffIsRemovedByTheNext(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 10)
	var away atomic.Bool
	w.wrap = func(f export.Files) export.Files { return stuck{f, &away} }
	in := w.start(t)
	job := in.complete(t, "cmd", export.Spec{})
	deletion := export.Deletion{User: "u000001", Position: w.list.remove("u000001")}
	away.Store(true)
	if err := in.Forget(t.Context(), app, deletion); !errors.Is(err, export.ErrStoreAway) {
		t.Fatalf("without the store: %v", err)
	}
	if names := in.stored(t); !slices.Equal(names, filesOf(job)) {
		t.Fatalf("stored are %v", names)
	}
	in.await(t, job.ID, export.StatusQueued)
	away.Store(false)
	other := w.start(t)
	if err := other.Forget(t.Context(), app, deletion); err != nil {
		t.Fatal(err)
	}
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
	other.work(t)
	in.awaitRebuilt(t, job.ID, 1)
}

func TestARebuildCanBeCancelled(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 10)
	in := w.start(t)
	job := in.complete(t, "cmd", export.Spec{})
	in.delete(t, w, "u000001")
	if got, err := in.Cancel(t.Context(), export.Request{ID: "cancel", Actor: "bob"}, app, job.ID); err != nil || got.Status != export.StatusCancelled {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := in.Work(t.Context(), app, job.ID); err != nil {
		t.Fatal(err)
	}
	if names := in.stored(t); len(names) != 0 {
		t.Errorf("left are %v", names)
	}
}

func TestTheRoomOfAFileIsKeptWhileItIsRebuilt(t *testing.T) {
	t.Parallel()
	w := newRebuildingWorld(t, 100)
	in := w.start(t)
	job := in.complete(t, "cmd", export.Spec{})
	in.delete(t, w, "u000001")
	in.stop()
	w.quota.MaxBytes = job.Bytes
	in = w.start(t)
	in.orderFails(t, "other")
	in.work(t)
	in.awaitRebuilt(t, job.ID, 1)
}
