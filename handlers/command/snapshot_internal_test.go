package command

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

func TestAnAccountThatNoCommandIsExecutedOnIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(nil, nil, nil, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		keep := func(user domain.UserID) {
			s.snapshots.put(eventstore.Account("demo", string(user)), snapshot{state: domain.State{Account: domain.Account{UserID: user}}, revision: 1})
		}
		known := func(user string) bool {
			_, known, _ := s.snapshots.get(eventstore.Account("demo", user), "c")
			return known
		}
		app := eventstore.App("demo")
		s.snapshots.put(app, snapshot{revision: 1})
		keep("gone")
		for range 4 {
			keep("used")
			time.Sleep(rememberFor / 2)
			if !known("used") {
				t.Error("an account that is used is forgotten")
			}
		}
		if known("gone") {
			t.Error("an account that is not used is remembered")
		}
		if _, known, _ := s.snapshots.get(app, "c"); !known {
			t.Error("an application is forgotten, which holds nothing personal")
		}
		cancel()
		wg.Wait()
	})
}
