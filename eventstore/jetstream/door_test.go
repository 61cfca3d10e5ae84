package jetstream_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// newDoor starts a door to a deployment, which lets in whoever has the password "guest".
func newDoor(t *testing.T, d *storetest.Deployment, guest jetstream.Guest) *jetstream.Door {
	t.Helper()
	return openDoor(t, d, func(_, password string) (jetstream.Guest, bool) { return guest, password == "guest" })
}

// openDoor starts a door to a deployment.
func openDoor(t *testing.T, d *storetest.Deployment, hook jetstream.Authenticate) *jetstream.Door {
	t.Helper()
	door, err := jetstream.StartDoor(jetstream.DoorConfig{
		Logger:       slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Listen:       "127.0.0.1:0",
		Cluster:      jetstream.Cluster{URLs: d.LeafURLs(), User: "rollcall-door", Password: storetest.DoorPassword},
		Authenticate: hook,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := door.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := door.Accept(); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the door leads to the cluster", door.Led)
	return door
}

func clusterOf(d *storetest.Deployment) jetstream.Cluster {
	return jetstream.Cluster{URLs: d.URLs(), User: "rollcall", Password: storetest.Password}
}

func TestThroughADoorAGuestHearsWhatAClusterStoresAndIsAnsweredHere(t *testing.T) {
	d := storetest.RunDeployment(t)
	nc, err := clusterOf(d).Connect(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	door := newDoor(t, d, jetstream.Guest{
		Name: "someone", Hears: []string{"accounts.evt.shop.>"},
		Requests: []jetstream.Request{{From: "accounts.cmd.shop.create", To: "accounts.ingress.shop.create"}},
	})
	inside, err := door.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	// What a guest asks is answered by the process that let it in, though others would, too.
	for name, c := range map[string]*nats.Conn{"here": inside, "elsewhere": nc} {
		if _, err := c.QueueSubscribe("accounts.ingress.*.*", "rollcall", func(m *nats.Msg) { m.Respond([]byte(name)) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(nc.Flush(), inside.Flush()); err != nil {
		t.Fatal(err)
	}
	guest, err := nats.Connect(door.URL(), nats.Token("guest"))
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	storetest.Eventually(t, "the guest is counted", func() bool { return door.Clients() == 1 })
	heard, err := guest.SubscribeSync("accounts.evt.shop.>")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		m, err := guest.Request("accounts.cmd.shop.create", nil, storePatience)
		if err != nil || string(m.Data) != "here" {
			t.Fatalf("a command: %v, %v", m, err)
		}
	}
	storetest.Eventually(t, "an event is heard", func() bool {
		if err := nc.Publish("stored.accounts.evt.shop.u.a", []byte("event")); err != nil {
			t.Fatal(err)
		}
		m, err := heard.NextMsg(100 * time.Millisecond)
		return err == nil && m.Subject == "accounts.evt.shop.u.a" && string(m.Data) == "event"
	})
}

const storePatience = 10 * time.Second

func TestNobodyConnectsToADeploymentButRollcall(t *testing.T) {
	d := storetest.RunDeployment(t)
	for name, opts := range map[string][]nats.Option{
		"nobody":                  nil,
		"a wrong password":        {nats.UserInfo("rollcall", "wrong")},
		"a token":                 {nats.Token("guest")},
		"a door as a client":      {nats.UserInfo("rollcall-door", storetest.DoorPassword)},
		"the routes' credentials": {nats.UserInfo("route", "test-password-of-routes")},
	} {
		nc, err := nats.Connect(d.URL(), opts...)
		if err == nil || !strings.Contains(err.Error(), "uthoriz") && !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%s: %v, want a refusal", name, err)
			nc.Close()
		}
	}
	_, err := jetstream.Cluster{URLs: d.URLs(), User: "rollcall", Password: "wrong"}.Connect(t.Context(), slog.New(slog.DiscardHandler))
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("rollcall with a wrong password: %v, want %v", err, nats.ErrAuthorization)
	}
}

func TestTheServersOfADeploymentTellThatTheyWriteBeforeTheyAcknowledge(t *testing.T) {
	d := storetest.RunDeployment(t)
	nc, err := clusterOf(d).Connect(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	told, err := jetstream.AskDurability(t.Context(), nc)
	if err != nil || !slices.Equal(told.Asked, []string{"node1", "node2", "node3"}) || len(told.Late) > 0 {
		t.Errorf("the servers tell %+v (%v)", told, err)
	}
}

func TestALeafNodeOfADeploymentWritesNothing(t *testing.T) {
	d := storetest.RunDeployment(t)
	nc, err := clusterOf(d).Connect(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	store, err := jetstream.Open(t.Context(), nc, jetstream.Config{Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := newReading(t, nc, store, "")
	door := newDoor(t, d, jetstream.Guest{Name: "bob", Consumers: []string{"of-bob"}})
	inside := connectInside(t, door) // as one who has broken into the process's NATS side
	other := connectInside(t, newDoor(t, d, jetstream.Guest{}))
	heard := make(chan *nats.Msg, 100)
	for _, c := range []*nats.Conn{nc, other} {
		for _, subject := range []string{"accounts.>", "$SRV.PING"} {
			if _, err := c.ChanSubscribe(subject, heard); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, subject := range []string{"accounts.evt.shop.u.a", "accounts.cmd.shop.create", "$JS.API.STREAM.PURGE.ACCOUNTS", "$JS.API.STREAM.MSG.GET.KEYS", "$JS.API.CONSUMER.CREATE.ACCOUNTS", "$JS.API.INFO"} {
		if m, err := inside.Request(subject, nil, 300*time.Millisecond); err == nil {
			t.Errorf("%s is answered with %s", subject, m.Data)
		}
	}
	// It may read by consumers, but what it reads goes nowhere else.
	for _, lead := range append(leads, "accounts.ingress.shop.create") {
		if err := inside.PublishRequest("accounts.consumer.next.of-alice", lead, []byte(`{"batch":1,"no_wait":true}`)); err != nil {
			t.Fatal(err)
		}
	}
	bob, err := natsjs.New(storetest.Connect(t, door.URL(), nats.Token("guest")))
	if err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, bob, "of-bob", 3); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("bob reads %v", got)
	}
	// What is permitted comes through, after all that went before it.
	storetest.Eventually(t, "what may come through does", func() bool {
		if err := inside.Publish("$SRV.PING", nil); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-heard:
			if m.Subject != "$SRV.PING" {
				t.Errorf("%s has come through", m.Subject)
			}
			return m.Subject == "$SRV.PING"
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	if last, err := r.store.Last(t.Context()); err != nil || last != 3 {
		t.Errorf("the log ends at %d, %v, want 3", last, err)
	}
}

// connectInside connects as the process that has a door.
func connectInside(t *testing.T, door *jetstream.Door) *nats.Conn {
	t.Helper()
	nc, err := door.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestADoorSaysNothingInTheClearToAnAddressThatIsForTLS(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door, err := jetstream.StartDoor(jetstream.DoorConfig{
		Cluster: jetstream.Cluster{URLs: []string{"tls://" + listener.Addr().String()}, User: "door", Password: "secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(listener.Close(), door.Stop()); err != nil {
			t.Error(err)
		}
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Who answers in the place of the cluster says that no TLS is needed.
	if _, err := io.WriteString(conn, `INFO {"server_id":"X","server_name":"x","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576,"client_id":7,"leafnode_urls":["127.0.0.1:1"]}`+"\r\n"); err != nil {
		t.Fatal(err)
	}
	const handshake = 0x16 // https://www.rfc-editor.org/rfc/rfc8446#section-5.1
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil || first[0] != handshake {
		t.Errorf("it says %q (%v) before TLS", first, err)
	}
}
