package export

import (
	"context"
	"fmt"
	"testing"

	"rollcall/domain"
)

// evens is a list with the accounts u0, u2, u4 and so on.
type evens struct{ Accounts }

func (evens) Chunk(_ context.Context, s domain.Stretch) (domain.Chunk, error) {
	chunk := domain.Chunk{Position: 1}
	for _, id := range s.UserIDs {
		if last := id[len(id)-1]; last%2 == 0 {
			chunk.Accounts = append(chunk.Accounts, domain.Account{App: s.App, UserID: id, Type: domain.TypeNormal, Revision: 1})
		}
	}
	return chunk, nil
}

func TestProgressReachesItsTotalAlsoWhenSomeOfTheNamedAccountsDoNotExist(t *testing.T) {
	var named []domain.UserID
	for n := range 100 {
		named = append(named, domain.UserID(fmt.Sprint("u", n)))
	}
	s := scan{list: evens{}, spec: Spec{App: "shop", UserIDs: named}, position: 1, rows: 7}
	var w fileWriter
	for p, err := range s.pieces(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		w.took(p)
	}
	if p := w.progress(); p.Done != 50 || p.Total != 50 {
		t.Errorf("at the end %d of %d are done, want 50 of 50", p.Done, p.Total)
	}
}
