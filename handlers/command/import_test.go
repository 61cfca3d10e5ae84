package command_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/command"
)

func nicknamed(line int, id domain.UserID, nickname string) command.Row {
	return command.Row{Line: line, UserID: id, Patch: domain.Patch{
		Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: nickname},
	}}
}

func (r rig) importAll(t *testing.T, id string, mode command.ImportMode, rows iter.Seq[command.Row]) []command.RowResult {
	t.Helper()
	var results []command.RowResult
	err := r.Import(t.Context(), command.Request{ID: id}, "chat", mode, rows, func(res command.RowResult) error {
		results = append(results, res)
		return nil
	})
	must(t, err)
	slices.SortFunc(results, func(a, b command.RowResult) int { return a.Line - b.Line })
	return results
}

func TestAnImportAnswersEachRow(t *testing.T) {
	r := newRig(t, command.Options{})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	unreadable := errors.New("no JSON")
	rows := []command.Row{
		nicknamed(1, "a", "하늘"),
		{Line: 2, Err: unreadable},
		nicknamed(3, "a", "again"),
		{Line: 4, UserID: "b", Type: "root"},
		{Line: 5, UserID: "c", Type: domain.TypeAdmin},
	}
	got := r.importAll(t, "i", command.ImportCreate, slices.Values(rows))
	want := []error{nil, unreadable, domain.CodeAccountExists, domain.CodeInvalid, nil}
	if len(got) != len(want) {
		t.Fatalf("%d results", len(got))
	}
	for i, res := range got {
		if res.Line != i+1 || !errors.Is(res.Err, want[i]) || (want[i] == nil) != (res.Err == nil) {
			t.Errorf("row %d: %+v, want %v", i+1, res, want[i])
		}
	}

	t.Run("given again under its id, it repeats nothing", func(t *testing.T) {
		before, err := r.store.Last(t.Context())
		must(t, err)
		again := r.importAll(t, "i", command.ImportCreate, slices.Values(rows))
		after, err := r.store.Last(t.Context())
		must(t, err)
		if before != after {
			t.Errorf("%d events were written", after-before)
		}
		for i := range again {
			if (again[i].Err == nil) != (got[i].Err == nil) || again[i].Result.Position != got[i].Result.Position {
				t.Errorf("row %d: %+v, the first time %+v", i+1, again[i], got[i])
			}
		}
	})
	t.Run("an upsert edits what exists", func(t *testing.T) {
		res := r.importAll(t, "j", command.ImportUpsert, slices.Values([]command.Row{nicknamed(1, "a", "바다"), nicknamed(2, "new", "x"), nicknamed(3, "a", "바다")}))
		if res[0].Result.Created || !res[0].Result.Changed || !res[1].Result.Created || res[2].Result.Changed {
			t.Errorf("%+v", res)
		}
	})
}

func TestAccountsOfAnImportHaveTheOrderOfItsRowsHoweverSlowTheClock(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	r := newRig(t, command.Options{Now: func() time.Time { return noon }})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	const n = 300
	rows := func(yield func(command.Row) bool) {
		for i := range n {
			if !yield(nicknamed(i+1, domain.UserID(fmt.Sprint("u", n-i)), "x")) {
				return
			}
		}
	}
	last := noon.Add(-1)
	for _, res := range r.importAll(t, "i", command.ImportCreate, rows) { // by line
		if res.Err != nil || !res.Result.Account.CreatedAt.After(last) {
			t.Fatalf("row %d was created at %s, the one before at %s (%v)", res.Line, res.Result.Account.CreatedAt, last, res.Err)
		}
		last = res.Result.Account.CreatedAt
	}
}

func TestRowsOfOneAccountAreDecidedInTheirOrder(t *testing.T) {
	r := newRig(t, command.Options{})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	const accounts, edits = 5, 40
	rows := func(yield func(command.Row) bool) {
		for i := range accounts * edits {
			if !yield(nicknamed(i+1, domain.UserID(fmt.Sprint("u", i%accounts)), fmt.Sprint(i/accounts))) {
				return
			}
		}
	}
	for _, res := range r.importAll(t, "i", command.ImportUpsert, rows) {
		if res.Err != nil || !res.Result.Changed {
			t.Fatalf("%+v", res)
		}
	}
	for a := range accounts {
		id := eventstore.Account("chat", fmt.Sprint("u", a))
		for i, e := range r.events(t, id) {
			if want := fmt.Sprintf("i/%d", i*accounts+a+1); e.CommandID != want {
				t.Fatalf("event %d of %s is of command %s, want %s", i, id, e.CommandID, want)
			}
		}
	}
}

func TestAnImportWhoseReaderIsGoneStops(t *testing.T) {
	r := newRig(t, command.Options{})
	r.do(t, "app", domain.CreateApp{App: "chat"})
	endless := func(yield func(command.Row) bool) {
		for i := 1; yield(nicknamed(i, domain.UserID(fmt.Sprint("u", i)), "x")); i++ {
		}
	}
	gone := errors.New("the reader is gone")
	emitted := 0
	err := r.Import(t.Context(), command.Request{ID: "i"}, "chat", command.ImportCreate, endless, func(command.RowResult) error {
		emitted++
		if emitted == 10 {
			return gone
		}
		return nil
	})
	if !errors.Is(err, gone) || emitted != 10 {
		t.Errorf("%v after %d results", err, emitted)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = r.Import(ctx, command.Request{ID: "j"}, "chat", command.ImportUpsert, endless, func(command.RowResult) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAnImportOfUnknownModeIsRefused(t *testing.T) {
	r := newRig(t, command.Options{})
	err := r.Import(t.Context(), command.Request{ID: "i"}, "chat", "replace", slices.Values([]command.Row(nil)), nil)
	if !errors.Is(err, domain.CodeInvalid) {
		t.Error(err)
	}
}
