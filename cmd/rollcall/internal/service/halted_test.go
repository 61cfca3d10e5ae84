package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
	"rollcall/projections/accountlist/postgres/pgtest"
)

// readiness is what /readyz answers.
type readiness struct {
	HTTP   int `json:"-"`
	Halted []struct {
		Projection string
		Position   uint64
		Reason     string
	}
	Detail string
}

func askReady(t *testing.T, s *service.Service) (r readiness) {
	t.Helper()
	resp, err := http.Get(s.URL() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	r.HTTP = resp.StatusCode
	return r
}

// awaitHalt waits until an instance says that the list has halted, and returns where.
func awaitHalt(t *testing.T, s *service.Service, reason string) (position uint64) {
	t.Helper()
	storetest.Eventually(t, "it says that the list has halted", func() bool {
		for _, h := range askReady(t, s).Halted {
			if h.Projection == "account_list" && strings.Contains(h.Reason, reason) {
				position = h.Position
			}
		}
		return position > 0
	})
	return position
}

// checkHalted checks that an instance takes writes, and tells of reads what it can.
func checkHalted(t *testing.T, s *service.Service, at uint64) {
	t.Helper()
	if r := askReady(t, s); r.HTTP != http.StatusOK {
		t.Errorf("readyz answers %d %s", r.HTTP, r.Detail)
	}
	c := api(t, s)
	if _, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": fmt.Sprintf("at%d-%p", at, s)}); err != nil {
		t.Errorf("a write while the list has halted: %v", err)
	}
	if status, code, detail := readFrom(t, s, at); status != 503 || code != "not_caught_up" || !strings.Contains(detail, "halted") {
		t.Errorf("a read that wants what the list does not show is answered by %d %s: %s", status, code, detail)
	}
	if status, code, _ := readFrom(t, s, at-1); status != 200 {
		t.Errorf("a read that wants what the list shows is answered by %d %s", status, code)
	}
	all, err := c.Projections(t.Context())
	if err != nil || all[0].Position != at-1 || !strings.Contains(all[0].Halted, fmt.Sprint("position ", at)) {
		t.Errorf("the projections are %+v (%v), want that the list has halted at %d", all, err, at)
	}
}

// readFrom reads the applications at a position or later, which needs the list and no account.
func readFrom(t *testing.T, s *service.Service, position uint64) (status int, code, detail string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/v1/apps?min_position=%d", s.URL(), position), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.OperatorToken())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var problem struct{ Code, Detail string }
	if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, problem.Code, problem.Detail
}

func TestAListThatHaltsStopsNothingElseAndGoesOnOnceAnotherIsLive(t *testing.T) {
	t.Parallel()
	cfg, url := onOneServer(t)
	cfg.DB = pgtest.Database(t)
	first := start(t, cfg)
	defer stop(t, first)
	cfg.Data = t.TempDir()
	second := start(t, cfg)
	defer stop(t, second)
	both := []*service.Service{first, second}
	write(t, first, "demo")
	one := api(t, first)
	if _, err := one.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann"}); err != nil {
		t.Fatal(err)
	}

	conn, err := pgx.Connect(t.Context(), cfg.DB)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "ALTER TABLE rollcall_list_1.accounts RENAME TO lost"); err != nil {
		t.Fatal(err)
	}
	if _, err := one.CreateAccount(t.Context(), "demo", map[string]any{"user_id": "bob"}); err != nil {
		t.Fatal(err)
	}
	for _, s := range both {
		checkHalted(t, s, awaitHalt(t, s, "damaged"))
	}
	built, err := one.RebuildList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the new list shows everything", func() bool {
		all, err := one.Lists(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last := all[len(all)-1]
		return last.Position == last.Last
	})
	if err := one.PromoteList(t.Context(), built.Number, true); err != nil {
		t.Fatal(err)
	}
	for _, s := range both {
		storetest.Eventually(t, "the list goes on", func() bool { return len(askReady(t, s).Halted) == 0 })
		checkTotal(t, api(t, s), 4)
	}

	appendUnknown(t, url)
	for _, s := range both {
		checkHalted(t, s, awaitHalt(t, s, "account.frozen.v1"))
		checkTotal(t, api(t, s), 4) // what it showed before
	}
	cfg.Data = t.TempDir()
	third := start(t, cfg)
	defer stop(t, third)
	checkHalted(t, third, awaitHalt(t, third, "account.frozen.v1"))
}

// appendUnknown appends an event of a kind that this program does not know.
func appendUnknown(t *testing.T, url string) {
	t.Helper()
	store, err := jetstream.Open(t.Context(), storetest.Connect(t, url), jetstream.Config{Replicas: 1, MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	event := storetest.Event(eventstore.Account("demo", "frozen"), "c1")
	event.Type = "account.frozen.v1"
	if _, err := store.Append(t.Context(), eventstore.Proposal{Event: event}); err != nil {
		t.Fatal(err)
	}
}

func TestAListThatHaltsOnItsFirstWayThroughTheLogIsNotServed(t *testing.T) {
	t.Parallel()
	cfg, url := onOneServer(t)
	first := start(t, cfg)
	write(t, first, "demo")
	appendUnknown(t, url)
	if _, err := api(t, first).CreateAccount(t.Context(), "demo", map[string]any{"user_id": "ann"}); err != nil {
		t.Fatal(err)
	}
	stop(t, first)
	cfg.Data = t.TempDir() // a new list
	second := start(t, cfg)
	defer stop(t, second)
	storetest.Eventually(t, "it is not ready and says why", func() bool {
		r := askReady(t, second)
		return r.HTTP == http.StatusServiceUnavailable && strings.Contains(r.Detail, "account.frozen.v1")
	})
}
