package accountlist_test

import (
	"errors"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

func TestACursorLeadsBackToItsPlace(t *testing.T) {
	k := accountlist.Key{CreatedAt: time.Date(2026, 3, 1, 9, 0, 0, 123456789, time.UTC), Nickname: "김 😀%", UserID: "Ann"}
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUserID, domain.SortNickname} {
		l := domain.Listing{App: "app", Sort: sort, Order: domain.Ascending}
		l.Cursor = k.Cursor(l)
		got, resumed, err := accountlist.After(l)
		if err != nil || !resumed || accountlist.Compare(sort, got, k) != 0 {
			t.Errorf("%s: %+v, %t, %v", sort, got, resumed, err)
		}
	}
}

func FuzzNoCursorIsTakenThatWasNotGiven(f *testing.F) {
	l := domain.Listing{App: "app", Sort: domain.SortNickname, Order: domain.Ascending}
	f.Add(accountlist.Key{Nickname: "n", UserID: "u"}.Cursor(l))
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, cursor string) {
		l := l
		l.Cursor = cursor
		k, resumed, err := accountlist.After(l)
		switch {
		case errors.Is(err, accountlist.CodeInvalidCursor):
		case err != nil:
			t.Errorf("%q: %v", cursor, err)
		case resumed && k.Cursor(l) != cursor:
			t.Errorf("%q is taken as %q", cursor, k.Cursor(l))
		}
	})
}
