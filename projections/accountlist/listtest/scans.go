package listtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"rollcall/domain"
)

// collect reads a scan.
func collect(t T, w *World, s domain.Selection) (got []domain.Account, position uint64) {
	t.Helper()
	err := w.List.Scan(t.Context(), s, func(snap domain.Snapshot) error {
		position = snap.Position
		for a, err := range snap.Accounts {
			if err != nil {
				return err
			}
			got = append(got, a)
		}
		if snap.Total != len(got) {
			return fmt.Errorf("total is %d, %d accounts came", snap.Total, len(got))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("scan of %+v: %v", s, err)
	}
	return got, position
}

// checkScan compares a scan by filter with the model.
func checkScan(t T, w *World, s domain.Selection) {
	t.Helper()
	got, position := collect(t, w, s)
	CheckSame(t, fmt.Sprintf("scan of %+v", s), got, w.Find(s.App, s.Filter, domain.SortUserID, domain.Ascending))
	if position != uint64(w.Position) {
		t.Fatalf("scan of %+v shows position %d, want %d", s, position, w.Position)
	}
}

func testScan(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	for i := range 50 {
		w.Apply(t, NewAccount("app", domain.UserID(fmt.Sprintf("u%02d", i)), "이름", time.Duration(i)))
	}
	for _, text := range []string{"", "이름"} {
		selection := domain.Selection{App: "app", Filter: domain.Filter{Text: text}}
		want := w.Find("app", selection.Filter, domain.SortUserID, domain.Ascending)
		position := uint64(w.Position)
		var got []domain.Account
		err := w.List.Scan(t.Context(), selection, func(s domain.Snapshot) error {
			if s.Position != position || s.Total != len(want) {
				t.Errorf("snapshot has position %d and total %d, want %d and %d", s.Position, s.Total, position, len(want))
			}
			for a, err := range s.Accounts {
				if err != nil {
					return err
				}
				got = append(got, a)
				changeAll(t, w, a.UserID)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		CheckSame(t, "scan beside writes", got, want)
	}
	checkScan(t, w, domain.Selection{App: "app"})
}

// changeAll deletes an account, creates it anew, and creates one that sorts after all.
func changeAll(t *testing.T, w *World, id domain.UserID) {
	w.Apply(t, domain.AccountDeleted{App: "app", UserID: id, At: Epoch}, NewAccount("app", id, "이름 2", 0),
		NewAccount("app", domain.UserID(fmt.Sprintf("z%d", w.Position)), "이름", 0))
}

func testSelections(t *testing.T, open Open) {
	w := NewWorld(t, open)
	w.Apply(t, NewApp("app")...)
	for i, id := range []domain.UserID{"d", "b", "a", "c", "B"} {
		a := NewAccount("app", id, fmt.Sprint("n", i%2), time.Duration(i))
		if i == 1 {
			a.Type = domain.TypeAdmin
		}
		w.Apply(t, a)
	}
	for _, f := range []domain.Filter{{}, {Type: domain.TypeAdmin}, {Type: domain.TypeNormal}, {Text: "N1"}, {Type: domain.TypeNormal, Text: "n0"}, {Type: domain.TypeAdmin, Text: "n1"}, {Text: "zz"}} {
		checkScan(t, w, domain.Selection{App: "app", Filter: f})
	}
	got, _ := collect(t, w, domain.Selection{App: "app", UserIDs: []domain.UserID{"d", "none", "a", "d", "B", "e"}})
	ids := make([]domain.UserID, len(got))
	for i, a := range got {
		ids[i] = a.UserID
	}
	if !slices.Equal(ids, []domain.UserID{"B", "a", "d"}) {
		t.Errorf("scan of named accounts gives %v", ids)
	}
	if got, _ := collect(t, w, domain.Selection{App: "app", UserIDs: []domain.UserID{"none"}}); len(got) != 0 {
		t.Errorf("scan of an account that does not exist gives %v", got)
	}
	checkVisit(t, w)
}

// checkVisit checks what visit may and may not do with a snapshot.
func checkVisit(t *testing.T, w *World) {
	t.Helper()
	mine := errors.New("mine")
	var kept domain.Snapshot
	err := w.List.Scan(t.Context(), domain.Selection{App: "app"}, func(s domain.Snapshot) error {
		for range s.Accounts {
			break // before the end
		}
		for _, err := range s.Accounts {
			if err == nil {
				t.Error("a snapshot can be read twice")
			}
		}
		kept = s
		return mine
	})
	if err != mine { //nolint:errorlint // it is promised as it is
		t.Errorf("the error of visit comes back as %v", err)
	}
	for _, err := range kept.Accounts {
		if err == nil {
			t.Error("a snapshot can be read after its scan")
		}
	}
}
