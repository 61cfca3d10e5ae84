package listtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/domain"
)

// Pieces of which nicknames, user ids and search texts are made.
var (
	nickPieces = rapid.SampledFrom([]string{
		"김", "민준", "하늘", "서", "이", "王", "小明", "龘", "محمد", "علي", "😀", "👨‍👩‍👧", "ひろ", "สมชาย", "é", "É", "Straße", "İ", "Σ", "ς",
		"a", "A", "b", "Bo", "%", "_", "\\", "'", "\"", "*", "-", "(", ")", ":", "^", "AND", "OR", "NEAR", "NOT", " ", "1", "12", "\n",
	})
	idPieces = rapid.SampledFrom([]string{"a", "A", "b", "ab", "Bo", "1", "12", "2", "%", "_", ".", "*", ">", "-", "'", "\""})
)

func pieces(g *rapid.Generator[string], least, most int) *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(g, least, most), func(s []string) string { return strings.Join(s, "") })
}

var (
	nicknames = pieces(nickPieces, 0, 5)
	userIDs   = pieces(idPieces, 1, 4)
)

func drawProfile(t *rapid.T) domain.Profile {
	p := domain.Profile{Nickname: nicknames.Draw(t, "nickname")}
	if rapid.Bool().Draw(t, "full") {
		p.FaceURL = "https://example.com/" + userIDs.Draw(t, "face")
		p.Gender = domain.GenderFemale
		p.Birthday = uint32(rapid.SampledFrom([]int{0, 10101, 20000229, 99991231}).Draw(t, "birthday"))
		p.Location = "서울"
		p.SelfSignature = nicknames.Draw(t, "signature")
		p.AllowType = domain.AllowAny
		p.Language = domain.Num(rapid.Uint32().Draw(t, "language"))
		p.MsgSettings = domain.Num(0)
		p.AdminForbidType = domain.ForbidSendOut
		p.Level = domain.Num(1<<32 - 1)
		p.Role = domain.Number{}
	}
	return p
}

// drawEvent returns an event that may come next. Times repeat and run backwards, as those of
// several instances do. The model is asked for what exists, and pending for what an earlier event
// of the batch made of it.
func drawEvent(t *rapid.T, w *World, app domain.AppID, pending map[domain.UserID]bool) domain.Event {
	at := Epoch.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "at")) * time.Millisecond)
	id := domain.UserID(userIDs.Draw(t, "user id"))
	if known := w.ids(app); len(known) > 0 && rapid.IntRange(0, 2).Draw(t, "known") > 0 {
		id = rapid.SampledFrom(known).Draw(t, "known id")
	}
	exists, touched := pending[id]
	if !touched {
		_, exists = w.accounts[app][id]
	}
	if !exists {
		pending[id] = true
		typ := rapid.SampledFrom([]domain.AccountType{domain.TypeNormal, domain.TypeNormal, domain.TypeAdmin}).Draw(t, "type")
		return domain.AccountCreated{App: app, UserID: id, Type: typ, Profile: drawProfile(t), At: at}
	}
	if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
		pending[id] = false
		return domain.AccountDeleted{App: app, UserID: id, At: at}
	}
	fields := domain.Fields(rapid.Uint32().Draw(t, "fields")) & domain.ProfileFields
	if fields == 0 {
		fields = domain.FieldsOf(domain.FieldNickname)
	}
	patch := domain.Patch{Fields: fields, Values: drawProfile(t)}
	// An event holds only the values of the fields that it names.
	values := domain.Evolve(domain.State{}, domain.AccountEdited{Patch: patch}, 0).Account.Profile
	return domain.AccountEdited{App: app, UserID: id, Patch: domain.Patch{Fields: fields, Values: values}, At: at}
}

// drawBatch applies up to most events in one batch.
func drawBatch(t *rapid.T, w *World, app domain.AppID, most int) {
	pending := make(map[domain.UserID]bool)
	var events []domain.Event
	for range rapid.IntRange(1, most).Draw(t, "batch") {
		events = append(events, drawEvent(t, w, app, pending))
	}
	w.Apply(t, events...)
}

// drawText returns a search text: often one that occurs, in another case.
func drawText(t *rapid.T, w *World, app domain.AppID) string {
	text := nicknames.Draw(t, "text")
	if known := w.ids(app); len(known) > 0 && rapid.Bool().Draw(t, "occurs") {
		a := w.accounts[app][rapid.SampledFrom(known).Draw(t, "of")]
		runes := []rune(rapid.SampledFrom([]string{string(a.UserID), a.Profile.Nickname + "x"}).Draw(t, "field"))
		from := rapid.IntRange(0, len(runes)-1).Draw(t, "from")
		text = string(runes[from:min(len(runes), from+rapid.IntRange(1, 4).Draw(t, "length"))])
	}
	if rapid.Bool().Draw(t, "upper") {
		text = strings.ToUpper(text)
	}
	return text
}

// appNames gives every run of a property an application of its own, so that all
// run on one list.
func appNames() func() domain.AppID {
	n := 0
	return func() domain.AppID {
		n++
		return domain.AppID(fmt.Sprintf("app-%d", n))
	}
}

func testHistories(t *testing.T, open Open) {
	w := NewWorld(t, open)
	next := appNames()
	w.Apply(t, NewApp("beside")...)
	rapid.Check(t, func(t *rapid.T) {
		app := next()
		w.Apply(t, NewApp(app)...)
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			drawBatch(t, w, app, 12)
		}
		for _, text := range []string{"", drawText(t, w, app), drawText(t, w, app)} {
			for _, l := range Listings(app, text, rapid.IntRange(1, 7).Draw(t, "limit")) {
				w.CheckPages(t, l)
			}
		}
		checkChunks(t, w, app, 7)
		checkTotals(t, w, app)
		checkAccounts(t, w, app)
	})
	if got := w.Walk(t, domain.Listing{App: "beside", Limit: 10}, nil); len(got) != 0 {
		t.Fatalf("accounts of other applications are listed: %v", got)
	}
}

func checkAccounts(t T, w *World, app domain.AppID) {
	t.Helper()
	for id, want := range w.accounts[app] {
		got, position, err := w.List.Account(t.Context(), app, id)
		if err != nil || got != want || position != uint64(w.Position) {
			t.Fatalf("account %s: %+v at %d (%v), want %+v at %d", id, got, position, err, want, w.Position)
		}
	}
}

// checkTotals compares the totals of a list without a search, which are always exact.
func checkTotals(t T, w *World, app domain.AppID) {
	t.Helper()
	for _, typ := range []domain.AccountType{"", domain.TypeNormal, domain.TypeAdmin} {
		filter := domain.Filter{Type: typ}
		page, err := w.List.Page(t.Context(), domain.Listing{App: app, Filter: filter, Limit: 1})
		if err != nil {
			t.Fatalf("page of %s: %v", app, err)
		}
		want := len(w.Find(app, filter, domain.SortUserID, domain.Ascending))
		if page.Total != want || page.TotalIsEstimate || page.Position != uint64(w.Position) {
			t.Fatalf("%s has %d accounts of type %q at position %d, want %d at %d", app, page.Total, typ, page.Position, want, w.Position)
		}
	}
}

// testWalkUnderChange walks a list while a random history goes on. What stays as it is
// must be seen exactly once, in order.
func testWalkUnderChange(t *testing.T, open Open) {
	w := NewWorld(t, open)
	next := appNames()
	rapid.Check(t, func(t *rapid.T) {
		app := next()
		w.Apply(t, NewApp(app)...)
		for range 4 {
			drawBatch(t, w, app, 12)
		}
		text := ""
		if rapid.Bool().Draw(t, "search") {
			text = drawText(t, w, app)
		}
		l := rapid.SampledFrom(Listings(app, text, rapid.IntRange(1, 4).Draw(t, "limit"))).Draw(t, "listing")
		before := w.Find(app, l.Filter, l.Sort, l.Order)
		got := w.Walk(t, l, func() { drawBatch(t, w, app, 5) })

		seen := make(map[domain.Account]int)
		for _, a := range got {
			seen[a]++
		}
		for _, a := range before {
			if w.accounts[app][a.UserID] == a && seen[a] != 1 {
				t.Fatalf("%+v: account %s stayed and was seen %d times", l, a.UserID, seen[a])
			}
		}
		for a, n := range seen {
			if n > 1 {
				t.Fatalf("%+v: account %s was seen %d times", l, a.UserID, n)
			}
		}
	})
}
