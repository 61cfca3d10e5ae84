package service_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
	"rollcall/projections/accountlist/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// api returns a client of an instance.
func api(t *testing.T, s *service.Service) *client.Client {
	t.Helper()
	c, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// pair starts two instances on one cluster and one database.
func pair(t *testing.T, database string) (first, second *service.Service) {
	t.Helper()
	d := storetest.RunDeployment(t)
	both := make([]*service.Service, 2)
	for i := range both {
		cfg := clusterConfig(t, d)
		cfg.DB = database
		both[i] = start(t, cfg)
	}
	return both[0], both[1]
}

// load creates accounts through one client and reads through another until stopped; it returns how many it created.
func load(t *testing.T, writes, reads *client.Client, passes func(error) bool) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var created atomic.Int64
	var work sync.WaitGroup
	for w := range 4 {
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := writes.CreateAccount(context.WithoutCancel(ctx), "demo", map[string]any{"user_id": fmt.Sprintf("w%d-%d", w, i), "nickname": "한글"})
				switch {
				case err == nil:
					created.Add(1)
				case !passes(err):
					t.Errorf("a write failed: %v", err)
					return
				}
			}
		})
	}
	for range 2 {
		work.Go(func() {
			for ctx.Err() == nil {
				page, err := reads.Accounts(context.WithoutCancel(ctx), "demo", client.Listing{Text: "한글"})
				if err != nil && !passes(err) {
					t.Errorf("a read failed: %v", err)
					return
				}
				if err == nil && len(page.Accounts) == 0 && created.Load() > 1000 {
					t.Error("a read showed an empty list")
					return
				}
			}
		})
	}
	return func() int {
		cancel()
		work.Wait()
		return int(created.Load())
	}
}

// total waits until the list shows a number of accounts.
func checkTotal(t *testing.T, c *client.Client, want int) {
	t.Helper()
	var got int
	storetest.Eventually(t, fmt.Sprintf("the list shows %d accounts", want), func() bool {
		page, err := c.Accounts(t.Context(), "demo", client.Listing{})
		if err != nil {
			t.Fatal(err)
		}
		got = page.Total
		return got >= want
	})
	if got != want {
		t.Errorf("the list shows %d accounts, want %d", got, want)
	}
}

func never(error) bool { return false }

func TestAListIsRebuiltAndPromotedDuringWritesWithoutAFailedRead(t *testing.T) {
	first, second := pair(t, pgtest.Database(t))
	defer stop(t, first)
	defer stop(t, second)
	write(t, first, "demo")
	one, two := api(t, first), api(t, second)
	end := load(t, one, two, never)
	storetest.Eventually(t, "there is something to rebuild", func() bool {
		page, err := one.Accounts(t.Context(), "demo", client.Listing{})
		return err == nil && page.Total > 200
	})
	await := func(number int64) {
		t.Helper()
		storetest.Eventually(t, "the list is live", func() bool {
			all, err := two.Lists(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range all {
				if l.Number == number && (l.State == "refused" || l.State == "retired") {
					t.Fatalf("the list is %+v", l)
				}
				if l.Number == number && l.State == "live" {
					return true
				}
			}
			return false
		})
	}
	built, err := two.RebuildList(t.Context())
	if err != nil || built.State != "building" {
		t.Fatalf("ordered %+v, %v", built, err)
	}
	await(built.Number)
	if err := one.PromoteList(t.Context(), built.Number-1); err != nil { // back to the one before
		t.Fatal(err)
	}
	storetest.Eventually(t, "the old list is live again", func() bool {
		all, err := one.Lists(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all[0].State == "live" && all[1].State == "retired"
	})
	if err := one.DropList(t.Context(), built.Number); err != nil {
		t.Fatal(err)
	}
	var refused *client.Problem
	if err := one.DropList(t.Context(), built.Number-1); !errors.As(err, &refused) || refused.Code != "list_in_use" {
		t.Errorf("the live list was removed: %v", err)
	}
	if err := one.PromoteList(t.Context(), 99); !errors.As(err, &refused) || refused.Code != "list_not_found" {
		t.Errorf("a list that is not there was promoted: %v", err)
	}
	checkTotal(t, two, end())
}

func TestCommandsGoOnWithoutTheDatabaseAndTheListCatchesUp(t *testing.T) {
	server, err := pgtest.Start(t.Context(), "", pgtest.Fast()...)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	first, second := pair(t, server.URL("postgres"))
	defer stop(t, first)
	defer stop(t, second)
	write(t, first, "demo")
	unavailable := func(err error) bool {
		var p *client.Problem
		return errors.As(err, &p) && p.Status == 503
	}
	one, two := api(t, first), api(t, second)
	end := load(t, one, two, unavailable)
	storetest.Eventually(t, "writes are under way", func() bool {
		page, err := one.Accounts(t.Context(), "demo", client.Listing{})
		return err == nil && page.Total > 50
	})
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	before, err := one.Projections(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "a read is refused for now and commands go on", func() bool {
		_, err := two.Accounts(t.Context(), "demo", client.Listing{})
		after, perr := one.Projections(t.Context())
		if perr != nil {
			t.Fatal(perr)
		}
		return unavailable(err) && after[0].Last > before[0].Last+100
	})
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the list is read again", func() bool {
		_, err := two.Accounts(t.Context(), "demo", client.Listing{})
		return err == nil
	})
	checkTotal(t, two, end())
}

func TestALeaderThatStopsIsFollowedByTheOtherInstance(t *testing.T) {
	first, second := pair(t, pgtest.Database(t))
	defer stop(t, second)
	write(t, first, "demo")
	stop(t, first)
	began := time.Now()
	two := api(t, second)
	if _, err := two.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann"}); err != nil {
		t.Fatal(err)
	}
	checkTotal(t, two, 1)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the other instance took over after %s", took)
	}
}
