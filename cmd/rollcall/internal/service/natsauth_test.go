package service_test

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// natsTable is what each role may do over NATS in its application demo, and an operator in all, written down a second
// time: which subjects it may publish on, and which it may hear.
var natsTable = map[string]struct{ publish, hear string }{
	"operator": {
		"accounts.cmd.demo.create accounts.cmd.demo.edit accounts.cmd.demo.delete accounts.cmd.demo.export accounts.cmd.other.create accounts.cmd.other.export " +
			"accounts.rpc.demo.create accounts.rpc.demo.edit accounts.rpc.demo.delete accounts.rpc.demo.get accounts.rpc.other.create accounts.rpc.other.get accounts.rpc.demo.consume accounts.rpc.other.consume " +
			"$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo.x $JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.other.x $SRV.PING",
		"accounts.evt.> accounts.outcome.demo.> accounts.outcome.other.> accounts.evt.demo.> accounts.evt.other.> accounts.export.demo.> accounts.export.other.> accounts.dead.> accounts.dead.demo accounts.dead.other",
	},
	"admin": {
		"accounts.cmd.demo.create accounts.cmd.demo.edit accounts.cmd.demo.delete accounts.cmd.demo.export " +
			"accounts.rpc.demo.create accounts.rpc.demo.edit accounts.rpc.demo.delete accounts.rpc.demo.get accounts.rpc.demo.consume $JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo.x",
		"accounts.outcome.demo.> accounts.evt.demo.> accounts.export.demo.> accounts.dead.demo",
	},
	"producer": {
		"accounts.cmd.demo.create accounts.cmd.demo.edit accounts.cmd.demo.delete " +
			"accounts.rpc.demo.create accounts.rpc.demo.edit accounts.rpc.demo.delete $JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo.x",
		"accounts.outcome.demo.>",
	},
	"viewer":   {"accounts.rpc.demo.get", ""},
	"exporter": {"accounts.cmd.demo.export $JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo.x", "accounts.outcome.demo.> accounts.export.demo.>"},
	"auditor":  {"accounts.rpc.demo.consume", "accounts.evt.demo.>"},
}

// neverPublished and neverHeard are for nobody.
var (
	neverPublished = strings.Fields("accounts.evt.demo.u.x accounts.evt.demo.app accounts.ingress.demo.create accounts.outcome.demo.x accounts.dead.demo accounts.key.x " +
		"accounts.export.demo.x.completed accounts.exportjob.demo.x stored.accounts.evt.demo.u.x $KV.ROLLCALL_TOKENS.x $JS.API.INFO $JS.API.STREAM.PURGE.ACCOUNTS " +
		"$JS.API.STREAM.MSG.GET.ACCOUNTS $JS.API.STREAM.MSG.GET.KEYS $JS.API.CONSUMER.CREATE.ACCOUNTS $JS.API.CONSUMER.CREATE.COMMANDS $JS.API.CONSUMER.INFO.ACCOUNTS.x $JS.API.CONSUMER.MSG.NEXT.ACCOUNTS.x $JS.ACK.ACCOUNTS.x.1.1.1.1.1 accounts.consumer.next.x $JS.ACK.COMMANDS.x $SYS.REQ.SERVER.PING anything")
	neverHeard = strings.Fields("> accounts.> accounts.cmd.demo.> accounts.ingress.> accounts.rpc.> accounts.key.> stored.> _ROLLCALL.> $JS.> $KV.> $SYS.> $SRV.>")
)

// tokensOf makes a token of each role.
func tokensOf(t *testing.T, s *service.Service) map[string]string {
	t.Helper()
	c, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	secrets := map[string]string{"operator": s.OperatorToken()}
	for role := range natsTable {
		if role == "operator" {
			continue
		}
		token, err := c.CreateToken(t.Context(), role, role, "demo")
		if err != nil {
			t.Fatal(err)
		}
		secrets[role] = token.Secret
	}
	return secrets
}

// allowed tells by a real connection whether the server lets a client do something.
func allowed(t *testing.T, url, secret string, do func(*nats.Conn) error) bool {
	t.Helper()
	refused := make(chan error, 10)
	nc, err := nats.Connect(url, nats.UserInfo("token", secret), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := do(nc); err != nil {
		t.Fatal(err)
	}
	// The server answers in order, and the client tells of errors before it returns from a flush, or soon after.
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if nc.LastError() != nil {
		if !errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
			t.Fatal(nc.LastError())
		}
		return false
	}
	return true
}

// shapes are how a service may be deployed: with the log in the process, and with it on the cluster of deployments/nats.
var shapes = map[string]func(*testing.T) service.Config{
	"embedded": func(t *testing.T) service.Config { return config(t.TempDir()) },
	"cluster":  func(t *testing.T) service.Config { return clusterConfig(t, storetest.RunDeployment(t)) },
}

// inEachShape runs a check on a service of each shape.
func inEachShape(t *testing.T, check func(*testing.T, *service.Service)) {
	t.Helper()
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			s := start(t, shape(t))
			defer stop(t, s)
			check(t, s)
		})
	}
}

// clusterConfig is that of one instance of several.
func clusterConfig(t *testing.T, d *storetest.Deployment) service.Config {
	cfg := config(t.TempDir())
	cfg.NATS = jetstream.Cluster{URLs: d.URLs(), User: "rollcall", Password: storetest.Password}
	cfg.Doors = jetstream.Cluster{URLs: d.LeafURLs(), User: "rollcall-door", Password: storetest.DoorPassword}
	cfg.Exports = "file://" + t.TempDir()
	cfg.MasterKey, cfg.OperatorToken = strings.Repeat("1f", 32), "operator-token-of-this-test-0123456789"
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return cfg
}

func TestEachRoleMayDoOverNATSWhatTheTableSaysAndNothingElse(t *testing.T) {
	t.Parallel()
	inEachShape(t, checkRights)
}

func checkRights(t *testing.T, s *service.Service) {
	t.Helper()
	write(t, s, "demo")
	write(t, s, "other")
	publish, hear := make(map[string]bool), make(map[string]bool)
	for _, rights := range natsTable {
		for _, subject := range strings.Fields(rights.publish) {
			publish[subject] = true
		}
		for _, subject := range strings.Fields(rights.hear) {
			hear[subject] = true
		}
	}
	for role, secret := range tokensOf(t, s) {
		t.Run(role, func(t *testing.T) {
			for _, subject := range append(slices.Sorted(maps.Keys(publish)), neverPublished...) {
				want := slices.Contains(strings.Fields(natsTable[role].publish), subject)
				if got := allowed(t, s.NATSURL(), secret, func(nc *nats.Conn) error { return nc.Publish(subject, []byte("{}")) }); got != want {
					t.Errorf("publish on %s: allowed is %t, want %t", subject, got, want)
				}
			}
			for _, subject := range append(slices.Sorted(maps.Keys(hear)), neverHeard...) {
				want := slices.Contains(strings.Fields(natsTable[role].hear), subject)
				if got := allowed(t, s.NATSURL(), secret, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err }); got != want {
					t.Errorf("subscribe to %s: allowed is %t, want %t", subject, got, want)
				}
			}
		})
	}
}

func TestNobodyConnectsToNATSWithoutAToken(t *testing.T) {
	t.Parallel()
	inEachShape(t, checkNobody)
}

func checkNobody(t *testing.T, s *service.Service) {
	t.Helper()
	for name, opts := range map[string][]nats.Option{
		"no token":                     nil,
		"a wrong token":                {nats.Token("wrong")},
		"the token with another user":  {nats.UserInfo("operator", s.OperatorToken())},
		"the token as the user's name": {nats.UserInfo(s.OperatorToken(), "")},
	} {
		if nc, err := nats.Connect(s.NATSURL(), opts...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v, want %v", name, err, nats.ErrAuthorization)
			nc.Close()
		}
	}
}

func TestARevokedTokenIsCutOffFromNATS(t *testing.T) {
	t.Parallel()
	inEachShape(t, checkRevoked)
}

func checkRevoked(t *testing.T, s *service.Service) {
	t.Helper()
	write(t, s, "demo")
	c, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	token, err := c.CreateToken(t.Context(), "orders", "producer", "demo")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc, err := nats.Connect(s.NATSURL(), nats.Token(token.Secret), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := c.RevokeToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("the connection of a revoked token is open")
	}
	if nc, err := nats.Connect(s.NATSURL(), nats.Token(token.Secret)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect with a revoked token: %v, want %v", err, nats.ErrAuthorization)
		nc.Close()
	}
}

func TestRequestsOverNATSAreAnsweredWithTypedErrors(t *testing.T) {
	t.Parallel()
	inEachShape(t, checkRequests)
}

func checkRequests(t *testing.T, s *service.Service) {
	t.Helper()
	write(t, s, "demo")
	nc, err := nats.Connect(s.NATSURL(), nats.Token(s.OperatorToken()))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, c := range []struct{ verb, body, status, code string }{
		{"create", `{"user_id": "a", "nickname": "가나"}`, "", ""},
		{"create", `{"user_id": "a"}`, "409", "account_exists"},
		{"edit", `{"user_id": "a", "level": 3}`, "", ""},
		{"edit", `{"user_id": "a", "type": "admin"}`, "422", "immutable_field"},
		{"edit", `{"level": 3}`, "422", "validation_failed"},
		{"delete", `{"user_id": ""}`, "422", "validation_failed"},
		{"get", `{"user_id": "a"}`, "", ""},
		{"get", `{"user_id": "b"}`, "404", "account_not_found"},
		{"get", `{}`, "422", "validation_failed"},
		{"get", `{`, "400", "malformed_body"},
		{"delete", `{"user_ids": ["a", "b"]}`, "", ""},
		{"delete", `{"user_id": "a"}`, "404", "account_not_found"},
	} {
		m, err := nc.Request("accounts.rpc.demo."+c.verb, []byte(c.body), patience)
		if err != nil {
			t.Fatal(err)
		}
		if status, code := m.Header.Get("Nats-Service-Error-Code"), m.Header.Get("Rollcall-Error-Code"); status != c.status || code != c.code {
			t.Errorf("%s %s: %s %s, want %s %s: %s", c.verb, c.body, status, code, c.status, c.code, m.Data)
		}
	}
}
