package jetstream_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// outsider connects as a client that the hook everything knows. What the server refuses it
// comes through the channel.
func outsider(t *testing.T, s server) (*nats.Conn, <-chan error) {
	t.Helper()
	refused := make(chan error, 100)
	nc := storetest.Connect(t, s.URL(), nats.Token("secret"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	return nc, refused
}

// wantRefusal waits for the server to refuse something.
func wantRefusal(t *testing.T, refused <-chan error, what string) {
	t.Helper()
	select {
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v, want a permission violation", what, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: was not refused", what)
	}
}

func appendEvent(t *testing.T, s server, user string) {
	t.Helper()
	p := eventstore.Proposal{Event: storetest.Event(eventstore.Account("app", user), "command")}
	if _, err := s.store.Append(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func TestAHookThatGrantsNothingPermitsNothing(t *testing.T) {
	s := startServer(t, func(string, string) (jetstream.Guest, bool) { return jetstream.Guest{Name: "nobody"}, true })
	nc, refused := outsider(t, s)
	if err := nc.Publish("anything", nil); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, refused, "publish")
	if _, err := nc.SubscribeSync("anything"); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, refused, "subscribe")
}

func TestAGuestWithoutAProperNameIsNotLetIn(t *testing.T) {
	for _, name := range []string{"", "a.b", "a>", "a b", strings.Repeat("x", 65)} {
		s := startServer(t, func(string, string) (jetstream.Guest, bool) { return jetstream.Guest{Name: name}, true })
		if nc, err := nats.Connect(s.URL(), nats.Token("secret")); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("a guest with the name %q was let in: %v", name, err)
			nc.Close()
		}
	}
}

// target is a subject of the log that others try to write on.
const target = "accounts.evt.app.u.mallory"

// startTargets starts a server with an event in the log, a stream of commands that would
// acknowledge, and a responder with all rights that would answer.
func startTargets(t *testing.T) (server, natsjs.Stream) {
	t.Helper()
	s := startServer(t, everything)
	js, err := natsjs.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	commands, err := js.CreateStream(t.Context(), natsjs.StreamConfig{Name: "COMMANDS", Subjects: []string{"accounts.cmd.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.nc.Subscribe("elsewhere", func(m *nats.Msg) {
		t.Errorf("a message came through on %s", m.Subject)
		_ = m.Respond([]byte("answer"))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.nc.Subscribe("inside.rpc.>", func(m *nats.Msg) { _ = m.Respond([]byte("answer")) }); err != nil {
		t.Fatal(err)
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	appendEvent(t, s, "alice")
	return s, commands
}

// checkLog fails the test unless the log is as startTargets made it.
func checkLog(t *testing.T, s server) {
	t.Helper()
	if last, err := s.store.Last(t.Context()); err != nil || last != 1 {
		t.Errorf("the log ends at %d, %v, want 1", last, err)
	}
	if err := s.store.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// commandsOf returns how many messages the stream of commands has.
func commandsOf(t *testing.T, commands natsjs.Stream) uint64 {
	t.Helper()
	info, err := commands.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Consumers != 0 {
		t.Error("the stream of commands has a consumer")
	}
	return info.State.Msgs
}

func TestAGuestPublishesNothingBesidesItsRequests(t *testing.T) {
	s, commands := startTargets(t)
	nc, refused := outsider(t, s)
	push := `{"stream_name":"COMMANDS","config":{"deliver_subject":"` + target + `","ack_policy":"none"}}`
	attempts := []nats.Msg{
		{Subject: target},
		{Subject: target, Header: nats.Header{"Nats-Rollup": {"all"}}},
		{Subject: "accounts.key.01J"},
		{Subject: "$KV.tokens.operator"},
		{Subject: "elsewhere"},
		{Subject: "inside.rpc.app.get"},
		{Subject: "accounts.cmd.other.create"},
		{Subject: "accounts.cmd.app.create.x"},
		{Subject: "accounts.outcome.app.x"},
		{Subject: "_INBOX.x"},
		{Subject: "elsewhere", Reply: target},
		{Subject: "elsewhere", Header: nats.Header{"Nats-Trace-Dest": {target}}},
		{Subject: "accounts..cmd", Header: nats.Header{"Nats-Trace-Dest": {target}}},
		{Subject: "$JS.ACK.ACCOUNTS.c.1.1.1.1.1", Reply: target},
		{Subject: "$JS.API.INFO", Reply: target},
		{Subject: "$JS.API.DIRECT.GET.ACCOUNTS", Reply: target, Data: []byte(`{"seq":1}`)},
		{Subject: "$JS.API.CONSUMER.CREATE.COMMANDS", Data: []byte(push)},
		{Subject: "$JS.API.CONSUMER.CREATE.COMMANDS", Data: []byte(push + `{}`)},
		{Subject: "$JS.API.STREAM.DELETE.ACCOUNTS"},
		{Subject: "$JS.API.STREAM.PURGE.ACCOUNTS"},
		{Subject: "$JS.API.STREAM.MSG.DELETE.ACCOUNTS", Data: []byte(`{"seq":1}`)},
		{Subject: "$JS.API.STREAM.MSG.GET.ACCOUNTS", Data: []byte(`{"seq":1}`)},
		{Subject: "$JS.API.STREAM.UPDATE.ACCOUNTS", Data: []byte(`{"name":"ACCOUNTS","subjects":["x"]}`)},
		{Subject: "$JS.API.STREAM.SNAPSHOT.ACCOUNTS", Data: []byte(`{"deliver_subject":"` + target + `"}`)},
		{Subject: "$JS.API.STREAM.CREATE.X", Data: []byte(`{"name":"X","subjects":["x"],"republish":{"src":"x","dest":"` + target + `"}}`)},
		{Subject: "$SYS.REQ.SERVER.PING"},
	}
	for _, m := range attempts {
		for _, header := range []nats.Header{nil, {"X": {"y"}}} {
			if m.Header == nil {
				m.Header = header
			}
			if err := nc.PublishMsg(&m); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, refused, fmt.Sprintf("%s with reply %q and header %v", m.Subject, m.Reply, m.Header))
		}
	}
	checkLog(t, s)
	if n := commandsOf(t, commands); n != 0 {
		t.Errorf("%d commands have come through", n)
	}
}

// leads are subjects of the process and of other guests that an answer could be led onto.
var leads = []string{
	target, "accounts.cmd.app.delete", "accounts.cmd.other.create", "accounts.outcome.app.x", "accounts.key.01J",
	"$JS.API.STREAM.DELETE.ACCOUNTS", "$JS.API.STREAM.PURGE.ACCOUNTS", "$KV.tokens.operator", "elsewhere", "inside.rpc.app.x",
}

func TestNoAnswerIsLedOutOfTheAccountOfAGuest(t *testing.T) {
	s, commands := startTargets(t)
	mallory, _ := outsider(t, s)
	alice := storetest.Connect(t, s.URL(), nats.UserInfo("alice", "secret"))
	heard := make(chan *nats.Msg, 100)
	for _, subject := range []string{"accounts.evt.>", "accounts.outcome.app.>", "_INBOX.>"} {
		if _, err := alice.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := alice.Flush(); err != nil {
		t.Fatal(err)
	}
	inside := make(chan *nats.Msg, 10_000)
	if _, err := s.nc.ChanSubscribe(">", inside); err != nil {
		t.Fatal(err)
	}
	for _, lead := range leads {
		for _, trace := range []nats.Header{nil, {"Nats-Trace-Dest": {lead}}} {
			for _, subject := range []string{"accounts.cmd.app.create", "accounts.rpc.app.get"} {
				if err := mallory.PublishMsg(&nats.Msg{Subject: subject, Reply: lead, Header: trace}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// The server itself refuses a trace onto a subject that the client may not publish on.
	want := uint64(len(leads))
	storetest.Eventually(t, "all commands are in their stream", func() bool { return commandsOf(t, commands) >= want })
	for _, c := range []*nats.Conn{mallory, s.nc, mallory, alice} {
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	checkLog(t, s)
	if n := commandsOf(t, commands); n != want {
		t.Errorf("the stream of commands has %d messages, want the %d that were published", n, want)
	}
	if m, err := commands.GetLastMsgForSubject(t.Context(), "accounts.cmd.app.delete"); !errors.Is(err, natsjs.ErrMsgNotFound) {
		t.Errorf("an answer has become a command: %v, %v", m, err)
	}
	for len(heard) > 0 {
		m := <-heard
		t.Errorf("another guest heard %s: %q", m.Subject, m.Data)
	}
	for len(inside) > 0 {
		m := <-inside
		for _, lead := range leads {
			if m.Subject == lead {
				t.Errorf("the process heard %s: %q", m.Subject, m.Data)
			}
		}
	}
}

func TestReservedReplySubjectsAreRefused(t *testing.T) {
	s, commands := startTargets(t)
	for _, reply := range []string{"$JS.ACK.COMMANDS.c.1.1.1.1.1", "_R_.x", "_GR_.x.y.z"} {
		nc, refused := outsider(t, s)
		if err := nc.PublishMsg(&nats.Msg{Subject: "accounts.cmd.app.create", Reply: reply}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-refused:
		case <-time.After(10 * time.Second):
			t.Errorf("the reply %s was not refused", reply)
		}
	}
	checkLog(t, s)
	if n := commandsOf(t, commands); n != 0 {
		t.Errorf("%d commands have come through", n)
	}
}

func TestOddSpellingsOfTheProtocolLeadNowhere(t *testing.T) {
	s, _ := startTargets(t)
	for _, line := range []string{
		"PUB accounts.cmd.app.create " + target + " 2\r\n{}\r\n",
		"pub\taccounts.cmd.app.create\t" + target + "\t2\n{}\r\n",
		"PUB accounts.cmd.app.create " + target + "\r 2\r\n{}\r\n",
		"PUB accounts.cmd.app.create\r" + target + " 2\r\n{}\r\n",
		"PUB accounts.cmd.app.create \r" + target + " 2\r\n{}\r\n",
		"PUB accounts.cmd..create " + target + " 2\r\n{}\r\n",
		"HPUB accounts.cmd.app.create " + target + " 12 14\r\nNATS/1.0\r\n\r\n{}\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "nats://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "CONNECT {\"auth_token\":\"secret\",\"headers\":true}\r\n%sPING\r\n", line); err != nil {
			t.Fatal(err)
		}
		for answers := bufio.NewScanner(conn); answers.Scan() && answers.Text() != "PONG" && !strings.HasPrefix(answers.Text(), "-ERR"); {
		}
		conn.Close()
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	checkLog(t, s)
}

func TestGuestsHearTheLogThroughTheListener(t *testing.T) {
	s := startServer(t, everything)
	nc, _ := outsider(t, s)
	sub, err := nc.SubscribeSync(eventstore.AllSubjects)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		user := fmt.Sprintf("u%d", i)
		appendEvent(t, s, user)
		m, err := sub.NextMsgWithContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e, err := eventstore.Unmarshal(m.Data); err != nil || e.Aggregate.Name != user {
			t.Fatalf("event %d is %+v, %v", i, e, err)
		}
	}
}

func TestARequestIsAnsweredAndTellsWhoAsks(t *testing.T) {
	s := startServer(t, everything)
	account := make(chan string, 1)
	if _, err := s.nc.Subscribe("inside.rpc.app.get", func(m *nats.Msg) {
		var who struct {
			Account string `json:"acc"`
		}
		if err := json.Unmarshal([]byte(m.Header.Get("Nats-Request-Info")), &who); err != nil {
			t.Error(err)
		}
		account <- who.Account
		_ = m.Respond([]byte("answer"))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.nc.Subscribe("accounts.ask", func(m *nats.Msg) {
		for range 3 {
			_ = m.Respond([]byte("one of three"))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	nc := storetest.Connect(t, s.URL(), nats.UserInfo("alice", "secret"))
	forged := nats.Header{"Nats-Request-Info": {`{"acc":"GUEST_bob","user":"bob"}`}}
	m, err := nc.RequestMsg(&nats.Msg{Subject: "accounts.rpc.app.get", Header: forged}, 10*time.Second)
	if err != nil || string(m.Data) != "answer" {
		t.Fatalf("answered %v, %v", m, err)
	}
	if name, ok := jetstream.GuestOf(<-account); !ok || name != "alice" {
		t.Errorf("the process takes alice for %q", name)
	}
	inbox := nats.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("accounts.ask", inbox, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := answers.NextMsg(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := jetstream.GuestOf("$G"); ok {
		t.Error("the account of the process is taken for a guest's")
	}
}

func TestAGuestWhoIsThrownOutIsGoneAndTheOthersStay(t *testing.T) {
	var banned atomic.Bool
	s := startServer(t, func(user, password string) (jetstream.Guest, bool) {
		g, ok := everything(user, password)
		return g, ok && (user != "bob" || !banned.Load())
	})
	var bobs []*nats.Conn
	for range 3 {
		bobs = append(bobs, storetest.Connect(t, s.URL(), nats.UserInfo("bob", "secret"), nats.NoReconnect()))
	}
	alice := storetest.Connect(t, s.URL(), nats.UserInfo("alice", "secret"), nats.NoReconnect())
	banned.Store(true)
	for _, name := range []string{"bob", "nobody"} {
		if err := s.ThrowOut(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, nc := range bobs {
		storetest.Eventually(t, "bob is cut off", nc.IsClosed)
	}
	if err := alice.Flush(); err != nil {
		t.Errorf("alice is cut off too: %v", err)
	}
}

func TestGuestsHearNothingOfWhatGoesOnInside(t *testing.T) {
	s := startServer(t, everything)
	nc, refused := outsider(t, s)
	for _, subject := range []string{
		">", "*.>", "accounts.>", "accounts.*.*", "_ROLLCALL.>", "_ROLLCALL.*.*", "accounts.key.>", "accounts.key.*",
		"accounts.outcome.other.>", "$KV.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$SYS.>", "$SRV.>", "inside.rpc.>",
	} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, refused, "subscribe to "+subject)
	}
	heard := make(chan *nats.Msg, 10_000)
	for _, subject := range []string{"_INBOX.>", "_INBOX.*", "accounts.evt.>", "accounts.outcome.app.>"} {
		if _, err := nc.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.ChanQueueSubscribe(subject, "queue", heard); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	inside := make(chan *nats.Msg, 10_000)
	if _, err := s.nc.ChanSubscribe(">", inside); err != nil {
		t.Fatal(err)
	}

	workInside(t, s)
	for _, c := range []*nats.Conn{s.nc, nc} { // what was sent has been heard then
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	events := 0
	for len(heard) > 0 {
		m := <-heard
		if !strings.HasPrefix(m.Subject, "accounts.evt.") {
			t.Errorf("heard %s: %q", m.Subject, m.Data)
		}
		events++
	}
	seen := make(map[string]bool)
	for len(inside) > 0 {
		m := <-inside
		prefix, _, _ := strings.Cut(m.Subject, ".")
		seen[prefix] = true
	}
	if events == 0 || !seen["_ROLLCALL"] || !seen["$KV"] || seen["_INBOX"] {
		t.Errorf("outside %d events were heard, inside %v: the test has tested nothing, or answers come to a shared inbox", events, seen)
	}
}

// workInside does what the process does: it writes and reads a key block, a token and the log,
// and has a request answered.
func workInside(t *testing.T, s server) {
	t.Helper()
	ctx := t.Context()
	js, err := natsjs.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: "KEYS", Subjects: []string{"accounts.key.*"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "accounts.key.01J", []byte("a wrapped block")); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.GetLastMsgForSubject(ctx, "accounts.key.01J"); err != nil {
		t.Fatal(err)
	}
	consumer, err := keys.OrderedConsumer(ctx, natsjs.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := consumer.Next(); err != nil || string(m.Data()) != "a wrapped block" {
		t.Fatalf("consume the block: %v, %v", m, err)
	}
	tokens, err := js.CreateKeyValue(ctx, natsjs.KeyValueConfig{Bucket: "tokens"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.PutString(ctx, "id", "a hash"); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Get(ctx, "id"); err != nil {
		t.Fatal(err)
	}
	watcher, err := tokens.WatchAll(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-watcher.Updates(); string(e.Value()) != "a hash" {
		t.Fatalf("watched %v", e)
	}
	if err := watcher.Stop(); err != nil {
		t.Fatal(err)
	}
	appendEvent(t, s, "alice")
	for _, err := range s.store.Load(ctx, eventstore.Account("app", "alice")) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range s.store.Read(ctx, 1, 1) {
		if err != nil {
			t.Fatal(err)
		}
	}
}
