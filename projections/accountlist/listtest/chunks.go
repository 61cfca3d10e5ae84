package listtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

// All returns the accounts of an application in the order of their creation, chunk by chunk, and the position that the last chunk shows.
func All(ctx context.Context, l accountlist.List, app domain.AppID) (all []domain.Account, position uint64, err error) {
	s := domain.Stretch{App: app, Limit: domain.MaxStretch}
	for {
		c, err := l.Chunk(ctx, s)
		if err != nil {
			return nil, 0, err
		}
		if all = append(all, c.Accounts...); len(c.Accounts) < s.Limit {
			return all, c.Position, nil
		}
		s.After = domain.PlaceOf(c.Accounts[len(c.Accounts)-1])
	}
}

// chunks walks an application from chunk to chunk. Between is called after each, unless it is nil.
func chunks(t T, w *World, s domain.Stretch, between func()) (all []domain.Account) {
	t.Helper()
	for {
		c, err := w.List.Chunk(t.Context(), s)
		if err != nil {
			t.Fatalf("chunk of %+v: %v", s, err)
		}
		if want := len(w.Find(s.App, domain.Filter{Type: s.Type}, domain.SortUserID, domain.Ascending)); c.Position != uint64(w.Position) || c.Total != want {
			t.Fatalf("chunk of %+v shows position %d and a total of %d, want %d and %d", s, c.Position, c.Total, w.Position, want)
		}
		if all = append(all, c.Accounts...); len(c.Accounts) < s.Limit || s.UserIDs != nil {
			return all
		}
		s.After = domain.PlaceOf(c.Accounts[len(c.Accounts)-1])
		if between != nil {
			between()
		}
	}
}

// checkChunks compares all chunks of an application with the model.
func checkChunks(t T, w *World, app domain.AppID, limit int) {
	t.Helper()
	for _, typ := range []domain.AccountType{"", domain.TypeNormal, domain.TypeAdmin} {
		s := domain.Stretch{App: app, Type: typ, Limit: limit}
		CheckSame(t, fmt.Sprintf("chunks of %+v", s), chunks(t, w, s, nil), w.Find(app, domain.Filter{Type: typ}, domain.SortCreatedAt, domain.Ascending))
	}
}

func testChunks(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	for i, id := range []domain.UserID{"d", "b", "a", "c", "B", "~", "!"} {
		a := NewAccount("app", id, "name", time.Duration(i))
		if i%3 == 1 {
			a.Type = domain.TypeAdmin
		}
		w.Apply(t, a)
	}
	for limit := 1; limit < 9; limit++ {
		checkChunks(t, w, "app", limit)
	}
	for typ, want := range map[domain.AccountType]string{"": "B a d", domain.TypeAdmin: "B", domain.TypeNormal: "a d"} {
		got := ""
		for _, a := range chunks(t, w, domain.Stretch{App: "app", Type: typ, UserIDs: []domain.UserID{"d", "none", "a", "d", "B", "e"}}, nil) {
			got += " " + string(a.UserID)
		}
		if got != " "+want {
			t.Errorf("named accounts of type %q are%s, want %s", typ, got, want)
		}
	}
	for _, s := range []domain.Stretch{{App: "app"}, {App: "app", Limit: domain.MaxStretch + 1}, {App: "app", Limit: 1, Type: "x"}, {App: "app", UserIDs: make([]domain.UserID, domain.MaxStretch+1)}} {
		if _, err := w.List.Chunk(t.Context(), s); !errors.Is(err, domain.CodeInvalid) {
			t.Errorf("a bad stretch gives %v", err)
		}
	}
}

// testChunksUnderChange walks while accounts come and go before and behind the walk.
func testChunksUnderChange(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	const stay = 40
	for i := range stay {
		w.Apply(t, NewAccount("app", domain.UserID(fmt.Sprintf("m%02d", i)), "stays", time.Duration(i)))
	}
	n, last := 0, domain.UserID("")
	walked := chunks(t, w, domain.Stretch{App: "app", Limit: 3}, func() {
		if last != "" {
			w.Apply(t, domain.AccountDeleted{App: "app", UserID: last, At: Epoch})
		}
		if n++; n > stay {
			return
		}
		last = domain.UserID(fmt.Sprintf("m%02d+", n))
		w.Apply(t, NewAccount("app", last, "goes", time.Duration(3*n+2)), NewAccount("app", domain.UserID(fmt.Sprintf("a%02d", n)), "comes", 0))
	})
	seen := make(map[domain.UserID]int)
	for i, a := range walked {
		if seen[a.UserID]++; seen[a.UserID] > 1 || i > 0 && accountlist.Compare(domain.SortCreatedAt, accountlist.KeyOf(walked[i-1]), accountlist.KeyOf(a)) >= 0 {
			t.Errorf("%s comes out of order, or twice", a.UserID)
		}
	}
	for i := range stay {
		if id := domain.UserID(fmt.Sprintf("m%02d", i)); seen[id] != 1 {
			t.Errorf("%s, which was there all the while, comes %d times", id, seen[id])
		}
	}
}
