package service

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
	"rollcall/handlers/access"
)

func TestTheConsumersOfARevokedTokenAreRemoved(t *testing.T) {
	s, err := Start(t.Context(), Config{Data: t.TempDir(), Listen: "127.0.0.1:0", NATSListen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	operator := access.Principal{TokenID: "operator", Role: access.Operator}
	consumers := make(map[string]bool) // by name, whether the token is to be revoked
	var token access.Token
	for _, revoked := range []bool{false, true} {
		var secret string
		if secret, token, err = s.tokens.Create(t.Context(), operator, "auditor", access.Auditor, "demo"); err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect(s.NATSURL(), nats.Token(secret))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		for _, reader := range []string{"a", "b"} {
			if _, err := nc.Request("accounts.rpc.demo.consume", []byte(`{"name": "`+reader+`"}`), 30*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		for _, slot := range []string{"-1", "-2"} {
			consumers["audit-"+token.ID+slot] = revoked
		}
	}
	if _, err := s.tokens.Revoke(t.Context(), operator, token.ID); err != nil {
		t.Fatal(err)
	}
	for name, revoked := range consumers {
		storetest.Eventually(t, name+" is as it should be", func() bool {
			_, err := s.js.Consumer(t.Context(), jetstream.DefaultStream, name)
			return errors.Is(err, natsjs.ErrConsumerNotFound) == revoked
		})
	}
}
