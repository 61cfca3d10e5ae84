package messaging_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/access"
	"rollcall/handlers/messaging"
)

func TestAConsumerIsMadeSoThatItGoesByItselfAndBoundsWhatIsAskedOfIt(t *testing.T) {
	p := newPlant(t, 0)
	name, last, err := messaging.NewLogConsumers(p.js, "ACCOUNTS").Open(t.Context(), "01T", "demo", messaging.ConsumerOrder{Name: "a"})
	must(t, err)
	end, err := p.store.Last(t.Context())
	must(t, err)
	if last != uint64(end) || !strings.HasPrefix(name, "audit-01T-") {
		t.Errorf("made %s at %d, the log ends at %d", name, last, end)
	}
	consumer, err := p.js.Consumer(t.Context(), "ACCOUNTS", name)
	must(t, err)
	c := consumer.CachedInfo().Config
	if c.DeliverSubject != "" || c.Durable != name || c.MemoryStorage || c.AckPolicy != jetstream.AckExplicitPolicy || c.InactiveThreshold <= 0 ||
		c.MaxAckPending <= 0 || c.MaxWaiting <= 0 || c.MaxRequestBatch <= 0 || c.MaxRequestExpires <= 0 {
		t.Errorf("it is made as %+v", c)
	}
	if len(c.FilterSubjects) != 1 && c.FilterSubject == "" || strings.Join(c.FilterSubjects, "")+c.FilterSubject != "accounts.evt.demo.>" {
		t.Errorf("it reads %v %s", c.FilterSubjects, c.FilterSubject)
	}
}

func TestReadersThatAreAskedForAtOnceAreAsManyAsATokenHas(t *testing.T) {
	p := newPlant(t, 0)
	consumers := messaging.NewLogConsumers(p.js, "ACCOUNTS")
	var mu sync.Mutex
	made := make(map[string]string) // reader by consumer
	var work sync.WaitGroup
	for i := range messaging.MaxConsumers {
		for range 3 { // each by several at once
			work.Go(func() {
				reader := fmt.Sprint("reader-", i)
				name, _, err := consumers.Open(t.Context(), "01T", "demo", messaging.ConsumerOrder{Name: reader})
				mu.Lock()
				defer mu.Unlock()
				if other, ok := made[name]; err != nil || ok && other != reader {
					t.Errorf("%s has %s, which %s has: %v", reader, name, other, err)
				}
				made[name] = reader
			})
		}
	}
	work.Wait()
	if len(made) != messaging.MaxConsumers {
		t.Errorf("they are %v", made)
	}
}

func TestRemovingTheConsumersOfATokenLeavesThoseOfOthers(t *testing.T) {
	p := newPlant(t, 0)
	consumers := messaging.NewLogConsumers(p.js, "ACCOUNTS")
	names := make(map[string]string)
	for _, token := range []string{"01T", "01U"} {
		name, _, err := consumers.Open(t.Context(), token, "demo", messaging.ConsumerOrder{Name: "a"})
		must(t, err)
		names[token] = name
	}
	for range 2 { // the second time there are none
		must(t, consumers.Remove(t.Context(), "01T"))
	}
	if _, err := p.js.Consumer(t.Context(), "ACCOUNTS", names["01T"]); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("the removed consumer: %v", err)
	}
	if _, err := p.js.Consumer(t.Context(), "ACCOUNTS", names["01U"]); err != nil {
		t.Error(err)
	}
}

// One who may command as well may name where commands go as the place for events. The server takes that for something that
// the guest publishes there, and it must be nothing that is done.
func TestAnEventThatIsLedOntoASubjectOfOnesOwnIsNoCommand(t *testing.T) {
	p := newPlant(t, 0)
	p.answer(t, p.commands)
	p.takeIn(t)
	p.work(t)
	nc, _ := p.guest(t, access.Admin, "demo")
	request(t, nc, "create", "", `{"user_id": "sora"}`)
	before, err := p.store.Last(t.Context())
	must(t, err)
	name := strings.TrimSuffix(strings.Split(string(request(t, nc, "consume", "", `{"name": "a"}`).Data), `"consumer":"`)[1], `"}`)
	for _, lead := range []string{"accounts.cmd.demo.create", "accounts.cmd.demo.delete", "accounts.rpc.demo.create", "accounts.rpc.demo.delete"} {
		for _, ask := range []string{"$JS.API.CONSUMER.MSG.NEXT.ACCOUNTS.", "$JS.API.CONSUMER.INFO.ACCOUNTS."} {
			must(t, nc.PublishMsg(&nats.Msg{Subject: ask + name, Reply: lead, Data: []byte(`{"batch":5,"no_wait":true}`)}))
		}
	}
	// What was asked before has been answered once this is.
	if a := request(t, nc, "get", "", `{"user_id": "sora"}`); a.Header.Get("Rollcall-Revision") == "" {
		t.Errorf("the account is %v %s", a.Header, a.Data)
	}
	eventually(t, "no command waits", func() bool { return len(p.waiting(t)) == 0 })
	if after, err := p.store.Last(t.Context()); err != nil || after != before {
		t.Errorf("the log went on from %d to %d: %v", before, after, err)
	}
}
