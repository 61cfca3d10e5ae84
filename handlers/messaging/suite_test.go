package messaging_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/storetest"
	"rollcall/handlers/messaging"
)

// suiteSubscriber makes the streams that watermill's suite takes for granted.
type suiteSubscriber struct {
	*messaging.Subscriber
	js jetstream.JetStream
}

func (s suiteSubscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: topic, Subjects: []string{topic}, Storage: jetstream.FileStorage})
	return err
}

// suiteServer runs a server that writes to disk now and then: the suite publishes tens of thousands of
// messages, one at a time.
func suiteServer(t *testing.T) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		ServerName: "suite", Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatalf("start server: %v", err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server did not come up")
	}
	return srv.ClientURL()
}

func TestThePubSubPassesWatermillsSuite(t *testing.T) {
	base := messaging.SubscriberConfig{
		RetryAfter: time.Millisecond, MaxRetryAfter: 10 * time.Millisecond, CloseTimeout: 2 * time.Second,
	}
	keyed := base
	keyed.Lanes, keyed.Key = 8, func(m jetstream.Msg) string { return string(m.Data()) }
	t.Run("with lanes by key", func(t *testing.T) {
		t.Parallel()
		runSuite(t, suiteServer(t), keyed)
	})
	// Without a key a single lane is what keeps an order.
	t.Run("with any free lane", func(t *testing.T) {
		t.Parallel()
		runSuite(t, suiteServer(t), base)
	})
}

func runSuite(t *testing.T, url string, cfg messaging.SubscriberConfig) {
	newPubSub := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		js, err := jetstream.New(storetest.Connect(t, url))
		if err != nil {
			t.Fatal(err)
		}
		cfg := cfg
		cfg.Consumer = group
		sub, err := messaging.NewSubscriber(js, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return messaging.NewPublisher(js, messaging.PublisherConfig{DropDuplicates: true}), suiteSubscriber{Subscriber: sub, js: js}
	}
	features := tests.Features{
		ConsumerGroups:                      true,
		ExactlyOnceDelivery:                 false,
		GuaranteedOrder:                     true,
		GuaranteedOrderWithSingleSubscriber: true,
		Persistent:                          true,
	}
	tests.TestPubSub(t, features,
		func(t *testing.T) (message.Publisher, message.Subscriber) { return newPubSub(t, "suite") },
		newPubSub)
}
