package producers_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// outcome is what this example wants to know of a command: see Outcome in asyncapi.yaml.
type outcome struct {
	Data struct {
		Status string `json:"status"`
		Detail string `json:"detail"`
	} `json:"data"`
}

// sendWithNATS publishes commands and learns what became of them.
func sendWithNATS(ctx context.Context, url, token string) error {
	nc, err := nats.Connect(url, nats.UserInfo("token", token))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}

	// Whoever wants to hear every outcome subscribes before publishing.
	outcomes, err := nc.SubscribeSync("accounts.outcome.demo.>")
	if err != nil {
		return err
	}

	// A command is on disk once it is acknowledged. Without an acknowledgement publish it again, under its id: it is decided once.
	for _, id := range []string{"order-41", "order-42"} {
		body := []byte(`{"user_id": "sora", "nickname": "소라"}`)
		if _, err := js.Publish(ctx, "accounts.cmd.demo.create", body, jetstream.WithMsgID(id)); err != nil {
			return err
		}
	}

	for range 2 {
		m, err := outcomes.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		var o outcome
		if err := json.Unmarshal(m.Data, &o); err != nil {
			return err
		}
		fmt.Println(m.Subject, o.Data.Status)
	}

	// Later, for a day, the outcome of a command is read from its stream. An answer without a body means that there is none.
	const stream = "$JS.API.DIRECT.GET.OUTCOMES."
	m, err := nc.RequestWithContext(ctx, stream+"accounts.outcome.demo.order-42", nil)
	if err != nil {
		return err
	}
	var o outcome
	if err := json.Unmarshal(m.Data, &o); err != nil {
		return err
	}
	fmt.Println(o.Data.Detail)
	return nil
}

// A producer with nats.go publishes commands and hears what becomes of them.
func Example_natsGo() {
	against(sendWithNATS)

	// Output:
	// accounts.outcome.demo.order-41 accepted
	// accounts.outcome.demo.order-42 rejected
	// account sora exists already in application demo
}
