package jetstream_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// everything is a hook that lets everybody do everything who knows the password.
func everything(user, password string) (jetstream.Permissions, bool) {
	all := jetstream.Subjects{Allow: []string{">"}}
	return jetstream.Permissions{Publish: all, Subscribe: all}, password == "secret"
}

// server is an embedded server with the log on it.
type server struct {
	*jetstream.Embedded
	nc    *nats.Conn // of the process itself
	store *jetstream.Store
	log   *lines
}

func startServer(t *testing.T, authenticate func(user, password string) (jetstream.Permissions, bool)) server {
	t.Helper()
	s := server{log: &lines{}}
	var err error
	s.Embedded, err = jetstream.StartEmbedded(jetstream.EmbeddedConfig{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Authenticate: authenticate,
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if s.nc, err = s.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nc.Close)
	if s.store, err = s.Open(t.Context(), s.nc, jetstream.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.store.Close)
	return s
}

func TestOnlyThoseWhomTheHookKnowsConnect(t *testing.T) {
	for name, hook := range map[string]func(string, string) (jetstream.Permissions, bool){"a hook": everything, "no hook": nil} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, hook)
			for _, opts := range [][]nats.Option{
				nil,
				{nats.UserInfo("rollcall", "")},
				{nats.UserInfo("bob", "wrong")},
				{nats.Token("wrong")},
			} {
				if nc, err := nats.Connect(s.URL(), opts...); !errors.Is(err, nats.ErrAuthorization) {
					t.Errorf("connected without a right: %v", err)
					nc.Close()
				}
			}
			for _, opt := range []nats.Option{nats.UserInfo("bob", "secret"), nats.Token("secret")} {
				nc, err := nats.Connect(s.URL(), opt)
				if (err == nil) != (hook != nil) {
					t.Errorf("connect with the password: %v", err)
				}
				nc.Close()
			}
			if log := s.log.String(); strings.Contains(log, "secret") || !strings.Contains(log, "level=INFO") {
				t.Errorf("the log has a secret or nothing:\n%s", log)
			}
		})
	}
}

func TestAHookThatGrantsNothingPermitsNothing(t *testing.T) {
	s := startServer(t, func(string, string) (jetstream.Permissions, bool) { return jetstream.Permissions{}, true })
	violations := make(chan error, 10)
	nc := storetest.Connect(t, s.URL(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	if err := nc.Publish("anything", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.SubscribeSync("anything"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-violations; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%v, want a permission violation", err)
		}
	}
}

func TestNobodyElseWritesIntoTheLogWhateverTheHookGrants(t *testing.T) {
	s := startServer(t, everything)
	ctx := t.Context()
	// A stream that others may write to, a responder with all rights and an event in the log.
	own, err := natsjs.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.CreateStream(ctx, natsjs.StreamConfig{Name: "COMMANDS", Subjects: []string{"accounts.cmd.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.nc.Subscribe("accounts.rpc.>", func(m *nats.Msg) {
		if err := m.Respond([]byte("answer")); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	id := eventstore.Account("app", "alice")
	if _, err := s.store.Append(ctx, eventstore.Proposal{Event: storetest.Event(id, "command")}); err != nil {
		t.Fatal(err)
	}

	const target = "accounts.evt.app.u.mallory"
	push := `{"stream_name":"COMMANDS","config":{"Deliver_Subject":"` + target + `","deliver_policy":"all","ack_policy":"none"}}`
	attempts := []struct{ name, subject, reply, payload string }{
		{"publish on the log", target, "", "{}"},
		{"publish on the keys", "accounts.key.app.u.mallory", "", "{}"},
		{"read a key", "$JS.API.DIRECT.GET.KEYS", "", `{"seq":1}`},
		{"read the keys", "$JS.API.CONSUMER.CREATE.KEYS.name", "", `{"stream_name":"KEYS","config":{}}`},
		{"delete the stream", "$JS.API.STREAM.DELETE.ACCOUNTS", "", ""},
		{"purge the stream", "$JS.API.STREAM.PURGE.ACCOUNTS", "", ""},
		{"delete an event", "$JS.API.STREAM.MSG.DELETE.ACCOUNTS", "", `{"seq":1}`},
		{"change the stream", "$JS.API.STREAM.UPDATE.ACCOUNTS", "", `{"name":"ACCOUNTS","subjects":["x"]}`},
		{"copy the stream onto the log", "$JS.API.STREAM.SNAPSHOT.ACCOUNTS", "", `{"deliver_subject":"` + target + `"}`},
		{"make a stream that publishes on the log", "$JS.API.STREAM.CREATE.X", "", `{"name":"X","subjects":["x"],"republish":{"src":"x","dest":"` + target + `"}}`},
		{"have an acknowledgement published on the log", "accounts.cmd.app.create", target, "{}"},
		{"have an answer published on the log", "accounts.rpc.app.get", target, "{}"},
		{"have an answer published on the API", "accounts.rpc.app.get", "$JS.API.STREAM.DELETE.ACCOUNTS", "{}"},
		{"have a stored message published on the log", "$JS.API.DIRECT.GET.ACCOUNTS", target, `{"seq":1}`},
		{"have a consumer publish on the log", "$JS.API.CONSUMER.CREATE.COMMANDS", "", push},
	}
	for _, a := range attempts {
		for _, withHeader := range []bool{false, true} {
			refused := make(chan error, 100)
			nc, err := nats.Connect(s.URL(), nats.Token("secret"), nats.NoReconnect(),
				nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }),
				nats.ClosedHandler(func(*nats.Conn) { refused <- nats.ErrConnectionClosed }))
			if err != nil {
				t.Fatal(err)
			}
			m := &nats.Msg{Subject: a.subject, Reply: a.reply, Data: []byte(a.payload)}
			if withHeader {
				m.Header = nats.Header{"X": {"y"}}
			}
			if err := nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !nc.IsClosed() {
				t.Errorf("%s: %v", a.name, err)
			}
			select {
			case <-refused:
			case <-time.After(10 * time.Second):
				t.Errorf("%s (header %t) was not refused", a.name, withHeader)
			}
			nc.Close()
		}
	}
	if last, err := s.store.Last(ctx); err != nil || last != 1 {
		t.Errorf("the log ends at %d, %v, want 1", last, err)
	}
	if err := s.store.Verify(ctx); err != nil {
		t.Error(err)
	}
}

func TestOthersReadTheLogThroughTheListener(t *testing.T) {
	s := startServer(t, everything)
	for i := range 100 {
		p := eventstore.Proposal{Event: storetest.Event(eventstore.Account("app", fmt.Sprintf("u%d", i)), "command")}
		if _, err := s.store.Append(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	js, err := natsjs.New(storetest.Connect(t, s.URL(), nats.Token("secret")))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(t.Context(), jetstream.DefaultStream, natsjs.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for i := range 100 {
		m, err := messages.Next(natsjs.NextContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := eventstore.Unmarshal(m.Data()); err != nil || e.Aggregate.Name != fmt.Sprintf("u%d", i) {
			t.Fatalf("event %d is %+v, %v", i, e, err)
		}
	}
}

func TestAFolderIsUsedByOneServerAtATime(t *testing.T) {
	dir := t.TempDir()
	first, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: dir})
	if !errors.Is(err, jetstream.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second start: %v, want ErrLocked that names the folder", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	again, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatalf("start after the stop: %v", err)
	}
	if err := again.Stop(); err != nil {
		t.Error(err)
	}
}

func TestAnAddressInUseIsRefusedAndReleasesTheFolder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	if _, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: dir, Listen: l.Addr().String()}); err == nil {
		t.Fatal("started on an address in use")
	}
	e, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatalf("start after the refusal: %v", err)
	}
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
}

func TestAStreamThatCouldLoseEventsIsRefused(t *testing.T) {
	nc := storetest.Connect(t, storetest.RunServer(t))
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), natsjs.StreamConfig{
		Name: jetstream.DefaultStream, Subjects: []string{eventstore.AllSubjects}, MaxAge: time.Hour, AllowDirect: true,
	}); err != nil {
		t.Fatal(err)
	}
	_, err = jetstream.Open(t.Context(), nc, jetstream.Config{})
	if !errors.Is(err, jetstream.ErrConfig) {
		t.Fatalf("open: %v, want ErrConfig", err)
	}
	for _, want := range []string{"max_age is 1h0m0s", "deny_delete is false", "allow_atomic is false"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say that %s: %v", want, err)
		}
	}
}
