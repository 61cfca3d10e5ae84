package messaging_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

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
func suiteServer(t *testing.T) (url string) {
	t.Helper()
	n := &node{opts: &server.Options{
		ServerName: "suite", Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	n.run(t)
	return n.srv.ClientURL()
}

// suite are the tests of tests.TestPubSub but two that need a set-up of their own, and
// TestReconnect, which has a data race in itself (its list of published messages); a restart of the
// server has a test of ours.
var suite = map[string]func(*testing.T, tests.TestContext, tests.PubSubConstructor){
	"PublishSubscribe":                  tests.TestPublishSubscribe,
	"ConcurrentSubscribe":               tests.TestConcurrentSubscribe,
	"ConcurrentSubscribeMultipleTopics": tests.TestConcurrentSubscribeMultipleTopics,
	"ResendOnError":                     tests.TestResendOnError,
	"NoAck":                             tests.TestNoAck,
	"ContinueAfterSubscribeClose":       tests.TestContinueAfterSubscribeClose,
	"ConcurrentClose":                   tests.TestConcurrentClose,
	"ContinueAfterErrors":               tests.TestContinueAfterErrors,
	"PublishSubscribeInOrder":           tests.TestPublishSubscribeInOrder,
	"PublisherClose":                    tests.TestPublisherClose,
	"Topic":                             tests.TestTopic,
	"MessageCtx":                        tests.TestMessageCtx,
	"SubscribeCtx":                      tests.TestSubscribeCtx,
}

func TestThePubSubPassesWatermillsSuite(t *testing.T) {
	base := messaging.SubscriberConfig{
		RetryAfter: time.Millisecond, MaxRetryAfter: 10 * time.Millisecond, CloseTimeout: 2 * time.Second,
	}
	keyed := base
	keyed.Concurrency, keyed.Order = 8, func(m jetstream.Msg) messaging.Precedence {
		return messaging.Precedence{Keys: []string{string(m.Data())}}
	}
	t.Run("in order by key", func(t *testing.T) { runSuite(t, keyed) })
	// Without an order, one message at a time is what keeps one.
	t.Run("without order", func(t *testing.T) { runSuite(t, base) })
}

// runSuite runs watermill's suite. Subscribers that share a consumer share its messages, so the test that wants
// old messages for a new subscriber gives each one a consumer of its own.
func runSuite(t *testing.T, cfg messaging.SubscriberConfig) {
	t.Parallel()
	features := tests.Features{
		ConsumerGroups: true, GuaranteedOrder: true, GuaranteedOrderWithSingleSubscriber: true, Persistent: true,
		NewSubscriberReceivesOldMessages: true,
	}
	inContext := func() tests.TestContext { return tests.TestContext{TestID: tests.NewTestID(), Features: features} }
	url := suiteServer(t)
	for name, run := range suite {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, inContext(), func(t *testing.T) (message.Publisher, message.Subscriber) { return newPubSub(t, url, cfg, "suite") })
		})
	}
	t.Run("NewSubscriberReceivesOldMessages", func(t *testing.T) {
		t.Parallel()
		tests.TestNewSubscriberReceivesOldMessages(t, inContext(), func(t *testing.T) (message.Publisher, message.Subscriber) {
			return newPubSub(t, url, cfg, nuid.Next())
		})
	})
	t.Run("ConsumerGroups", func(t *testing.T) {
		t.Parallel()
		tests.TestConsumerGroups(t, inContext(), func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
			return newPubSub(t, url, cfg, group)
		})
	})
}

func newPubSub(t *testing.T, url string, cfg messaging.SubscriberConfig, consumer string) (message.Publisher, message.Subscriber) {
	js, err := jetstream.New(storetest.Connect(t, url))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Consumer = consumer
	sub, err := messaging.NewSubscriber(js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return messaging.NewPublisher(js, messaging.PublisherConfig{DropDuplicates: true}), suiteSubscriber{Subscriber: sub, js: js}
}
