package messaging_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
	"rollcall/handlers/wire"
)

// outcome returns the outcome of a command.
func outcome(id string, status intake.Status) intake.Outcome {
	return intake.Outcome{App: "demo", CommandID: id, Verb: intake.Create, UserID: "sora", Status: status, Time: time.Now().UTC().Truncate(time.Millisecond)}
}

func openOutcomes(t *testing.T, js jetstream.JetStream, replicas int) *messaging.Outcomes {
	t.Helper()
	o, err := messaging.OpenOutcomes(t.Context(), js, replicas)
	must(t, err)
	t.Cleanup(o.Close)
	return o
}

func TestAnOutcomeIsReadAsItWasKept(t *testing.T) {
	o := openOutcomes(t, newNode(t).connect(t), 1)
	for _, id := range []string{"c1", "with.dots and*>%", strings.Repeat("x", 64)} {
		id = strings.ReplaceAll(id, " ", "/")
		want := outcome(id, intake.Accepted)
		want.Position, want.Revision, want.Changed, want.Actor = 9, 8, true, "orders/01P"
		want.Items = []intake.Item{{UserID: "a", Position: 9}, {UserID: "b", Code: domain.CodeAccountNotFound, Detail: "there is no account b"}}
		want.Fields = []domain.FieldError{{Field: "gender", Code: domain.CodeBadValue, Detail: "one of unknown, female, male"}}
		want.CausationID, want.CorrelationID, want.TraceParent = "cause", "story", trace
		must(t, o.Keep(t.Context(), want))
		if got, err := o.Load(t.Context(), "demo", id); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("kept\n%+v, read\n%+v: %v", want, got, err)
		}
	}
	if _, err := o.Load(t.Context(), "other", "c1"); !errors.Is(err, intake.ErrNoOutcome) {
		t.Errorf("of another application: %v", err)
	}
}

func TestAFinalOutcomeIsNeverReplacedAndADeadOneOnlyByAFinalOne(t *testing.T) {
	o := openOutcomes(t, newNode(t).connect(t), 1)
	for _, first := range []intake.Status{intake.Accepted, intake.Rejected, intake.Dead} {
		for _, second := range []intake.Status{intake.Accepted, intake.Rejected, intake.Dead} {
			id := fmt.Sprintf("%s-%s", first, second)
			must(t, o.Keep(t.Context(), outcome(id, first)))
			err := o.Keep(t.Context(), outcome(id, second))
			want := first
			if replaces := first == intake.Dead && second != intake.Dead; replaces {
				want = second
				must(t, err)
			} else if !errors.Is(err, intake.ErrDecided) {
				t.Errorf("%s after %s: %v, want %v", second, first, err, intake.ErrDecided)
			}
			if got, err := o.Load(t.Context(), "demo", id); err != nil || got.Status != want {
				t.Errorf("%s after %s makes %s: %v", second, first, got.Status, err)
			}
		}
	}
}

func TestAQuestionForAnOutcomeThatNobodyAnswersEnds(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	o := openOutcomes(t, n.connect(t), 1)
	n.stop()
	answered := make(chan error, 1)
	go func() {
		_, err := o.Load(context.WithoutCancel(t.Context()), "demo", "c1") // a handler has no deadline
		answered <- err
	}()
	select {
	case err := <-answered:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ends with %v, want %v", err, context.DeadlineExceeded)
		}
	case <-time.After(patience):
		t.Error("it does not end")
	}
}

// race keeps outcomes of the same commands by several keepers at once, each outcome with a detail of its own, and
// checks that each command has the one final outcome whose keeper was told that it was kept.
func race(t *testing.T, keepers []*messaging.Outcomes, commands int) {
	t.Helper()
	var won sync.Map // the detail, by command id
	var work sync.WaitGroup
	keep := func(k int, o intake.Outcome) {
		o.Detail = fmt.Sprintf("%s of keeper %d", o.Status, k)
		err := keepers[k%len(keepers)].Keep(t.Context(), o)
		switch {
		case err == nil && o.Status.Final():
			if other, again := won.LoadOrStore(o.CommandID, o.Detail); again {
				t.Errorf("command %s was decided as %q and as %q", o.CommandID, other, o.Detail)
			}
		case err != nil && !errors.Is(err, intake.ErrDecided):
			t.Errorf("command %s: %v", o.CommandID, err)
		}
	}
	for c := range commands {
		for k := range 2 * len(keepers) {
			for _, status := range []intake.Status{intake.Dead, intake.Accepted, intake.Rejected} {
				work.Go(func() { keep(k, outcome(fmt.Sprintf("c-%03d", c), status)) })
			}
		}
	}
	work.Wait()
	for c := range commands {
		id := fmt.Sprintf("c-%03d", c)
		want, _ := won.Load(id)
		for _, o := range keepers {
			if got, err := o.Load(t.Context(), "demo", id); err != nil || got.Detail != want {
				t.Errorf("command %s is %q, the one that was kept is %q: %v", id, got.Detail, want, err)
			}
		}
	}
}

func TestOfOutcomesThatAreKeptAtOnceOneStands(t *testing.T) {
	js := newNode(t).connect(t)
	race(t, []*messaging.Outcomes{openOutcomes(t, js, 1), openOutcomes(t, js, 1)}, 60)
}

func TestACommandIsDecidedOnceUnderItsIDHoweverOftenItIsSent(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	stop := p.work(t)
	one, _ := p.producer(t)
	two, _ := p.producer(t)
	for range 3 {
		for i := range 20 {
			m := order("create", fmt.Sprintf("c%d", i), fmt.Sprintf(`{"user_id": "user-%d"}`, i))
			send(t, one, m)
			send(t, two, m) // another sender, so that the ingress does not know it
		}
		stop()
		stop = p.work(t) // with nothing in memory
	}
	eventually(t, "nothing waits", func() bool { return len(p.waiting(t)) == 0 })
	for i := range 20 {
		o := p.decided(t, fmt.Sprintf("c%d", i))
		if n := len(p.events(t, fmt.Sprintf("user-%d", i))); o.Status != intake.Accepted || n != 1 {
			t.Errorf("command c%d is %s with %d events", i, o.Status, n)
		}
	}
	p.letters(t, 0)
}

func TestTheSameIDForAnotherCommandIsADeadLetterAndLeavesTheOutcome(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	p.work(t)
	js, _ := p.producer(t)
	send(t, js, order("create", "c1", `{"user_id": "sora"}`))
	send(t, js, order("create", "c1", `{"user_id": "haru"}`))
	d := p.letters(t, 1)[0]
	if d.Code != command.CodeCommandIDReused || !strings.Contains(string(d.Data), "haru") {
		t.Errorf("the dead letter is %+v", d)
	}
	if o := p.decided(t, "c1"); o.Status != intake.Accepted || o.UserID != "sora" || len(p.events(t, "haru")) > 0 {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestProducersHearOutcomesAndReadThemLater(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	p.work(t)
	nc, _ := p.guest(t, access.Producer, "demo")
	sub, err := nc.SubscribeSync("accounts.outcome.demo.>")
	must(t, err)
	must(t, nc.Flush())
	js, err := jetstream.New(nc)
	must(t, err)
	send(t, js, order("create", "c.1", `{"user_id": "sora"}`))
	m, err := sub.NextMsg(patience)
	must(t, err)
	var e wire.CloudEvent
	var o wire.Outcome
	must(t, json.Unmarshal(m.Data, &e))
	must(t, json.Unmarshal(e.Data, &o))
	if m.Subject != "accounts.outcome.demo.c%2E1" || e.SpecVersion != "1.0" || e.Type != "command.accepted.v1" || e.CommandID != "c.1" || o.Position == 0 || o.Status != intake.Accepted {
		t.Errorf("heard on %s: %s", m.Subject, m.Data)
	}
	later, err := nc.Request("$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo.c%2E1", nil, patience)
	if err != nil || string(later.Data) != string(m.Data) {
		t.Errorf("read later it is %s: %v", later.Data, err)
	}
}

// deaf connects as a client that subscribes to a subject and then reads nothing.
func deaf(t *testing.T, address, subject string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.(*net.TCPConn).SetReadBuffer(4<<10))
	_, err = fmt.Fprintf(c, "CONNECT {\"verbose\":false}\r\nSUB %s 1\r\nPING\r\n", subject)
	must(t, err)
	in := bufio.NewReader(c)
	for line := ""; line != "PONG\r\n"; {
		line, err = in.ReadString('\n')
		must(t, err)
	}
}

func TestAReaderOfOutcomesThatNeverReadsSlowsNobody(t *testing.T) {
	const n, size = 800, 16 << 10 // more than server and sockets keep for a client
	const slow = 5 * time.Second  // half of what a server may try to write to a client
	node := newNodeOf(t, func(o *server.Options) { o.MaxPending, o.NoFastProducerStall = 1<<20, true })
	o := openOutcomes(t, node.connect(t), 1)
	deaf(t, node.srv.Addr().String(), "stored.accounts.outcome.>")
	var heard atomic.Int32
	listener := node.connect(t).Conn()
	_, err := listener.Subscribe("stored.accounts.outcome.>", func(*nats.Msg) { heard.Add(1) })
	must(t, err)
	must(t, listener.Flush())

	var slowest time.Duration
	for i := range n {
		out := outcome(fmt.Sprintf("c-%d", i), intake.Rejected)
		out.Detail = strings.Repeat("x", size)
		start := time.Now()
		must(t, o.Keep(t.Context(), out))
		slowest = max(slowest, time.Since(start))
	}
	if slowest > slow {
		t.Errorf("an outcome took %v", slowest)
	}
	eventually(t, "another reader has heard all", func() bool { return heard.Load() == n })
	eventually(t, "who never reads is cut off", func() bool { return node.srv.NumSlowConsumers() == 1 })
}
