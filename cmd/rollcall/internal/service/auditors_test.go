package service_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore/storetest"
)

// delivered is an event as a consumer delivers it.
type delivered struct {
	position uint64
	data     []byte
	whole    string // with its subject and headers
}

// consume asks for a consumer of the application demo and returns it as the client library finds it.
func consume(t *testing.T, nc *nats.Conn, order string) natsjs.Consumer {
	t.Helper()
	var made struct{ Stream, Consumer string }
	m := ask(t, nc, order)
	if err := json.Unmarshal(m.Data, &made); err != nil || made.Consumer == "" {
		t.Fatalf("%s is answered with %v %s: %v", order, m.Header, m.Data, err)
	}
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), made.Stream, made.Consumer)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

func ask(t *testing.T, nc *nats.Conn, order string) *nats.Msg {
	t.Helper()
	m, err := nc.Request("accounts.rpc.demo.consume", []byte(order), patience)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fetch reads as many events, and acknowledges them up to a number.
func fetch(t *testing.T, consumer natsjs.Consumer, n, acknowledged int) (all []delivered) {
	t.Helper()
	batch, err := consumer.Fetch(n, natsjs.FetchMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, delivered{meta.Sequence.Stream, m.Data(), fmt.Sprint(m.Subject(), m.Headers())})
		if len(all) <= acknowledged {
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := batch.Error(); err != nil || len(all) != n {
		t.Fatalf("read %d events of %d: %v", len(all), n, err)
	}
	return all
}

func positionsOf(all []delivered) (positions []uint64) {
	for _, e := range all {
		positions = append(positions, e.position)
	}
	return positions
}

// secretNames are what people call themselves; none is for an auditor to read.
var secretNames = []string{"김민준", "관리자", "李娜", "마리암"}

// writeHistory creates, edits and deletes accounts of two applications, and returns the events of demo as the service itself tells them.
func writeHistory(t *testing.T, c *client.Client) (events []client.LoggedEvent) {
	t.Helper()
	for i, name := range secretNames {
		for _, app := range []string{"demo", "other"} {
			user := fmt.Sprintf("u%d", i)
			_, err := c.CreateAccount(t.Context(), app, map[string]any{"user_id": user, "type": "normal", "nickname": name})
			if err == nil {
				_, err = c.EditAccount(t.Context(), app, user, map[string]any{"self_signature": name + "!"}, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.DeleteAccount(t.Context(), "demo", "u0"); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the account is erased", func() bool {
		events = nil
		for e, err := range c.Events(t.Context(), "demo", client.EventQuery{}) {
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
		return bytes.Contains(events[len(events)-1].Line, []byte("account.erased"))
	})
	return events
}

func TestAnAuditorReadsTheLogByConsumersOfItsOwn(t *testing.T) {
	t.Parallel()
	inEachShape(t, checkAuditors)
}

func checkAuditors(t *testing.T, s *service.Service) {
	write(t, s, "demo")
	write(t, s, "other")
	c := api(t, s)
	secrets := tokensOf(t, s)
	events := writeHistory(t, c)
	want := make([]uint64, len(events))
	for i, e := range events {
		want[i] = e.Position
	}
	t.Run("as they are stored", func(t *testing.T) {
		for _, role := range []string{"auditor", "admin", "operator"} {
			got := fetch(t, consume(t, guest(t, s, secrets[role]), `{"name": "all"}`), len(events), len(events))
			if !slices.Equal(positionsOf(got), want) {
				t.Errorf("%s reads the positions %v, want %v", role, positionsOf(got), want)
			}
			for i, e := range got {
				if !bytes.HasSuffix(events[i].Line, e.data[1:]) {
					t.Errorf("position %d is\n%s, in the log\n%s", e.position, e.data, events[i].Line)
				}
				for _, name := range secretNames {
					if strings.Contains(e.whole+string(e.data), name) {
						t.Errorf("position %d tells %s: %s %s", e.position, name, e.whole, e.data)
					}
				}
			}
		}
	})
	t.Run("from where they are to begin", func(t *testing.T) { checkFrom(t, s, secrets["auditor"], want) })
	t.Run("on where they were", func(t *testing.T) { checkResumed(t, s, secrets["admin"], want) })
	t.Run("as they are written", func(t *testing.T) { checkFollowed(t, s, c, secrets["admin"], want) })
	t.Run("and refuses others", func(t *testing.T) { checkOrders(t, s, secrets) })
	t.Run("and those of nobody else", func(t *testing.T) { checkStrangers(t, s, c, secrets) })
	t.Run("until the token is revoked", func(t *testing.T) { checkEnd(t, s, c) })
}

// checkFrom reads from a position, and the events of one account. They take the places of a reader that is forgotten.
func checkFrom(t *testing.T, s *service.Service, secret string, want []uint64) {
	nc := guest(t, s, secret)
	from := want[3]
	if got := positionsOf(fetch(t, consume(t, nc, fmt.Sprintf(`{"name": "all", "from": %d, "anew": true}`, from)), len(want)-3, 0)); !slices.Equal(got, want[3:]) {
		t.Errorf("from position %d it reads %v", from, got)
	}
	one := fetch(t, consume(t, nc, `{"name": "one", "user_id": "u0", "from": "2020-01-01T00:00:00Z"}`), 4, 0)
	for i, kind := range []string{"account.created", "account.edited", "account.deleted", "account.erased"} {
		if !bytes.Contains(one[i].data, []byte(kind)) {
			t.Errorf("event %d of the account is %s, want %s", i, one[i].data, kind)
		}
	}
}

// checkResumed leaves events unacknowledged, and a question that waits, and connects anew.
func checkResumed(t *testing.T, s *service.Service, secret string, want []uint64) {
	first := guest(t, s, secret)
	const acknowledged = 4
	reader := consume(t, first, `{"name": "resumed"}`)
	fetch(t, reader, acknowledged+3, acknowledged)
	waiting, err := reader.Messages(natsjs.PullMaxMessages(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := waiting.Next(); err != nil {
		t.Fatal(err)
	}
	first.Close()
	for range 2 { // of those who ask at once, or one after the other, the last reads
		second := guest(t, s, secret)
		reader = consume(t, second, `{"name": "resumed"}`)
	}
	if got := positionsOf(fetch(t, reader, len(want)-acknowledged, len(want))); !slices.Equal(got, want[acknowledged:]) {
		t.Errorf("after a break it reads %v, want %v", got, want[acknowledged:])
	}
	info, err := reader.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again := consume(t, guest(t, s, secret), `{"name": "resumed"}`); again.CachedInfo().Name != info.Name {
		t.Errorf("one who has acknowledged everything goes on by %s, not %s", again.CachedInfo().Name, info.Name)
	}
}

// checkFollowed hears what is written meanwhile, by the library's own loop.
func checkFollowed(t *testing.T, s *service.Service, c *client.Client, secret string, want []uint64) {
	heard := make(chan uint64, 100)
	reader := consume(t, guest(t, s, secret), fmt.Sprintf(`{"name": "followed", "from": %d}`, want[len(want)-1]))
	loop, err := reader.Consume(func(m natsjs.Msg) {
		meta, err := m.Metadata()
		if err = errors.Join(err, m.Ack()); err != nil {
			t.Error(err)
			return
		}
		heard <- meta.Sequence.Stream
	})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Stop()
	next := func(want uint64) {
		t.Helper()
		select {
		case at := <-heard:
			if at != want {
				t.Errorf("it hears of %d, written was %d", at, want)
			}
		case <-time.After(patience):
			t.Fatalf("it does not hear of %d", want)
		}
	}
	next(want[len(want)-1])
	for i := range 3 {
		a, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": fmt.Sprintf("new%d", i), "type": "normal"})
		if err != nil {
			t.Fatal(err)
		}
		next(a.Revision)
	}
}

// checkOrders asks for what is not to be had.
func checkOrders(t *testing.T, s *service.Service, secrets map[string]string) {
	nc := guest(t, s, secrets["auditor"]) // which has the readers all and one
	consume(t, nc, `{"name": "third"}`)
	for order, code := range map[string]string{
		`{"name": "fourth"}`:                               "consumer_limit_reached",
		`{"name": "one"}`:                                  "consumer_exists",
		`{"name": "third", "from": 2}`:                     "consumer_exists",
		`{"name": "third", "user_id": "u1"}`:               "consumer_exists",
		`{"name": "third", "from": 1000000, "anew": true}`: "position_ahead",
		`{}`:                                                     "validation_failed",
		`{"name": "a.b"}`:                                        "validation_failed",
		`{"name": "third", "user_id": "*"}`:                      "consumer_exists", // of an account that is called so
		`{"name": "third", "user_id": "a b"}`:                    "validation_failed",
		`{"name": "third", "from": 0}`:                           "validation_failed",
		`{"name": "third", "from": "yesterday"}`:                 "validation_failed",
		`{"name": "third", "from": ["1"]}`:                       "validation_failed",
		`{"name": "third", "anew": 1}`:                           "validation_failed",
		`{"name": "third", "deliver_subject": "accounts.evt.x"}`: "validation_failed",
		`{`: "malformed_body",
	} {
		if m := ask(t, nc, order); m.Header.Get("Rollcall-Error-Code") != code {
			t.Errorf("%s is answered with %v %s, want %s", order, m.Header, m.Data, code)
		}
	}
	everywhere := guest(t, s, secrets["operator"])
	m, err := everywhere.Request("accounts.rpc.*.consume", []byte(`{"name": "every"}`), patience)
	if err != nil || m.Header.Get("Rollcall-Error-Code") != "app_not_found" {
		t.Errorf("a consumer of all applications is answered with %v: %v", m, err)
	}
	reader := consume(t, nc, `{"name": "third"}`)
	batch, err := reader.Fetch(1, natsjs.FetchMaxWait(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for range batch.Messages() {
		t.Error("a question may wait for longer than the server remembers who has asked")
	}
}

// checkStrangers tries to read by the consumer of an auditor.
func checkStrangers(t *testing.T, s *service.Service, c *client.Client, secrets map[string]string) {
	name := consume(t, guest(t, s, secrets["auditor"]), `{"name": "third"}`).CachedInfo().Name
	colleague, err := c.CreateToken(t.Context(), "colleague", "auditor", "demo")
	if err != nil {
		t.Fatal(err)
	}
	strangers := map[string]string{"colleague": colleague.Secret}
	for role, secret := range secrets {
		if role != "auditor" {
			strangers[role] = secret
		}
	}
	for who, secret := range strangers {
		for _, subject := range []string{"$JS.API.CONSUMER.INFO.ACCOUNTS." + name, "$JS.API.CONSUMER.MSG.NEXT.ACCOUNTS." + name, "$JS.ACK.ACCOUNTS." + name + ".1.1.1.1.1"} {
			if allowed(t, s.NATSURL(), secret, func(nc *nats.Conn) error { return nc.Publish(subject, nil) }) {
				t.Errorf("%s may publish on %s", who, subject)
			}
		}
	}
	for _, role := range []string{"producer", "viewer", "exporter"} {
		if allowed(t, s.NATSURL(), secrets[role], func(nc *nats.Conn) error { return nc.Publish("accounts.rpc.demo.consume", []byte(`{"name": "x"}`)) }) {
			t.Errorf("a token with the role %s may ask for a consumer", role)
		}
	}
	abroad, err := c.CreateToken(t.Context(), "abroad", "auditor", "other")
	if err != nil {
		t.Fatal(err)
	}
	if allowed(t, s.NATSURL(), abroad.Secret, func(nc *nats.Conn) error { return nc.Publish("accounts.rpc.demo.consume", []byte(`{"name": "x"}`)) }) {
		t.Error("an auditor of another application may ask for a consumer of this one")
	}
}

// checkEnd revokes the token of an auditor who reads.
func checkEnd(t *testing.T, s *service.Service, c *client.Client) {
	token, err := c.CreateToken(t.Context(), "leaves", "auditor", "demo")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.NATSURL(), nats.Token(token.Secret), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	loop, err := consume(t, nc, `{"name": "leaves"}`).Consume(func(m natsjs.Msg) { _ = m.Ack() })
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Stop()
	if err := c.RevokeToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the auditor is cut off", nc.IsClosed)
}
