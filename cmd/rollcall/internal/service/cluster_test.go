package service_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
)

// guest connects to an instance with a token.
func guest(t *testing.T, s *service.Service, secret string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.NATSURL(), nats.Token(secret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// publish publishes a command, which is on the disks of most servers when it returns.
func publish(t *testing.T, nc *nats.Conn, id, verb, body string) {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "accounts.cmd.demo."+verb, []byte(body), natsjs.WithMsgID(id)); err != nil {
		t.Fatal(err)
	}
}

// status returns the status of an outcome.
func status(t *testing.T, data []byte) string {
	t.Helper()
	var o struct {
		Data struct {
			Status string `json:"status"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return o.Data.Status
}

func TestInstancesOnAClusterServeOneLogAndTakeOverFromEachOther(t *testing.T) {
	t.Parallel()
	d := storetest.RunDeployment(t)
	first := start(t, clusterConfig(t, d))
	second := start(t, clusterConfig(t, d))
	defer stop(t, second)
	write(t, first, "demo")
	for _, s := range []*service.Service{first, second} {
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("it is not ready: %v", err)
		}
	}
	tokens := tokensOf(t, first)
	producer := tokens["producer"]

	heard, err := guest(t, first, producer).SubscribeSync("accounts.outcome.demo.>")
	if err != nil {
		t.Fatal(err)
	}
	nc := guest(t, second, producer)
	publish(t, nc, "c1", "create", `{"user_id": "ann", "nickname": "앤"}`)
	m, err := heard.NextMsg(patience)
	if err != nil || m.Subject != "accounts.outcome.demo.c1" || status(t, m.Data) != "accepted" {
		t.Fatalf("the outcome heard at the other instance is %v (%v)", m, err)
	}
	storetest.Eventually(t, "the outcome that is asked for is there", func() bool { // a replica that is behind may answer
		m, err = nc.Request("$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo.c1", nil, patience)
		return err != nil || m.Header.Get("Status") != "404"
	})
	if err != nil || status(t, m.Data) != "accepted" {
		t.Errorf("the outcome asked for is %v (%v)", m, err)
	}
	if m, err = nc.Request("$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo.none", nil, patience); err != nil || m.Header.Get("Status") != "404" {
		t.Errorf("an outcome that is not there is %v (%v)", m, err)
	}

	reader := consume(t, guest(t, first, tokens["auditor"]), `{"name": "archive"}`)
	read := fetch(t, reader, 2, 2)

	// The one that started first leads. When it stops, the other decides on, and an auditor reads on there.
	stop(t, first)
	js, err := natsjs.New(guest(t, second, tokens["auditor"]))
	if err == nil {
		reader, err = js.Consumer(t.Context(), "ACCOUNTS", reader.CachedInfo().Name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if next := fetch(t, reader, 1, 1)[0].position; next <= read[1].position || read[1].position <= read[0].position {
		t.Errorf("an auditor has read %v and goes on at %d", positionsOf(read), next)
	}
	mine, err := nc.SubscribeSync("accounts.outcome.demo.>")
	if err != nil {
		t.Fatal(err)
	}
	publish(t, nc, "c2", "edit", `{"user_id": "ann", "level": 3}`)
	for {
		if m, err = mine.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(m.Subject, ".c2") {
			break
		}
	}
	if status(t, m.Data) != "accepted" {
		t.Errorf("the outcome is %s", m.Data)
	}
	c, err := client.New(second.URL(), second.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := c.Account(t.Context(), "demo", "ann")
	if err != nil || a.Nickname != "앤" || a.Level == nil || *a.Level != 3 {
		t.Errorf("the account is %+v (%v)", a, err)
	}
}

// nicknameAsOf returns the nickname that an account had at its revision, by the list as of then.
func nicknameAsOf(t *testing.T, c *client.Client, a client.Account) string {
	t.Helper()
	for page, err := range c.Pages(t.Context(), "demo", client.Listing{Text: a.UserID, AsOf: fmt.Sprint(a.Revision), Waits: func(*client.Problem) {}}) {
		if err != nil || len(page.Accounts) != 1 {
			t.Fatalf("the list as of position %d has %+v: %v", a.Revision, page, err)
		}
		return page.Accounts[0].Nickname
	}
	return ""
}

func TestADeletedAccountIsErasedByWhicheverInstanceLeads(t *testing.T) {
	t.Parallel()
	d := storetest.RunDeployment(t)
	first := start(t, clusterConfig(t, d))
	write(t, first, "demo")
	second := start(t, clusterConfig(t, d))
	defer stop(t, second)
	readers := []*client.Client{api(t, first), api(t, second)}
	for i, c := range readers {
		if i == 1 {
			stop(t, first)
			readers = readers[1:]
		}
		user := fmt.Sprint("user", i)
		a, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": user, "nickname": "secret"})
		if err != nil {
			t.Fatal(err)
		}
		for _, reader := range readers {
			if got := nicknameAsOf(t, reader, a); got != "secret" {
				t.Errorf("as of its creation the account is named %q", got)
			}
		}
		if err := c.DeleteAccount(t.Context(), "demo", user); err != nil {
			t.Fatal(err)
		}
		// Nobody shows it any more, not the instance that has just had its key in memory either.
		for _, reader := range readers {
			storetest.Eventually(t, "the account is erased", func() bool {
				for e, err := range reader.History(t.Context(), "demo", user, false) {
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasPrefix(e.Type, "account.created") {
						return e.Erased
					}
				}
				t.Fatal("it has no history")
				return false
			})
			storetest.Eventually(t, "the account has no name in the list as of its creation", func() bool { return nicknameAsOf(t, reader, a) == "" })
		}
	}
}

func TestAClusterThatWritesLateIsToldOf(t *testing.T) {
	t.Parallel()
	url := storetest.RunCluster(t, 3).URL() // without an import by which the servers could tell
	cfg := config(t.TempDir())
	cfg.NATS.URLs = strings.Split(url, ",")
	cfg.Exports, cfg.MasterKey = "file://"+t.TempDir(), strings.Repeat("1f", 32)
	cfg.Logger = slog.New(slog.DiscardHandler)
	s := start(t, cfg)
	defer stop(t, s)
	resp, err := http.Get(s.URL() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var health struct{ Warnings []string }
	if err := json.NewDecoder(resp.Body).Decode(&health); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || len(health.Warnings) != 2 || !strings.Contains(health.Warnings[0], "0 NATS servers have told") || !strings.Contains(health.Warnings[1], "--nats-leaf") {
		t.Errorf("readyz answers %s with %q", resp.Status, health.Warnings)
	}
	if s.NATSURL() != "" {
		t.Errorf("NATS clients are served at %s though they lead nowhere", s.NATSURL())
	}
}

func TestASharedClusterNeedsASharedKeyAndSharedFiles(t *testing.T) {
	t.Parallel()
	url := storetest.RunServer(t)
	for want, change := range map[string]func(*service.Config){
		"--exports":           func(c *service.Config) { c.Exports = "" },
		"ROLLCALL_MASTER_KEY": func(c *service.Config) { c.MasterKey = "" },
	} {
		cfg := config(t.TempDir())
		cfg.NATS.URLs, cfg.Replicas = []string{url}, 1
		cfg.Exports, cfg.MasterKey = "file://"+t.TempDir(), strings.Repeat("1f", 32)
		change(&cfg)
		if s, err := service.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it started, or its error does not name %s: %v", want, err)
			if err == nil {
				stop(t, s)
			}
		}
	}
}
