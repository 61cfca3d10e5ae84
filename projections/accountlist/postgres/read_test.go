package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore/codec"
	"rollcall/projections"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/postgres/pgtest"
)

func TestAServerThatHangsIsUnavailableInsteadOfWaitedFor(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	db, err := postgres.Open(t.Context(), address, postgres.WithReadTime(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	list := db.Live(codec.New(&listtest.Sealer{}))
	checkpoint(t, list)

	other := connect(t, address)
	execSQL(t, other, "BEGIN")
	execSQL(t, other, "LOCK TABLE "+liveSchema(t, db)+".progress IN ACCESS EXCLUSIVE MODE")
	for what, read := range map[string]func(context.Context) error{
		"the checkpoint": func(ctx context.Context) error { _, err := list.Checkpoint(ctx); return err },
		"a page":         func(ctx context.Context) error { _, err := list.Page(ctx, domain.Listing{App: "app"}); return err },
		"the lists":      func(ctx context.Context) error { _, err := db.Generations(ctx); return err },
	} {
		if err := read(t.Context()); !errors.Is(err, projections.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", what, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := read(ended); errors.Is(err, projections.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s for a caller who has gone: %v", what, err)
		}
	}
	execSQL(t, other, "ROLLBACK")
	if _, err := list.Checkpoint(t.Context()); err != nil {
		t.Errorf("the checkpoint once the server answers: %v", err)
	}
}
