package service_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"rollcall/cmd/rollcall/internal/client"
)

func TestOperatorsHearTheLogOverNATSAndNothingElse(t *testing.T) {
	s := start(t, config(t.TempDir()))
	defer stop(t, s)
	for app, opt := range map[string]nats.Option{
		"alone": nats.Token(s.OperatorToken()), "password": nats.UserInfo("token", s.OperatorToken()),
	} {
		refused := make(chan error, 10)
		nc, err := nats.Connect(s.NATSURL(), opt,
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		for _, subject := range []string{">", "_INBOX.>", "_ROLLCALL.>", "$JS.>", "accounts.key.>"} {
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("subscribe to %s: %v, want a permission violation", subject, err)
			}
		}
		if err := nc.Publish("accounts.evt.demo", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publish: %v, want a permission violation", err)
		}
		sub, err := nc.SubscribeSync("accounts.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		write(t, s, app)
		if m, err := sub.NextMsg(patience); err != nil || !strings.HasPrefix(m.Subject, "accounts.evt.") {
			t.Errorf("heard %v, %v, want an event", m, err)
		}
	}
}

func TestNobodyButOperatorsConnectsToNATS(t *testing.T) {
	s := start(t, config(t.TempDir()))
	defer stop(t, s)
	write(t, s, "demo")
	c, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	viewer, err := c.CreateToken(t.Context(), "a viewer", "viewer", "demo")
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string][]nats.Option{
		"no token":                     nil,
		"a wrong token":                {nats.Token("wrong")},
		"a viewer's token":             {nats.Token(viewer.Secret)},
		"the token with another user":  {nats.UserInfo("operator", s.OperatorToken())},
		"the token as the user's name": {nats.UserInfo(s.OperatorToken(), "")},
	} {
		if nc, err := nats.Connect(s.NATSURL(), opts...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v, want %v", name, err, nats.ErrAuthorization)
			nc.Close()
		}
	}
}
