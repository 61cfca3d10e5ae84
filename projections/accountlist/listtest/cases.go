package listtest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

func testEmpty(t *testing.T, open Open) {
	w := NewWorld(t, open)
	position, err := w.List.Checkpoint(t.Context())
	if err != nil || position != 0 {
		t.Fatalf("checkpoint is %d (%v), want 0", position, err)
	}
	apps, at, err := w.List.Apps(t.Context())
	if err != nil || len(apps) != 0 || at != 0 {
		t.Fatalf("applications are %v at %d (%v), want none", apps, at, err)
	}
	if w.List.Name() != accountlist.Name {
		t.Fatalf("name is %q, want %q", w.List.Name(), accountlist.Name)
	}
	if err := w.List.Apply(t.Context(), 0, nil); err != nil {
		t.Fatalf("apply nothing: %v", err)
	}
}

func testApps(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, append(NewApp("b"), NewApp("a")...)...)
	w.Apply(t,
		domain.AppEdited{App: "b", Name: "이름", MaxAdmins: 3, At: Epoch.Add(time.Hour)},
		domain.AccountCreated{App: "b", UserID: "root", Type: domain.TypeAdmin, At: Epoch},
		domain.AdminSeatTaken{App: "b", UserID: "root", At: Epoch},
		NewAccount("b", "user", "", 0),
	)
	checkTotals(t, w, "a")
	checkTotals(t, w, "b")
	apps, position, err := w.List.Apps(t.Context())
	if err != nil || len(apps) != 2 || apps[0] != w.apps["a"] || apps[1] != w.apps["b"] || position != uint64(w.Position) {
		t.Fatalf("applications are %+v at %d (%v), want %+v", apps, position, err, w.apps)
	}
	b, position, err := w.List.App(t.Context(), "b")
	if err != nil || b != w.apps["b"] || position != uint64(w.Position) {
		t.Fatalf("application is %+v at %d (%v), want %+v", b, position, err, w.apps["b"])
	}
	w.Apply(t, domain.AccountDeleted{App: "b", UserID: "root", At: Epoch}, domain.AdminSeatReleased{App: "b", UserID: "root", At: Epoch})
	checkTotals(t, w, "b")
}

func testLongValues(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	long := strings.Repeat("가", 166) + "no"
	for i, id := range []domain.UserID{"0123456789012345678901234567890a", "0123456789012345678901234567890b", "c"} {
		w.Apply(t, domain.AccountCreated{App: "app", UserID: id, Type: domain.TypeNormal, At: Epoch.Add(time.Duration(i)), Profile: domain.Profile{
			Nickname: long, FaceURL: "https://example.com/" + strings.Repeat("x", 480), SelfSignature: strings.Repeat("\U0001f600", 125),
			Location: "abcdefghijklmnop", Birthday: 99991231, Language: domain.Num(1<<32 - 1), Level: domain.Num(0),
		}})
	}
	for _, text := range []string{"", long, long[3:], strings.Repeat("가", 100), "901234567890B"} {
		for _, l := range Listings("app", text, 1) {
			w.CheckPages(t, l)
		}
	}
	checkAccounts(t, w, "app")
}

func testCase(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	w.Apply(t, NewAccount("app", "bob", "Bob", 0), NewAccount("app", "Bob", "bob", 0), NewAccount("app", "BOB", "bob", 0))
	for _, text := range []string{"", "bob", "BO"} {
		for _, l := range Listings("app", text, 2) {
			w.CheckPages(t, l)
		}
	}
	w.Apply(t, domain.AccountDeleted{App: "app", UserID: "Bob", At: Epoch})
	checkAccounts(t, w, "app")
	checkTotals(t, w, "app")
}

func testCreatedAgain(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	first := NewAccount("app", "ann", "첫째", 0)
	first.Type, first.Profile.SelfSignature = domain.TypeAdmin, "gone"
	w.Apply(t, first)
	deleted := domain.AccountDeleted{App: "app", UserID: "ann", At: Epoch.Add(1)}
	w.Apply(t, deleted, NewAccount("app", "ann", "둘째", 2)) // in one batch
	w.Apply(t, deleted)                                    // and over two
	w.Apply(t, NewAccount("app", "ann", "셋째", 3))
	w.Apply(t, domain.AccountErased{App: "app", UserID: "ann", Deletion: uint64(w.Position - 1), DeletedAt: Epoch, At: Epoch}) // tells nothing of the new one
	w.Apply(t, NewAccount("app", "eve", "넷째", 3), domain.AccountDeleted{App: "app", UserID: "eve", At: Epoch})
	for _, text := range []string{"", "첫", "둘째", "셋", "넷째", "ann", "eve"} {
		for _, l := range Listings("app", text, 2) {
			w.CheckPages(t, l)
		}
	}
	checkAccounts(t, w, "app")
	checkTotals(t, w, "app")
}

func testErased(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	w.Keys.Destroy(KeyID("app", "ann"))
	created := NewAccount("app", "ann", "secret", 0)
	edited := domain.AccountEdited{App: "app", UserID: "ann", At: Epoch, Patch: domain.Patch{
		Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: "secret too"},
	}}
	if err := w.List.Apply(t.Context(), w.Position, w.Encode(t, w.Position, created, edited)); err != nil {
		t.Fatalf("apply events whose key is destroyed: %v", err)
	}
	got, _, err := w.List.Account(t.Context(), "app", "ann")
	if err != nil || got.Profile != (domain.Profile{}) || got.Type != domain.TypeNormal {
		t.Fatalf("account is %+v (%v), want an empty profile", got, err)
	}
}

func testCursors(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, append(NewApp("app"), NewApp("other")...)...)
	for _, id := range []domain.UserID{"a", "b", "c"} {
		w.Apply(t, NewAccount("app", id, "name", 0), NewAccount("other", id, "name", 0))
	}
	base := domain.Listing{App: "app", Sort: domain.SortNickname, Order: domain.Ascending, Limit: 1}
	page, err := w.List.Page(t.Context(), base)
	if err != nil || page.Next == "" {
		t.Fatalf("first page has next cursor %q (%v)", page.Next, err)
	}
	good := base
	good.Cursor, good.Limit = page.Next, 2
	if _, err := w.List.Page(t.Context(), good); err != nil {
		t.Fatalf("another limit with the same cursor: %v", err)
	}
	refuse := func(what string, change func(*domain.Listing)) {
		t.Helper()
		l := good
		change(&l)
		_, err := w.List.Page(t.Context(), l)
		var r *domain.Rejection
		if !errors.As(err, &r) || r.Code != accountlist.CodeInvalidCursor || len(r.Fields) != 1 || r.Fields[0].Field != "cursor" {
			t.Errorf("%s: %v, want %s", what, err, accountlist.CodeInvalidCursor)
		}
	}
	refuse("another application", func(l *domain.Listing) { l.App = "other" })
	refuse("another sort", func(l *domain.Listing) { l.Sort = domain.SortUserID })
	refuse("another order", func(l *domain.Listing) { l.Order = domain.Descending })
	refuse("another type", func(l *domain.Listing) { l.Filter.Type = domain.TypeNormal })
	refuse("another text", func(l *domain.Listing) { l.Filter.Text = "n" })
	refuse("not base64", func(l *domain.Listing) { l.Cursor = "%%%" })
	refuse("padded", func(l *domain.Listing) { l.Cursor += "=" })
	refuse("too long", func(l *domain.Listing) { l.Cursor = strings.Repeat("A", 5000) })
	refuse("a line break", func(l *domain.Listing) { l.Cursor += "\n" })
	for i := range len(good.Cursor) {
		refuse("cut off", func(l *domain.Listing) { l.Cursor = strings.Repeat("A", 1) + l.Cursor[:i] })
	}
}

func testNotFound(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	ctx := t.Context()
	want := func(what string, code domain.Code, err error) {
		t.Helper()
		var r *domain.Rejection
		if !errors.As(err, &r) || r.Code != code {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
	}
	_, err := w.List.Page(ctx, domain.Listing{App: "none"})
	want("page", domain.CodeAppNotFound, err)
	_, position, err := w.List.Account(ctx, "none", "ann")
	want("account of no application", domain.CodeAppNotFound, err)
	if position != uint64(w.Position) {
		t.Errorf("the rejection shows position %d, want %d", position, w.Position)
	}
	_, position, err = w.List.Account(ctx, "app", "ann")
	want("account", domain.CodeAccountNotFound, err)
	if position != uint64(w.Position) {
		t.Errorf("the rejection shows position %d, want %d", position, w.Position)
	}
	_, _, err = w.List.App(ctx, "none")
	want("application", domain.CodeAppNotFound, err)
	_, err = w.List.Chunk(ctx, domain.Stretch{App: "none", Limit: 1})
	want("chunk", domain.CodeAppNotFound, err)
}

func testBadRequests(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	for _, l := range []domain.Listing{
		{App: "app", Limit: -1},
		{App: "app", Limit: domain.MaxListLimit + 1},
		{App: "app", Sort: "level"},
		{App: "app", Order: "up"},
		{App: "app", Filter: domain.Filter{Type: "root"}},
		{App: "app", Filter: domain.Filter{Text: "\xff"}},
		{App: "app", Filter: domain.Filter{Text: "a\x00"}},
	} {
		if _, err := w.List.Page(t.Context(), l); !errors.Is(err, domain.CodeInvalid) {
			t.Errorf("page of %+v: %v, want %s", l, err, domain.CodeInvalid)
		}
	}
}
