package service_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
	"rollcall/projections/accountlist/postgres/pgtest"
)

var outage = flag.Duration("outage", 0, "how long PostgreSQL and each NATS server are away, at least; zero is no longer than it takes to see that things go on")

// away waits until what is away has been so for long enough.
func away(since time.Time) { <-time.After(time.Until(since.Add(*outage))) }

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
				if !createOnce(t, writes, fmt.Sprintf("w%d-%d", w, i), passes) {
					return
				}
				created.Add(1)
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

// createOnce creates an account, again while that fails for a reason that passes: then it may be there already.
func createOnce(t *testing.T, c *client.Client, user string, passes func(error) bool) bool {
	t.Helper()
	deadline := time.Now().Add(patience)
	for again := false; ; again = true {
		_, err := c.CreateAccount(context.Background(), "demo", map[string]any{"user_id": user, "nickname": "한글"})
		var p *client.Problem
		switch {
		case err == nil, again && errors.As(err, &p) && p.Code == "account_exists":
			return true
		case !passes(err) || time.Now().After(deadline):
			t.Errorf("a write failed: %v", err)
			return false
		}
	}
}

// checkTotal waits until the list shows a number of accounts.
func checkTotal(t *testing.T, c *client.Client, want int) {
	t.Helper()
	var got int
	storetest.Eventually(t, fmt.Sprintf("the list shows %d accounts", want), func() bool {
		page, err := c.Accounts(t.Context(), "demo", client.Listing{})
		switch {
		case unavailable(err): // a connection that broke while something was away
			return false
		case err != nil:
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

// unavailable tells whether a service cannot do something for now.
func unavailable(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == 503
}

func TestAListIsRebuiltAndPromotedDuringWritesWithoutAFailedRead(t *testing.T) {
	t.Parallel()
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
	if err := one.PromoteList(t.Context(), built.Number-1, false); err != nil { // back to the one before
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
	if err := one.PromoteList(t.Context(), 99, false); !errors.As(err, &refused) || refused.Code != "list_not_found" {
		t.Errorf("a list that is not there was promoted: %v", err)
	}
	checkTotal(t, two, end())
}

func TestCommandsGoOnWithoutTheDatabaseAndTheListCatchesUp(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), "", pgtest.Fast()...)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	first, second := pair(t, server.URL("postgres"))
	defer stop(t, first)
	defer stop(t, second)
	write(t, first, "demo")
	one, two := api(t, first), api(t, second)
	end := load(t, one, two, unavailable)
	storetest.Eventually(t, "writes are under way", func() bool {
		page, err := one.Accounts(t.Context(), "demo", client.Listing{})
		return err == nil && page.Total > 50
	})
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	paused := time.Now()
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
	away(paused)
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the list is read again", func() bool {
		_, err := two.Accounts(t.Context(), "demo", client.Listing{})
		return err == nil
	})
	checkTotal(t, two, end())
}

func TestAnOldListThatAccountsWereDeletedFromIsBuiltAnew(t *testing.T) {
	t.Parallel()
	cfg, _ := onOneServer(t)
	cfg.DB = pgtest.Database(t)
	s := start(t, cfg)
	defer stop(t, s)
	write(t, s, "demo")
	c := api(t, s)
	for _, user := range []string{"ann", "bob"} {
		if _, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": user}); err != nil {
			t.Fatal(err)
		}
	}
	checkTotal(t, c, 2)
	if err := c.DeleteAccount(t.Context(), "demo", "ann"); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), cfg.DB)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "UPDATE rollcall.lists SET created_at = created_at - interval '8 days'"); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "a new list is live", func() bool {
		all, err := c.Lists(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(all) == 2 && all[1].State == "live"
	})
	checkTotal(t, c, 1)
}

func TestAnInstanceThatStartsWithoutTheDatabaseDecidesCommandsAndListsThemOnceItIsThere(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start(t.Context(), "", pgtest.Fast()...)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	cfg, _ := onOneServer(t)
	cfg.DB = server.URL("postgres")
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg)
	defer stop(t, s)
	if r := askReady(t, s); r.HTTP != http.StatusServiceUnavailable || !strings.Contains(r.Detail, "PostgreSQL") {
		t.Errorf("readyz answers %d %s", r.HTTP, r.Detail)
	}
	c := api(t, s)
	if _, err := c.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Accounts(t.Context(), "demo", client.Listing{}); !unavailable(err) {
		t.Errorf("a read is answered by %v", err)
	}
	if err := server.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "it is ready", func() bool { return askReady(t, s).HTTP == http.StatusOK })
	checkTotal(t, c, 1)
}

func TestALeaderThatStopsIsFollowedByTheOtherInstance(t *testing.T) {
	t.Parallel()
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

func TestEachNodeOfTheClusterMayBeLostInTurnUnderLoad(t *testing.T) {
	t.Parallel()
	d := storetest.RunDeployment(t)
	both := make([]*service.Service, 2)
	database := pgtest.Database(t)
	for i := range both {
		cfg := clusterConfig(t, d)
		cfg.DB = database
		both[i] = start(t, cfg)
		defer stop(t, both[i])
	}
	write(t, both[0], "demo")
	one, two := api(t, both[0]), api(t, both[1])
	end := load(t, one, two, unavailable)
	last := func() uint64 {
		var last uint64
		storetest.Eventually(t, "the log tells its end", func() bool {
			all, err := one.Projections(t.Context())
			if err == nil {
				last = all[0].Last
			}
			return err == nil
		})
		return last
	}
	for _, node := range []string{"node1", "node2", "node3"} {
		d.Stop(node)
		stopped := time.Now()
		before := last()
		storetest.Eventually(t, "writes go on without "+node, func() bool { return last() > before+100 })
		away(stopped)
		t.Logf("%d events were written while %s was away for %s", last()-before, node, time.Since(stopped).Round(time.Millisecond))
		d.Start(node)
	}
	checkTotal(t, two, end())
}
