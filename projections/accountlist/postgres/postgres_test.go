package postgres_test

import (
	"testing"

	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/postgres/pgtest"
)

// open opens a database that the end of the test closes.
func open(t testing.TB, address string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func TestListKeepsThePromisesOfAccountlist(t *testing.T) {
	listtest.Run(t, func(t testing.TB, c *codec.Codec) accountlist.List {
		return open(t, pgtest.Database(t)).Live(c)
	})
}
