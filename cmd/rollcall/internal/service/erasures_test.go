package service_test

import (
	"slices"
	"testing"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore/storetest"
	"rollcall/projections/accountlist/postgres/pgtest"
)

// TestBothInstancesTellWhatIsErasedAndThatTheListIsVacuumed has the list in PostgreSQL, where one of the two vacuums it.
func TestBothInstancesTellWhatIsErasedAndThatTheListIsVacuumed(t *testing.T) {
	t.Parallel()
	first, second := pair(t, pgtest.Database(t))
	defer stop(t, first)
	defer stop(t, second)
	write(t, first, "demo")
	apis := []*client.Client{api(t, first), api(t, second)}
	ids := []string{"a", "b", "c"}
	for _, id := range ids {
		if _, err := apis[0].CreateAccount(t.Context(), "demo", map[string]any{"user_id": id, "nickname": "to be erased"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := apis[1].DeleteAccounts(t.Context(), "demo", ids); err != nil {
		t.Fatal(err)
	}
	for _, c := range apis {
		storetest.Eventually(t, "nothing remains of the deleted accounts", func() bool {
			var erased []string
			var waits string
			for e, err := range c.Erasures(t.Context(), "demo", func(p []client.ErasurePlace) { waits = p[len(p)-1].Waits }) {
				if err != nil {
					t.Fatal(err)
				}
				if e.State == "erased" && len(e.Remains) == 0 {
					erased = append(erased, e.UserID)
				}
			}
			slices.Sort(erased)
			return slices.Equal(erased, ids) && waits != "" // of what a vacuum leaves
		})
	}
}
