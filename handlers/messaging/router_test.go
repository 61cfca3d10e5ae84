package messaging_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/messaging"
)

// route runs a handler for the queue until it is stopped or the test ends.
func route(t testing.TB, js jetstream.JetStream, handle message.NoPublishHandlerFunc) (stop func()) {
	t.Helper()
	sub, err := messaging.NewSubscriber(js, messaging.SubscriberConfig{
		Consumer: "workers", Concurrency: 4, Order: bySubject, RetryAfter: time.Millisecond, CloseTimeout: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	router, err := messaging.NewRouter(messaging.RouterConfig{
		RetryAfter: time.Millisecond, MaxRetryAfter: time.Millisecond, CloseTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	router.AddConsumerHandler("work", "WORK", sub, handle)
	var running sync.WaitGroup
	running.Go(func() {
		if err := router.Run(context.Background()); err != nil {
			t.Error(err)
		}
	})
	<-router.Running()
	stop = sync.OnceFunc(func() {
		if err := router.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func TestWhatFailsOrPanicsIsTriedAgainUntilItIsDone(t *testing.T) {
	js := newNode(t).connect(t)
	stream := workStream(t, js)
	fill(t, js, 3, 3)
	var mu sync.Mutex
	tries := make(map[string]int)
	route(t, js, func(m *message.Message) error {
		mu.Lock()
		tries[string(m.Payload)]++
		n := tries[string(m.Payload)]
		mu.Unlock()
		switch string(m.Payload) {
		case "1":
			if n < 3 {
				panic("a fault in the handler")
			}
		case "2":
			if n < 5 {
				return errors.New("the log cannot be reached")
			}
		}
		return nil
	})
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
	mu.Lock()
	defer mu.Unlock()
	if tries["0"] != 1 || tries["1"] != 3 || tries["2"] != 5 {
		t.Errorf("tried %v times", tries)
	}
}

func TestAStopOfTheRouterLosesNothing(t *testing.T) {
	js := newNode(t).connect(t)
	stream := workStream(t, js)
	fill(t, js, 20, 5)
	begun := make(chan struct{}, 20)
	stop := route(t, js, func(m *message.Message) error {
		begun <- struct{}{}
		<-m.Context().Done() // until the patience of the subscriber is over
		return m.Context().Err()
	})
	<-begun
	stop()
	if n := left(t, stream); n != 20 {
		t.Errorf("%d of 20 messages are left", n)
	}
	route(t, js, func(*message.Message) error { return nil })
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
}
