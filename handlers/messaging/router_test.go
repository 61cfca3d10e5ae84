package messaging_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/messaging"
)

// route runs a handler for the queue until it is stopped or the test ends.
func route(t testing.TB, js jetstream.JetStream, handle message.NoPublishHandlerFunc) (stop func()) {
	t.Helper()
	sub, err := messaging.NewSubscriber(js, messaging.SubscriberConfig{
		Consumer: "workers", Lanes: 4, Key: bySubject, RetryAfter: time.Millisecond, CloseTimeout: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	router, err := messaging.NewRouter(messaging.RouterConfig{
		Poison:        messaging.NewPublisher(js, messaging.PublisherConfig{DropDuplicates: true}),
		PoisonSubject: "dead", RetryAfter: time.Millisecond, MaxRetryAfter: time.Millisecond, CloseTimeout: patience,
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

func deadStream(t testing.TB, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOnlyWhatCanNeverBeHandledBecomesPoison(t *testing.T) {
	js := newNode(t).connect(t)
	stream, dead := workStream(t, js), deadStream(t, js)
	fill(t, js, 4, 4)
	var mu sync.Mutex
	tries := make(map[string]int)
	route(t, js, func(m *message.Message) error {
		mu.Lock()
		tries[string(m.Payload)]++
		n := tries[string(m.Payload)]
		mu.Unlock()
		switch string(m.Payload) {
		case "1":
			return fmt.Errorf("no such command: %w", messaging.ErrPoison)
		case "2":
			panic("a fault in the handler")
		case "3":
			if n < 5 {
				return errors.New("the log cannot be reached")
			}
		}
		return nil
	})
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
	mu.Lock()
	if tries["0"] != 1 || tries["1"] != 1 || tries["2"] != 1 || tries["3"] != 5 {
		t.Errorf("tried %v times", tries)
	}
	mu.Unlock()
	if n := left(t, dead); n != 2 {
		t.Fatalf("%d messages are dead, want 2", n)
	}
	for seq := range uint64(2) {
		m, err := dead.GetMsg(t.Context(), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		reason := m.Header[middleware.ReasonForPoisonedKey]
		if len(reason) != 1 || !strings.Contains(reason[0], "no such command") && !strings.Contains(reason[0], "a fault in the handler") {
			t.Errorf("message %s is dead because of %q", m.Data, reason)
		}
	}
}

func TestAStopPoisonsNothingAndLosesNothing(t *testing.T) {
	js := newNode(t).connect(t)
	stream, dead := workStream(t, js), deadStream(t, js)
	fill(t, js, 20, 5)
	begun := make(chan struct{}, 20)
	stop := route(t, js, func(m *message.Message) error {
		begun <- struct{}{}
		<-m.Context().Done() // until the patience of the subscriber is over
		return m.Context().Err()
	})
	<-begun
	stop()
	if n := left(t, dead); n != 0 {
		t.Errorf("the stop made %d messages poison", n)
	}
	if n := left(t, stream); n != 20 {
		t.Errorf("%d of 20 messages are left", n)
	}
	route(t, js, func(*message.Message) error { return nil })
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
}
