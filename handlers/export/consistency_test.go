package export_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/handlers/export"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/sqlite"
)

// feed is a log that ends where the list has got to.
type feed struct{ position atomic.Uint64 }

func (f *feed) Last(context.Context) (eventstore.Position, error) {
	return eventstore.Position(f.position.Load()), nil
}

func (f *feed) WaitFor(context.Context, eventstore.Position) error { return nil }

func TestAnExportOfTheRealListIsOfOnePositionWhileItIsWritten(t *testing.T) {
	const accounts, writes = 3000, 2000
	lists := listtest.NewWorld(t, func(t testing.TB, c *codec.Codec) accountlist.List {
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
	})
	f := &feed{}
	apply := func(events ...domain.Event) {
		lists.Apply(t, events...)
		f.position.Store(uint64(lists.Position))
	}
	created := []domain.Event{domain.AppCreated{App: app, MaxAdmins: 10, At: listtest.Epoch}}
	for i := range accounts {
		created = append(created, domain.AccountCreated{
			App: app, UserID: domain.UserID(fmt.Sprintf("u%05d", i)), Type: domain.TypeNormal, At: listtest.Epoch,
			Profile: domain.Profile{Nickname: "이름", SelfSignature: "=1+1"},
		})
	}
	apply(created...)

	w := newWorld(t, 0)
	w.scan, w.log = lists.List, f
	in := w.start(t)
	in.work(t)
	job := in.order(t, "cmd", export.Spec{Fields: []domain.Field{domain.FieldUserID, domain.FieldLevel, domain.FieldRevision}})
	for i := range writes { // each at a position of its own, while the export is done
		id := domain.UserID(fmt.Sprintf("u%05d", i%accounts))
		apply(domain.AccountEdited{App: app, UserID: id, At: listtest.Epoch, Patch: domain.Patch{
			Fields: domain.FieldsOf(domain.FieldLevel), Values: domain.Profile{Level: domain.Num(uint32(i))},
		}})
	}
	job = in.await(t, job.ID, export.StatusCompleted)
	links, err := in.Link(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	_, body := download(t, links.File)
	lines := bytes.Split(bytes.TrimSuffix([]byte(body), []byte("\n")), []byte("\n"))
	if len(lines) != accounts || job.Rows != accounts {
		t.Fatalf("the file has %d lines and the job says %d, want %d", len(lines), job.Rows, accounts)
	}
	for i, line := range lines {
		var got struct {
			UserID   string  `json:"user_id"`
			Level    *uint32 `json:"level"`
			Revision uint64  `json:"revision"`
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		// Account i was created at i+2 and edited once at accounts+2+i, if that is not past the export's position.
		want := uint64(i) + 2
		if edited := uint64(accounts + 2 + i); i < writes && edited <= job.Position {
			want = edited
		}
		if got.UserID != fmt.Sprintf("u%05d", i) || got.Revision != want || (got.Level != nil) != (want > accounts+1) {
			t.Fatalf("at position %d line %d is %s, want revision %d", job.Position, i+1, line, want)
		}
	}
}
