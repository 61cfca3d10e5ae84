package messaging_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/messaging"
)

// workStream makes a work queue on the subject q.>.
func workStream(t testing.TB, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	return workStreamIn(t, js, jetstream.FileStorage)
}

func workStreamIn(t testing.TB, js jetstream.JetStream, storage jetstream.StorageType) jetstream.Stream {
	t.Helper()
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "WORK", Subjects: []string{"q.>"}, Retention: jetstream.WorkQueuePolicy, Storage: storage,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill publishes n messages, numbered, over a number of subjects.
func fill(t testing.TB, js jetstream.JetStream, n, subjects int) {
	t.Helper()
	for i := range n {
		if _, err := js.PublishAsync(fmt.Sprintf("q.%d", i%subjects), []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		t.Fatal("the messages were not acknowledged")
	}
}

func bySubject(m jetstream.Msg) messaging.Precedence {
	return messaging.Precedence{Keys: []string{m.Subject()}}
}

func subscribe(t testing.TB, js jetstream.JetStream, cfg messaging.SubscriberConfig) (*messaging.Subscriber, <-chan *message.Message) {
	t.Helper()
	cfg.Consumer = "workers"
	sub, err := messaging.NewSubscriber(js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, sub) })
	ch, err := sub.Subscribe(context.WithValue(t.Context(), ctxKey{}, "value"), "WORK")
	if err != nil {
		t.Fatal(err)
	}
	return sub, ch
}

type ctxKey struct{}

func closeAll(t testing.TB, sub *messaging.Subscriber) {
	t.Helper()
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

func receive(t testing.TB, ch <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message came")
	}
	return nil
}

func left(t testing.TB, s jetstream.Stream) uint64 {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

func TestNothingIsLostWhenASubscriberClosesWithMessagesInFlight(t *testing.T) {
	for name, cfg := range map[string]messaging.SubscriberConfig{
		"in order by key":              {Concurrency: 8, Order: bySubject},
		"in order by key of one owner": {Concurrency: 8, Order: bySubject, SoleOwner: true},
		"without order":                {Concurrency: 8},
	} {
		t.Run(name, func(t *testing.T) {
			const total, rounds, round = 2000, 5, 150
			js := newNode(t).connect(t)
			stream := workStreamIn(t, js, jetstream.MemoryStorage)
			fill(t, js, total, 20)
			cfg.CloseTimeout = 20 * time.Millisecond
			acked := make(map[string]bool)
			latest := make(map[int]int) // of each subject
			for r := 0; len(acked) < total; r++ {
				sub, ch := subscribe(t, js, cfg)
				var closing sync.WaitGroup
				stop := sync.OnceFunc(func() { closing.Go(func() { closeAll(t, sub) }) })
				for n := 0; ; n++ {
					m, ok := <-ch
					if !ok {
						break
					}
					if r < rounds && n >= round {
						stop() // with this message and those behind it in flight, never to be settled
						continue
					}
					acked[string(m.Payload)] = true
					if i, err := strconv.Atoi(string(m.Payload)); err != nil || cfg.SoleOwner && i < latest[i%20] {
						t.Errorf("message %s came after %d", m.Payload, latest[i%20])
					} else {
						latest[i%20] = i
					}
					if m.Ack(); len(acked) == total {
						stop()
					}
				}
				closing.Wait()
			}
			eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
		})
	}
}

func TestASoleOwnerThatHasBeenReplacedReceivesNothingMore(t *testing.T) {
	const total = 200
	js := newNode(t).connect(t)
	stream := workStreamIn(t, js, jetstream.MemoryStorage)
	fill(t, js, 1, 1)
	owner := messaging.SubscriberConfig{Concurrency: total, Order: bySubject, SoleOwner: true, CloseTimeout: time.Millisecond}
	warnings := make(chan struct{}, 100)
	replaced := owner
	replaced.Logger = slog.New(slog.NewTextHandler(&onWrite{do: func() { warnings <- struct{}{} }}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	first, before := subscribe(t, js, replaced)
	receive(t, before)
	_, after := subscribe(t, js, owner)
	receive(t, after).Ack()
	for i := range total {
		if i == total/2 {
			<-warnings // that its consumer is gone
			<-warnings // that it cannot make it anew
		}
		if _, err := js.Publish(t.Context(), fmt.Sprintf("q.%d", i), []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		receive(t, after).Ack()
	}
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
	closeAll(t, first)
	for m := range before {
		t.Errorf("the first owner has received %s", m.Payload)
	}
}

func TestMessagesOfOneKeyKeepTheirOrderThroughRetries(t *testing.T) {
	const total, keys = 2000, 16
	js := newNode(t).connect(t)
	workStreamIn(t, js, jetstream.MemoryStorage)
	fill(t, js, total, keys)
	_, ch := subscribe(t, js, messaging.SubscriberConfig{Concurrency: 4, Order: bySubject, RetryAfter: time.Millisecond, MaxRetryAfter: time.Millisecond})
	var next [keys]int
	for k := range next {
		next[k] = k
	}
	refused := make(map[int]bool)
	for range total + total/7 + 1 {
		m := receive(t, ch)
		i, err := strconv.Atoi(string(m.Payload))
		if err != nil {
			t.Fatal(err)
		}
		if i != next[i%keys] {
			t.Fatalf("message %d came when %d was due", i, next[i%keys])
		}
		if i%7 == 0 && !refused[i] {
			refused[i] = true
			m.Nack()
			continue
		}
		next[i%keys] += keys
		m.Ack()
	}
}

func TestASlowMessageIsKeptAliveAndDeliveredOnce(t *testing.T) {
	const wait = 300 * time.Millisecond
	for name, cfg := range map[string]messaging.SubscriberConfig{
		"in the handler": {AckWait: wait},
		"in order":       {AckWait: wait, Order: bySubject},
	} {
		t.Run(name, func(t *testing.T) {
			js := newNode(t).connect(t)
			stream := workStream(t, js)
			fill(t, js, 3, 1)
			_, ch := subscribe(t, js, cfg)
			slow := receive(t, ch)
			consumer, err := stream.Consumer(t.Context(), "workers")
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			eventually(t, "several waits have passed", func() bool { return time.Since(start) > 5*wait })
			info, err := consumer.Info(t.Context())
			if err != nil || info.NumRedelivered != 0 {
				t.Errorf("%d messages were delivered again, %v", info.NumRedelivered, err)
			}
			slow.Ack()
			for _, want := range []string{"1", "2"} {
				m := receive(t, ch)
				if string(m.Payload) != want {
					t.Errorf("message %s came, want %s", m.Payload, want)
				}
				m.Ack()
			}
		})
	}
}

func TestAHandlerHasItsContextUntilTheCloseTimeout(t *testing.T) {
	js := newNode(t).connect(t)
	stream := workStream(t, js)
	fill(t, js, 2, 1)
	sub, err := messaging.NewSubscriber(js, messaging.SubscriberConfig{Consumer: "workers", CloseTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
	defer cancel()
	ch, err := sub.Subscribe(ctx, "WORK")
	if err != nil {
		t.Fatal(err)
	}
	m := receive(t, ch)
	cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeAll(t, sub)
	}()
	if m.Context().Err() != nil || m.Context().Value(ctxKey{}) != "value" {
		t.Error("the end of the subscription ended the message's context")
	}
	m.Ack()
	<-closed
	<-m.Context().Done()
	if _, open := <-ch; open {
		t.Error("a message was handed out after the end")
	}
	eventually(t, "the settled message is gone", func() bool { return left(t, stream) == 1 })
}

func TestASubscriberSurvivesARestartOfTheServer(t *testing.T) {
	for name, order := range map[string]func(jetstream.Msg) messaging.Precedence{"in order by key": bySubject, "without order": nil} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			js := n.connect(t)
			stream := workStream(t, js)
			fill(t, js, 100, 5)
			_, ch := subscribe(t, js, messaging.SubscriberConfig{Concurrency: 3, Order: order, AckWait: time.Second})
			got := make(map[string]bool)
			for range 50 {
				m := receive(t, ch)
				got[string(m.Payload)] = true
				m.Ack()
			}
			held := receive(t, ch)
			n.stop()
			n.start(t)
			held.Ack()
			got[string(held.Payload)] = true
			eventually(t, "the connection is back", js.Conn().IsConnected)
			for len(got) < 100 {
				m := receive(t, ch)
				got[string(m.Payload)] = true
				m.Ack()
			}
			// An acknowledgement may have been lost; then the message comes again.
			eventually(t, "the queue is empty", func() bool {
				select {
				case m := <-ch:
					m.Ack()
				default:
				}
				return left(t, stream) == 0
			})
		})
	}
}

func TestASubscriberWhoseConsumerIsDeletedMakesItAgain(t *testing.T) {
	js := newNode(t).connect(t)
	stream := workStream(t, js)
	_, ch := subscribe(t, js, messaging.SubscriberConfig{})
	fill(t, js, 1, 1)
	receive(t, ch).Ack()
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
	if err := stream.DeleteConsumer(t.Context(), "workers"); err != nil {
		t.Fatal(err)
	}
	fill(t, js, 1, 1)
	receive(t, ch).Ack()
}

func TestAMessageThatIsLostOnItsWayIsNotOvertaken(t *testing.T) {
	const n = 200
	node := newNode(t)
	js := node.connect(t)
	stream := workStream(t, js)
	_, ch := subscribe(t, js, messaging.SubscriberConfig{
		Concurrency: 8, Order: bySubject, SoleOwner: true, AckWait: 100 * time.Millisecond,
	})
	// What another client gets of the same consumer is lost to the subscriber.
	names := stream.ConsumerNames(t.Context())
	thief, err := node.connect(t).Consumer(t.Context(), "WORK", <-names.Name())
	must(t, errors.Join(err, names.Err()))
	batch, err := thief.Fetch(5, jetstream.FetchMaxWait(patience))
	must(t, err)
	fill(t, js, n, 1)
	for range 5 {
		if <-batch.Messages() == nil {
			t.Fatalf("nothing is lost: %v", batch.Error())
		}
	}
	for i := range n {
		m := receive(t, ch)
		if string(m.Payload) != strconv.Itoa(i) {
			t.Fatalf("message %s comes in the place of %d", m.Payload, i)
		}
		m.Ack()
	}
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
}

func TestASoleOwnerNeedsAnOrder(t *testing.T) {
	if _, err := messaging.NewSubscriber(newNode(t).connect(t), messaging.SubscriberConfig{Consumer: "workers", SoleOwner: true}); err == nil {
		t.Error("one without an order can be made")
	}
}

func TestAMessageWithMalformedHeadersReachesItsHandler(t *testing.T) {
	n := newNode(t)
	js := n.connect(t)
	stream := workStream(t, js)
	publishRaw(t, n.srv.ClientURL(), "q.raw", "NATS/1.0\r\nno colon here\r\n\r\n", "payload")
	eventually(t, "the message is stored", func() bool { return left(t, stream) == 1 })
	fill(t, js, 1, 1)
	_, ch := subscribe(t, js, messaging.SubscriberConfig{})
	m := receive(t, ch)
	if string(m.Payload) != "payload" || m.UUID == "" {
		t.Errorf("got %q with the id %q", m.Payload, m.UUID)
	}
	m.Ack()
	receive(t, ch).Ack() // and the next one is not held up
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
}

// publishRaw publishes a message with headers as they are, which no client library lets one do.
func publishRaw(t testing.TB, server, subject, header, payload string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT {\"headers\":true,\"verbose\":false}\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n",
		subject, len(header), len(header)+len(payload), header, payload)
	for in := bufio.NewScanner(conn); in.Scan(); {
		if in.Text() == "PONG" {
			return
		}
	}
	t.Fatal("the server did not answer")
}

func TestThePublisherSurfacesADuplicate(t *testing.T) {
	js := newNode(t).connect(t)
	stream := workStream(t, js)
	pub := messaging.NewPublisher(js, messaging.PublisherConfig{})
	if err := pub.Publish("q.a", message.NewMessage("id-1", []byte("first"))); err != nil {
		t.Fatal(err)
	}
	err := pub.Publish("q.a", message.NewMessage("id-1", []byte("again")), message.NewMessage("id-2", []byte("second")))
	var dup *messaging.DuplicateError
	if !errors.As(err, &dup) || dup.ID != "id-1" || dup.Sequence != 1 || dup.Stream != "WORK" {
		t.Errorf("the duplicate gives %v", err)
	}
	if n := left(t, stream); n != 2 {
		t.Errorf("the stream has %d messages, want 2", n)
	}
	quiet := messaging.NewPublisher(js, messaging.PublisherConfig{DropDuplicates: true})
	if err := quiet.Publish("q.a", message.NewMessage("id-1", nil)); err != nil {
		t.Errorf("a duplicate that may be dropped gives %v", err)
	}
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pub.Publish("q.a", message.NewMessage("id-3", nil)); !errors.Is(err, messaging.ErrClosed) {
		t.Errorf("a closed publisher gives %v", err)
	}
}

func TestMetadataNeverCommandsTheServer(t *testing.T) {
	js := newNode(t).connect(t)
	stream := workStream(t, js)
	pub := messaging.NewPublisher(js, messaging.PublisherConfig{})
	for _, key := range []string{nats.MsgRollup, "nats-rollup", "", "a b", "a:b", "é", "a\r\nb"} {
		m := message.NewMessage("id", nil)
		m.Metadata.Set(key, "all")
		if err := pub.Publish("q.a", m); !errors.Is(err, messaging.ErrMetadata) {
			t.Errorf("metadata named %q gives %v", key, err)
		}
	}
	m := message.NewMessage("id", nil)
	m.Metadata.Set("reason_poisoned", strings.Repeat("x", 1000))
	if err := pub.Publish("q.a", m); err != nil {
		t.Fatal(err)
	}
	_, ch := subscribe(t, js, messaging.SubscriberConfig{})
	got := receive(t, ch)
	got.Ack()
	if got.UUID != "id" || len(got.Metadata.Get("reason_poisoned")) != 1000 || len(got.Metadata) != 1 {
		t.Errorf("got the id %q and metadata %v", got.UUID, got.Metadata)
	}
	eventually(t, "the queue is empty", func() bool { return left(t, stream) == 0 })
}
