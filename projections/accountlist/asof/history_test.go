package asof_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/asof"
	"rollcall/projections/accountlist/listtest"
)

// TestMain has a few long histories drawn rather than many short ones: each position of each is a file.
func TestMain(m *testing.M) {
	if err := listtest.Draw(8); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func compare(l domain.Listing, a, b domain.Account) int {
	c := accountlist.Compare(l.Sort, accountlist.KeyOf(a), accountlist.KeyOf(b))
	if l.Order == domain.Descending {
		return -c
	}
	return c
}

// happen lets something happen to one of a few accounts of two applications.
func (w *world) happen(t *rapid.T, exists map[eventstore.AggregateID]bool) {
	app := rapid.SampledFrom([]domain.AppID{"one", "two"}).Draw(t, "application")
	if !exists[eventstore.App(string(app))] {
		w.add(t, listtest.NewApp(app)[0])
		exists[eventstore.App(string(app))] = true
		return
	}
	id := domain.UserID(rapid.SampledFrom([]string{"a", "b", "b.1", "c", "~"}).Draw(t, "user"))
	profile := domain.Profile{Nickname: rapid.SampledFrom([]string{"김하늘", "하늘", "ÉCLAIR", ""}).Draw(t, "nickname"), Level: domain.Num(rapid.Uint32Max(3).Draw(t, "level"))}
	at := listtest.Epoch.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "time")) * time.Second)
	key := eventstore.Account(string(app), string(id))
	switch {
	case !exists[key]:
		typ := rapid.SampledFrom([]domain.AccountType{domain.TypeNormal, domain.TypeAdmin}).Draw(t, "type")
		w.add(t, domain.AccountCreated{App: app, UserID: id, Type: typ, Profile: profile, At: at})
		exists[key] = true
	case rapid.IntRange(0, 2).Draw(t, "what") == 0:
		deletion := w.add(t, domain.AccountDeleted{App: app, UserID: id, At: at})
		w.erase(t, app, id, deletion, true)
		exists[key] = false
	default:
		fields := domain.FieldsOf(domain.FieldNickname, domain.FieldLevel)
		w.add(t, domain.AccountEdited{App: app, UserID: id, At: at, Patch: domain.Patch{Fields: fields, Values: profile}})
	}
}

func drawListing(t *rapid.T, app domain.AppID, position int) domain.Listing {
	return domain.Listing{
		App: app, AsOf: uint64(position), Limit: rapid.IntRange(1, 3).Draw(t, "limit"),
		Sort:  rapid.SampledFrom([]domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname}).Draw(t, "sort"),
		Order: rapid.SampledFrom([]domain.Order{domain.Ascending, domain.Descending}).Draw(t, "order"),
		Filter: domain.Filter{
			Type: rapid.SampledFrom([]domain.AccountType{"", domain.TypeNormal, domain.TypeAdmin}).Draw(t, "of type"),
			Text: rapid.SampledFrom([]string{"", "", "하늘", "éc", "B"}).Draw(t, "text"),
		},
	}
}

func TestTheListAsOfEveryPositionIsAFoldOfWhatWasBeforeIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, asof.Options{Most: 1000, Wait: patience})
		defer func() {
			if err := w.Close(); err != nil {
				rt.Fatalf("close: %v", err)
			}
		}()
		exists := make(map[eventstore.AggregateID]bool)
		for range rapid.IntRange(10, 25).Draw(rt, "events") {
			w.happen(rt, exists)
			if rapid.Bool().Draw(rt, "look") { // at a list that is there when accounts in it are deleted
				app := rapid.SampledFrom([]domain.AppID{"one", "two"}).Draw(rt, "of")
				w.check(rt, drawListing(rt, app, len(w.all())))
			}
		}
		for position := range w.all() {
			for _, app := range []domain.AppID{"one", "two"} {
				w.check(rt, drawListing(rt, app, position+1))
			}
		}
	})
}
