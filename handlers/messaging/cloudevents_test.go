package messaging_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/intake"
	"rollcall/handlers/wire"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// events returns the events of an account.
func (p *plant) events(t *testing.T, user string) (all []eventstore.Envelope) {
	t.Helper()
	for e, err := range p.store.Load(t.Context(), eventstore.Account("demo", user)) {
		must(t, err)
		all = append(all, e)
	}
	return all
}

func TestWhatIsAroundACommandGoesThroughIntoItsEventAndItsOutcome(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	p.work(t)
	nc, _ := p.guest(t, access.Auditor, "demo")
	heard, err := nc.SubscribeSync("accounts.evt.demo.>")
	must(t, err)
	must(t, nc.Flush())
	js, token := p.producer(t)
	structured := func(id, data string) string {
		return fmt.Sprintf(`{"specversion": "1.0", "id": "%s", "source": "/shop", "type": "account.create.v1", "causationid": "cause", "correlationid": "story", "traceparent": "%s", "data": %s}`, id, trace, data)
	}
	around := []string{"traceparent", trace, "ce-causationid", "cause", "ce-correlationid", "story"}
	for what, m := range map[string]*nats.Msg{
		"bare":                  order("create", "bare", `{"user_id": "bare"}`, around...),
		"binary":                order("create", "", `{"user_id": "binary"}`, append(around, "ce-specversion", "1.0", "ce-id", "binary", "ce-type", "account.create.v1", "ce-source", "/shop", "Content-Type", "application/json")...),
		"binary-capitals":       order("create", "", `{"user_id": "binary-capitals"}`, "Traceparent", trace, "CE-CausationId", "cause", "Ce-Correlationid", "story", "Ce-Id", "binary-capitals"),
		"binary-trace":          order("create", "binary-trace", `{"user_id": "binary-trace"}`, "ce-traceparent", trace, "ce-causationid", "cause", "ce-correlationid", "story"),
		"structured":            order("create", "", structured("structured", `{"user_id": "structured"}`), "Content-Type", "application/cloudevents+json; charset=utf-8"),
		"structured-undeclared": order("create", "", structured("structured-undeclared", `{"user_id": "structured-undeclared"}`)),
		"structured-msg-id":     order("create", "structured-msg-id", structured("another", `{"user_id": "structured-msg-id"}`), "Content-Type", "application/cloudevents+json"),
	} {
		t.Run(what, func(t *testing.T) {
			send(t, js, m)
			o := p.decided(t, what)
			if o.Status != intake.Accepted || o.CausationID != "cause" || o.CorrelationID != "story" || o.TraceParent != trace {
				t.Errorf("the outcome is %+v", o)
			}
			all := p.events(t, what)
			if len(all) != 1 {
				t.Fatalf("there are %d events", len(all))
			}
			e := all[0]
			if e.CommandID != what || e.CausationID != "cause" || e.CorrelationID != "story" || e.TraceParent != trace || e.Actor != "guest/"+token.ID {
				t.Errorf("the event is %+v", e)
			}
			got, err := heard.NextMsg(patience)
			must(t, err)
			var c wire.CloudEvent
			if err := json.Unmarshal(got.Data, &c); err != nil || c.CommandID != what || c.TraceParent != trace || c.CausationID != "cause" || c.CorrelationID != "story" {
				t.Errorf("an auditor hears %s: %v", got.Data, err)
			}
		})
	}
}

func TestATraceThatIsNoneIsLeftOutAndTheCommandDecided(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	p.work(t)
	js, _ := p.producer(t)
	send(t, js, order("create", "c1", `{"user_id": "sora"}`, "traceparent", "00-zz-zz-00"))
	if o := p.decided(t, "c1"); o.Status != intake.Accepted || o.TraceParent != "" || p.events(t, "sora")[0].TraceParent != "" {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestATextThatSpeaksOfCloudEventsIsNoCloudEvent(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	p.work(t)
	js, _ := p.producer(t)
	send(t, js, order("create", "c1", `{"user_id": "sora", "self_signature": "I like \"specversion\""}`))
	send(t, js, order("edit", "c2", `{"user_id": "sora", "nickname": "\"specversion\""}`))
	for _, id := range []string{"c1", "c2"} {
		if o := p.decided(t, id); o.Status != intake.Accepted {
			t.Errorf("the outcome is %+v", o)
		}
	}
}
