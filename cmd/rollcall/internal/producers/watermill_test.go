package producers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/messaging"
)

// The commands that this example sends, with the names that the subjects have.
type (
	createAccount struct {
		ID       string `json:"-"` // of the command
		UserID   string `json:"user_id"`
		Nickname string `json:"nickname,omitempty"`
	}
	deleteAccount struct {
		ID     string `json:"-"`
		UserID string `json:"user_id"`
	}
)

// sendWithWatermill sends commands over a CommandBus, whose transport is messaging.Publisher.
func sendWithWatermill(ctx context.Context, url, token string) error {
	nc, err := nats.Connect(url, nats.UserInfo("token", token))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}

	verbs := map[string]string{"createAccount": "create", "deleteAccount": "delete"}
	bus, err := cqrs.NewCommandBusWithConfig(messaging.NewPublisher(js, messaging.PublisherConfig{}), cqrs.CommandBusConfig{
		Marshaler: cqrs.JSONMarshaler{GenerateName: cqrs.StructName},
		GeneratePublishTopic: func(p cqrs.CommandBusGeneratePublishTopicParams) (string, error) {
			name := cqrs.StructName(p.Command)
			if verbs[name] == "" {
				return "", fmt.Errorf("there is no command %s", name)
			}
			return "accounts.cmd.demo." + verbs[name], nil
		},
		// The id of the message is the id of the command: the same command gets the same.
		OnSend: func(p cqrs.CommandBusOnSendParams) error {
			switch c := p.Command.(type) {
			case *createAccount:
				p.Message.UUID = c.ID
			case *deleteAccount:
				p.Message.UUID = c.ID
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	outcomes, err := nc.SubscribeSync("accounts.outcome.demo.>")
	if err != nil {
		return err
	}

	// Send returns once the command is on disk.
	create := &createAccount{ID: "order-43", UserID: "haru", Nickname: "하루"}
	if err := bus.Send(ctx, create); err != nil {
		return err
	}
	// Sent again it is not decided again, which the publisher tells.
	var again *messaging.DuplicateError
	fmt.Println("a duplicate:", errors.As(bus.Send(ctx, create), &again))
	// A message may carry the trace that it is part of.
	traced := func(m *message.Message) error {
		m.Metadata.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		return nil
	}
	if err := bus.SendWithModifiedMessage(ctx, &deleteAccount{ID: "order-44", UserID: "haru"}, traced); err != nil {
		return err
	}

	for range 2 {
		m, err := outcomes.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		var o struct {
			CommandID   string `json:"commandid"`
			Type        string `json:"type"`
			TraceParent string `json:"traceparent"`
		}
		if err := json.Unmarshal(m.Data, &o); err != nil {
			return err
		}
		fmt.Printf("%s %s, trace %q\n", o.CommandID, o.Type, o.TraceParent)
	}
	return nil
}

// A producer with watermill sends commands over a CommandBus, whose transport is messaging.Publisher.
func Example_watermill() {
	against(sendWithWatermill)

	// Output:
	// a duplicate: true
	// order-43 command.accepted.v1, trace ""
	// order-44 command.accepted.v1, trace "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
}
