package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Consumer is by what an auditor reads the log over NATS.
type Consumer struct {
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`

	Raw json.RawMessage `json:"-"` // as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Consumer) UnmarshalJSON(b []byte) error {
	type plain Consumer
	return readKept(b, (*plain)(c), &c.Raw)
}

// MarshalJSON implements json.Marshaler.
func (c Consumer) MarshalJSON() ([]byte, error) {
	type plain Consumer
	return writeKept(plain(c), c.Raw)
}

// ConsumerOrder asks for a consumer.
type ConsumerOrder struct {
	Name   string `json:"name"`
	UserID string `json:"user_id,omitempty"`
	From   string `json:"from,omitempty"` // a position or a time
	Anew   bool   `json:"anew,omitempty"`
}

// Consume asks a service over NATS for a consumer of the events of an application. It is the one thing that is asked for there alone.
func Consume(ctx context.Context, server, token, app string, order ConsumerOrder) (Consumer, error) {
	body, err := json.Marshal(order)
	if err != nil {
		return Consumer{}, err
	}
	ctx, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	nc, err := nats.Connect(server, nats.Name("rollcall audit consumer"), nats.UserInfo("token", token),
		// That one may not ask is told beside, and the request stays unanswered.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				refuse(&Problem{Status: http.StatusForbidden, Code: "forbidden", Detail: "the token may not read the events of application " + app + "; use one of an auditor of it"})
			}
		}))
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		return Consumer{}, &Problem{Status: http.StatusUnauthorized, Code: "unauthenticated", Detail: "the NATS server at " + server + " does not take the token"}
	case err != nil:
		return Consumer{}, fmt.Errorf("connect to NATS at %s: %w", server, err)
	}
	defer nc.Close()
	m, err := nc.RequestWithContext(ctx, "accounts.rpc."+app+".consume", body)
	if refusal := context.Cause(ctx); err != nil && refusal != nil {
		return Consumer{}, refusal
	}
	if err != nil {
		return Consumer{}, fmt.Errorf("ask for a consumer at %s: %w", server, err)
	}
	if m.Header.Get(micro.ErrorCodeHeader) != "" {
		p := &Problem{}
		if err := json.Unmarshal(m.Data, p); err != nil {
			return Consumer{}, fmt.Errorf("ask for a consumer: %s", m.Header.Get(micro.ErrorHeader))
		}
		return Consumer{}, p
	}
	var c Consumer
	return c, json.Unmarshal(m.Data, &c)
}
