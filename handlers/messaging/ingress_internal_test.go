package messaging

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/storetest"
	"rollcall/handlers/access"
)

func TestACommandThatComesFasterThanTheStreamTakesThemIsRefusedAndThoseBeforeItAreNotLost(t *testing.T) {
	nc := storetest.Connect(t, storetest.RunServer(t))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := OpenCommands(t.Context(), js, 1, DefaultMaxWaiting); err != nil {
		t.Fatal(err)
	}
	producer := access.Principal{TokenID: "p", Role: access.Producer, App: "demo"}
	ingress, err := NewIngress(js.Conn(), js, IngressConfig{Identify: func(nats.Header) (access.Principal, error) { return producer, nil }})
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan *nats.Msg, maxTakenIn+1)
	if _, err := nc.ChanSubscribe("answers", answers); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Subscribe(ingressPrefix+"*.*", ingress.take); err != nil {
		t.Fatal(err)
	}
	stall(ingress.group, true) // as if a write took long
	for i := range maxTakenIn + 1 {
		m := &nats.Msg{Subject: ingressPrefix + "demo.edit", Reply: "answers", Data: []byte("{}"), Header: nats.Header{jetstream.MsgIDHeader: {fmt.Sprint(i)}}}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	first := <-answers
	stall(ingress.group, false)
	if a := pubAckOf(t, first); a.Error == nil || a.Error.Code != http.StatusTooManyRequests || a.Error.ErrorCode != jsTooManyRequests {
		t.Errorf("the one too many is answered %+v", a)
	}
	sequences := make(map[uint64]bool)
	for range maxTakenIn {
		if a := pubAckOf(t, <-answers); a.Error == nil {
			sequences[a.Sequence] = true
		}
	}
	stream, err := js.Stream(t.Context(), StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; len(sequences) != maxTakenIn || n != maxTakenIn {
		t.Errorf("%d commands were acknowledged, %d are in the stream, want %d", len(sequences), n, maxTakenIn)
	}
}

func pubAckOf(t *testing.T, m *nats.Msg) (a pubAck) {
	t.Helper()
	if err := json.Unmarshal(m.Data, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// stall keeps a group from sending, or lets it again.
func stall(g *group, stalled bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.batch = stalled
	g.dispatch()
}
