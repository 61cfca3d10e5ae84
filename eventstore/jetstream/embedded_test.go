package jetstream_test

import (
	"errors"
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

// everything is a hook that lets in everybody who knows the password, as the guest of the user's name.
func everything(user, password string) (jetstream.Guest, bool) {
	if user == "" {
		user = "token"
	}
	return jetstream.Guest{
		Name: user,
		Requests: []jetstream.Request{
			{From: "accounts.cmd.app.create"},
			{From: "accounts.rpc.*.*", To: "inside.rpc.*.*"},
			{From: "accounts.ask", Many: true},
		},
		Hears: []string{"accounts.evt.>", "accounts.outcome.app.>"},
	}, password == "secret"
}

// server is an embedded server with the log on it.
type server struct {
	*jetstream.Embedded
	nc    *nats.Conn // of the process itself
	store *jetstream.Store
	log   *lines
}

func startServer(t *testing.T, authenticate jetstream.Authenticate) server {
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
	if err := s.Accept(); err != nil {
		t.Fatal(err)
	}
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
	for name, hook := range map[string]jetstream.Authenticate{"a hook": everything, "no hook": nil} {
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
			if log := s.log.String(); strings.Contains(log, "secret") || strings.Contains(log, "level=INFO") || !strings.Contains(log, "level=DEBUG") {
				t.Errorf("the log has a secret, or what the server tells in its ordinary work is not for debugging:\n%s", log)
			}
		})
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

func TestAnAddressThatCannotBeListenedOnIsRefusedAndReleasesTheFolder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	for _, listen := range []string{l.Addr().String(), "127.0.0.1:no-such-port", "127.0.0.1"} {
		e, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: dir, Listen: listen})
		if err == nil {
			err = e.Accept()
			if serr := e.Stop(); serr != nil {
				t.Fatal(serr)
			}
		}
		if err == nil || !strings.Contains(err.Error(), listen) {
			t.Fatalf("start on %s: %v, want an error that names the address", listen, err)
		}
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
		Name: jetstream.DefaultStream, Subjects: []string{eventstore.AllSubjects}, MaxAge: time.Hour, MaxMsgSize: 100, AllowDirect: true,
	}); err != nil {
		t.Fatal(err)
	}
	_, err = jetstream.Open(t.Context(), nc, jetstream.Config{})
	if !errors.Is(err, jetstream.ErrConfig) {
		t.Fatalf("open: %v, want ErrConfig", err)
	}
	for _, want := range []string{"max_age is 1h0m0s", "max_msg_size is 100", "deny_delete is false", "allow_atomic is false"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say that %s: %v", want, err)
		}
	}
}
