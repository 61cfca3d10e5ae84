package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/handlers/export"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

// history is a log in memory and the real list, which is always up to date with it.
type history struct {
	*listtest.World
	t testing.TB

	mu      sync.Mutex
	events  []eventstore.Envelope
	decoded []domain.Event
	between func(context.Context) // called before each chunk, if set
}

func newHistory(t testing.TB) *history {
	return &history{t: t, World: listtest.NewWorld(t, func(t testing.TB, c *codec.Codec) accountlist.List {
		l, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "list.db"), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		return l
	})}
}

// write appends events and returns the position of the last.
func (h *history) write(events ...domain.Event) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, h.Encode(h.t, h.Position, events...)...)
	h.decoded = append(h.decoded, events...)
	h.Apply(h.t, events...)
	return uint64(h.Position)
}

func (h *history) Last(context.Context) (eventstore.Position, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Position, nil
}

// PositionAt has an event a minute, the first one a minute behind listtest.Epoch.
func (h *history) PositionAt(_ context.Context, at time.Time) (eventstore.Position, error) {
	return eventstore.Position(max(0, at.Sub(listtest.Epoch)/time.Minute)), nil
}

func (h *history) WaitFor(context.Context, eventstore.Position) error { return nil }

func (h *history) Load(_ context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	h.mu.Lock()
	events := h.events
	h.mu.Unlock()
	return func(yield func(eventstore.Envelope, error) bool) {
		for _, e := range events {
			if e.Aggregate == id && !yield(e, nil) {
				return
			}
		}
	}
}

func (h *history) App(ctx context.Context, app domain.AppID) (domain.App, uint64, error) {
	return h.List.App(ctx, app)
}

func (h *history) Chunk(ctx context.Context, s domain.Stretch) (domain.Chunk, error) {
	if h.between != nil {
		h.between(ctx)
	}
	return h.List.Chunk(ctx, s)
}

// at replays the log up to a position and returns the accounts of an application that the filter lets through, without those
// that were deleted behind it.
func (h *history) at(app domain.AppID, f domain.Filter, position uint64) []domain.Account {
	h.mu.Lock()
	defer h.mu.Unlock()
	accounts := make(map[domain.UserID]domain.Account)
	for i, e := range h.decoded {
		p := uint64(i) + 1
		var id domain.UserID
		switch e := e.(type) {
		case domain.AccountCreated:
			id = e.UserID
		case domain.AccountEdited:
			id = e.UserID
		case domain.AccountDeleted:
			delete(accounts, e.UserID)
		}
		if id != "" && p <= position && h.events[i].Aggregate.App == string(app) {
			accounts[id] = domain.Evolve(domain.State{Account: accounts[id]}, e, p).Account
		}
	}
	found := slices.DeleteFunc(slices.Collect(maps.Values(accounts)), func(a domain.Account) bool { return !f.Matches(a) })
	slices.SortFunc(found, func(a, b domain.Account) int { return strings.Compare(string(a.UserID), string(b.UserID)) })
	return found
}

// drawEvents draws events of an application that can follow those that there are.
func drawEvents(t *rapid.T, app domain.AppID, there map[domain.UserID]bool, n int) (events []domain.Event) {
	name := rapid.SampledFrom([]string{"김민준", "김하늘", "Ann", "ann B", ""})
	for range n {
		id := domain.UserID(rapid.StringOfN(rapid.SampledFrom([]rune("abC")), 1, 2, -1).Draw(t, "user"))
		p := domain.Profile{Nickname: name.Draw(t, "name")}
		switch {
		case !there[id]:
			e := domain.AccountCreated{App: app, UserID: id, Type: domain.TypeNormal, Profile: p, At: listtest.Epoch}
			if rapid.IntRange(0, 3).Draw(t, "type") == 0 {
				e.Type = domain.TypeAdmin
			}
			events, there[id] = append(events, e), true
		case rapid.IntRange(0, 3).Draw(t, "verb") == 0:
			events, there[id] = append(events, domain.AccountDeleted{App: app, UserID: id, At: listtest.Epoch}), false
		default:
			events = append(events, domain.AccountEdited{App: app, UserID: id, At: listtest.Epoch, Patch: domain.Patch{Fields: domain.FieldsOf(domain.FieldNickname), Values: p}})
		}
	}
	return events
}

func TestAnExportIsAReplayOfTheLogAtItsPositionWhateverIsWrittenMeanwhile(t *testing.T) {
	h := newHistory(t)
	w := newWorld(t, 0)
	w.scan, w.log, w.past, w.chunk = h, h, export.NewHistory(h, h.Codec), 2
	in := w.start(t)
	count := 0
	rapid.Check(t, func(rt *rapid.T) {
		count++
		mine := domain.AppID(fmt.Sprintf("app-%d", count))
		there := make(map[domain.UserID]bool)
		h.write(listtest.NewApp(mine)...)
		if first := drawEvents(rt, mine, there, rapid.IntRange(0, 15).Draw(rt, "events before")); len(first) > 0 {
			h.write(first...)
		}
		var during [][]domain.Event
		for range rapid.IntRange(0, 8).Draw(rt, "chunks with writes") {
			during = append(during, drawEvents(rt, mine, there, rapid.IntRange(0, 3).Draw(rt, "events")))
		}
		var forgetting sync.WaitGroup
		h.between = func(ctx context.Context) {
			if len(during) == 0 {
				return
			}
			events := during[0]
			during = during[1:]
			for i, e := range events {
				position := h.write(e)
				gone, ok := e.(domain.AccountDeleted)
				if !ok {
					continue
				}
				forgotten := make(chan struct{})
				forgetting.Go(func() {
					defer close(forgotten)
					if err := in.Forget(t.Context(), mine, export.Deletion{User: gone.UserID, Position: position}); err != nil {
						t.Error(err)
					}
				})
				select {
				case <-forgotten:
				case <-ctx.Done(): // it waits for this attempt to end; the next one goes on
					during = append([][]domain.Event{events[i+1:]}, during...)
					return
				}
			}
		}
		spec := export.Spec{App: mine, Format: export.NDJSON, Filter: domain.Filter{
			Type: rapid.SampledFrom([]domain.AccountType{"", domain.TypeNormal, domain.TypeAdmin}).Draw(rt, "filter"),
			Text: rapid.SampledFrom([]string{"", "A", "김"}).Draw(rt, "text"),
		}}
		switch last := uint64(h.Position); rapid.IntRange(0, 2).Draw(rt, "as of") {
		case 1:
			spec.AsOf.Position = rapid.Uint64Range(max(last, 25)-24, last).Draw(rt, "position")
		case 2:
			spec.AsOf.Time = listtest.Epoch.Add(time.Duration(last-rapid.Uint64Range(0, min(3, last-1)).Draw(rt, "back")) * time.Minute)
		}
		job, err := in.Order(t.Context(), export.Request{ID: "cmd", Actor: "alice"}, spec)
		if err != nil {
			rt.Fatal(err)
		}
		err = in.Work(t.Context(), mine, job.ID)
		for later := (*export.Later)(nil); errors.As(err, &later); {
			err = in.Work(t.Context(), mine, job.ID)
		}
		if err != nil {
			rt.Fatal(err)
		}
		forgetting.Wait()
		if job, err = in.Get(t.Context(), mine, job.ID); err != nil || job.Status != export.StatusCompleted {
			rt.Fatalf("the export is %s: %s (%v)", job.Status, job.Error, err)
		}
		if want := job.Spec.AsOf.Position; want != 0 && job.Position != want || want == 0 && !spec.AsOf.IsZero() {
			rt.Fatalf("the export of %+v shows position %d", job.Spec.AsOf, job.Position)
		}
		links, err := in.Link(t.Context(), job)
		if err != nil {
			rt.Fatal(err)
		}
		_, body := download(t, links.File)
		if want := encode(t, export.NDJSON, allFields, h.at(mine, spec.Filter, job.Position)...); !bytes.Equal([]byte(body), want) {
			rt.Fatalf("at %d of %d the file is\n%s, want\n%s", job.Position, h.Position, body, want)
		}
	})
}

func TestADeletionLeavesFilesAloneThatCannotHoldTheAccount(t *testing.T) {
	h := newHistory(t)
	admin := listtest.NewAccount(app, "admin", "A", 0)
	admin.Type = domain.TypeAdmin
	h.write(append(listtest.NewApp(app), admin, listtest.NewAccount(app, "ann", "Ann", 0))...)
	w := newWorld(t, 0)
	w.scan, w.log, w.past = h, h, export.NewHistory(h, h.Codec)
	in := w.start(t)
	everyone, admins := in.order(t, "everyone", export.Spec{}), in.order(t, "admins", export.Spec{Filter: domain.Filter{Type: domain.TypeAdmin}})
	for _, job := range []export.Job{everyone, admins} {
		if err := in.Work(t.Context(), app, job.ID); err != nil {
			t.Fatal(err)
		}
	}
	forget := func(id domain.UserID, want map[string]export.Status) {
		t.Helper()
		deletion := h.write(domain.AccountDeleted{App: app, UserID: id, At: listtest.Epoch})
		if err := in.Forget(t.Context(), app, export.Deletion{User: id, Position: deletion}); err != nil {
			t.Fatal(err)
		}
		for job, status := range want {
			events, err := in.exports.Load(t.Context(), app, job)
			if err != nil {
				t.Fatal(err)
			}
			told := export.StatusCompleted
			if slices.ContainsFunc(events, func(e export.Event) bool { return e.Type == export.Expired }) {
				told = export.StatusExpired
			}
			if told != status {
				t.Errorf("once %s is deleted, the export ordered by %s is %s, want %s", id, events[0].CommandID, told, status)
			}
		}
	}
	h.write(listtest.NewAccount(app, "late", "Late", 0))
	forget("late", map[string]export.Status{everyone.ID: export.StatusCompleted, admins.ID: export.StatusCompleted})
	forget("ann", map[string]export.Status{everyone.ID: export.StatusExpired, admins.ID: export.StatusCompleted})
	forget("admin", map[string]export.Status{everyone.ID: export.StatusExpired, admins.ID: export.StatusExpired})
}

func TestAMomentThatIsNotInTheLogIsRefused(t *testing.T) {
	h := newHistory(t)
	last := h.write(listtest.NewApp(app)...)
	w := newWorld(t, 0)
	w.scan, w.log, w.past = h, h, export.NewHistory(h, h.Codec)
	in := w.start(t)
	for name, c := range map[string]struct {
		at   export.Moment
		want domain.Code
	}{
		"a position to come":            {export.Moment{Position: last + 1}, export.CodeAhead},
		"a time to come":                {export.Moment{Time: time.Now().Add(time.Hour)}, export.CodeAhead},
		"a time before the first event": {export.Moment{Time: listtest.Epoch}, domain.CodeInvalid},
	} {
		if _, err := in.Order(t.Context(), export.Request{ID: "cmd", Actor: "alice"}, export.Spec{App: app, Format: export.CSV, AsOf: c.at}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	job := in.order(t, "same", export.Spec{AsOf: export.Moment{Time: listtest.Epoch.Add(time.Minute)}})
	h.write(listtest.NewAccount(app, "ann", "Ann", 0))
	if again := in.order(t, "same", export.Spec{AsOf: export.Moment{Time: listtest.Epoch.Add(time.Minute)}}); again.ID != job.ID || job.Spec.AsOf.Position != 1 {
		t.Errorf("ordered as of %+v and then %+v", job.Spec.AsOf, again.Spec.AsOf)
	}
}

func TestWhatWasTouchedSinceIsToldByItsPast(t *testing.T) {
	h := newHistory(t)
	h.write(listtest.NewApp(app)...)
	name := func(id domain.UserID, n string) domain.AccountEdited {
		return domain.AccountEdited{App: app, UserID: id, At: listtest.Epoch, Patch: domain.Patch{Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: n}}}
	}
	at := h.write(listtest.NewAccount(app, "ann", "Ann", 0), listtest.NewAccount(app, "bob", "Bob", 0), listtest.NewAccount(app, "eve", "Eve", 0))
	now := h.write(name("ann", "Anna"), listtest.NewAccount(app, "new", "New", 0), domain.AccountDeleted{App: app, UserID: "bob", At: listtest.Epoch}, listtest.NewAccount(app, "bob", "second", 0), name("eve", "Eva"))
	h.Keys.Destroy(listtest.KeyID(app, "eve")) // its deletion has not reached the replica that answers
	past := export.NewHistory(h, h.Codec)
	for id, want := range map[domain.UserID]string{"ann": "Ann", "bob": "", "new": "", "eve": ""} {
		a, there, err := past.AccountAt(t.Context(), app, id, at, at)
		if err != nil || there != (want != "") || there && a.Profile.Nickname != want {
			t.Errorf("%s was %+v, %t, %v; want %q", id, a, there, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	behind := waiting{h, cancel}
	if _, _, err := export.NewHistory(behind, h.Codec).AccountAt(ctx, app, "ann", now+1, at); err == nil {
		t.Error("a replica that is behind is believed")
	}
}

// waiting ends a context when it is asked a second time.
type waiting struct {
	*history
	cancel context.CancelFunc
}

func (w waiting) Load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	w.cancel()
	return w.history.Load(ctx, id)
}
