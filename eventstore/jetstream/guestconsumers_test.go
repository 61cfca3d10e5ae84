package jetstream_test

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// reading is a log with consumers of two guests, alice and bob, who come in by an address.
type reading struct {
	inside natsjs.JetStream // where the log is
	store  *jetstream.Store
	url    string
}

func reader(user, password string) (jetstream.Guest, bool) {
	return jetstream.Guest{Name: user, Consumers: []string{"of-" + user, "none-of-" + user}}, password == "secret"
}

// readings are how a log may be read: where it is in the process, and where a door leads to it.
var readings = map[string]func(*testing.T) reading{
	"embedded": func(t *testing.T) reading {
		s := startServer(t, reader)
		return newReading(t, s.nc, s.store, s.URL())
	},
	"cluster": func(t *testing.T) reading {
		d := storetest.RunDeployment(t)
		nc, err := clusterOf(d).Connect(t.Context(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		store, err := jetstream.Open(t.Context(), nc, jetstream.Config{Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		return newReading(t, nc, store, openDoor(t, d, reader).URL())
	},
}

func newReading(t *testing.T, nc *nats.Conn, store *jetstream.Store, url string) reading {
	t.Helper()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	r := reading{inside: js, store: store, url: url}
	for _, user := range []string{"a", "b", "c"} {
		r.append(t, user)
	}
	for _, guest := range []string{"alice", "bob"} {
		_, err := js.CreateConsumer(t.Context(), jetstream.DefaultStream, natsjs.ConsumerConfig{Durable: "of-" + guest, AckPolicy: natsjs.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r reading) append(t *testing.T, user string) {
	t.Helper()
	appendEvent(t, server{store: r.store}, user)
}

// inEachReading runs a check in each shape.
func inEachReading(t *testing.T, check func(*testing.T, reading)) {
	t.Helper()
	for name, start := range readings {
		t.Run(name, func(t *testing.T) { check(t, start(t)) })
	}
}

// connect connects as a guest. What the server refuses it comes through the channel.
func (r reading) connect(t *testing.T, guest string) (natsjs.JetStream, <-chan error) {
	t.Helper()
	refused := make(chan error, 100)
	nc := storetest.Connect(t, r.url, nats.UserInfo(guest, "secret"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js, refused
}

// fetch reads events with the client's own means and acknowledges them, and returns their positions.
func fetch(t *testing.T, js natsjs.JetStream, consumer string, n int) (positions []uint64) {
	t.Helper()
	c, err := js.Consumer(t.Context(), jetstream.DefaultStream, consumer)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(n, natsjs.FetchMaxWait(storePatience))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if e, err := eventstore.Unmarshal(m.Data()); err != nil || e.Aggregate.Subject() != m.Subject() {
			t.Errorf("position %d on %s is %+v: %v", meta.Sequence.Stream, m.Subject(), e, err)
		}
		positions = append(positions, meta.Sequence.Stream)
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := batch.Error(); err != nil {
		t.Error(err)
	}
	return positions
}

func TestAGuestReadsByItsConsumerAndByNoOther(t *testing.T) {
	inEachReading(t, func(t *testing.T, r reading) {
		alice, refused := r.connect(t, "alice")
		if got := fetch(t, alice, "of-alice", 2); !slices.Equal(got, []uint64{1, 2}) {
			t.Errorf("alice reads %v", got)
		}
		if got := fetch(t, alice, "of-alice", 1); !slices.Equal(got, []uint64{3}) {
			t.Errorf("then she reads %v", got)
		}
		for _, subject := range []string{
			"$JS.API.CONSUMER.INFO.ACCOUNTS.of-bob", "$JS.API.CONSUMER.MSG.NEXT.ACCOUNTS.of-bob", "$JS.ACK.ACCOUNTS.of-bob.1.1.1.1.1", "$JS.ACK.ACCOUNTS.of-alice.1.1.1.1",
			"$JS.API.CONSUMER.INFO.COMMANDS.of-alice", "$JS.API.CONSUMER.MSG.NEXT.KEYS.of-alice", "$JS.API.CONSUMER.MSG.NEXT.ACCOUNTS.*",
			"$JS.API.CONSUMER.CREATE.ACCOUNTS.of-alice", "$JS.API.CONSUMER.CREATE.ACCOUNTS", "$JS.API.CONSUMER.DURABLE.CREATE.ACCOUNTS.of-alice", "$JS.API.CONSUMER.DELETE.ACCOUNTS.of-alice",
			"$JS.API.CONSUMER.RESET.ACCOUNTS.of-alice", "$JS.API.CONSUMER.PAUSE.ACCOUNTS.of-alice", "$JS.API.CONSUMER.UNPIN.ACCOUNTS.of-alice", "$JS.API.CONSUMER.LEADER.STEPDOWN.ACCOUNTS.of-alice",
			"$JS.API.CONSUMER.NAMES.ACCOUNTS", "$JS.API.CONSUMER.LIST.ACCOUNTS", "$JS.API.STREAM.INFO.ACCOUNTS", "$JS.API.DIRECT.GET.ACCOUNTS.accounts.evt.app.u.a",
			"accounts.consumer.next.of-alice", "accounts.consumer.next.of-bob", "accounts.consumer.ack.of-bob.1.1.1.1.1",
		} {
			if err := alice.Conn().Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, refused, "publish on "+subject)
		}
		bob, _ := r.connect(t, "bob")
		if got := fetch(t, bob, "of-bob", 3); !slices.Equal(got, []uint64{1, 2, 3}) {
			t.Errorf("bob reads %v", got)
		}
	})
}

func TestNoEventIsLedOutOfTheAccountOfAGuest(t *testing.T) {
	inEachReading(t, func(t *testing.T, r reading) {
		all := append([]string{"stored.accounts.evt.app.u.x", "accounts.ingress.app.create", "accounts.cmd.app.create", "accounts.consumer.next.of-bob"}, leads...)
		mallory, _ := r.connect(t, "alice")
		bob, _ := r.connect(t, "bob")
		if _, err := r.inside.CreateStream(t.Context(), natsjs.StreamConfig{Name: "COMMANDS", Subjects: []string{"accounts.cmd.>", "accounts.ingress.>"}}); err != nil {
			t.Fatal(err)
		}
		heard := make(chan *nats.Msg, 10_000)
		for where, nc := range map[string]*nats.Conn{">": r.inside.Conn(), "_INBOX.>": bob.Conn()} {
			if _, err := nc.ChanSubscribe(where, heard); err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		victim := bob.Conn().NewInbox()
		for _, lead := range append(all, victim) {
			for _, trace := range []nats.Header{nil, {"Nats-Trace-Dest": {lead}}} {
				for _, ask := range []nats.Msg{
					{Subject: "$JS.API.CONSUMER.MSG.NEXT.ACCOUNTS.of-alice", Data: []byte(`{"batch":2,"no_wait":true}`)},
					{Subject: "$JS.API.CONSUMER.MSG.NEXT.ACCOUNTS.of-alice", Data: []byte(`{"batch":2,"expires":50000000}`)},
					{Subject: "$JS.API.CONSUMER.MSG.NEXT.ACCOUNTS.of-alice", Data: []byte(`{"batch":0,"x`)}, // answered with an error
					{Subject: "$JS.API.CONSUMER.MSG.NEXT.ACCOUNTS.none-of-alice", Data: []byte("1")},
					{Subject: "$JS.API.CONSUMER.INFO.ACCOUNTS.of-alice"},
					{Subject: "$JS.ACK.ACCOUNTS.of-alice.1.1.1.1.1", Data: []byte("+NXT")},
					{Subject: "$JS.ACK.ACCOUNTS.of-alice.1.99.99.1.1", Data: []byte("+ACK")},
				} {
					ask.Reply, ask.Header = lead, trace
					if err := mallory.Conn().PublishMsg(&ask); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		// What was asked before has been answered once this is: the server takes it in turn.
		if _, err := mallory.Consumer(t.Context(), jetstream.DefaultStream, "of-alice"); err != nil {
			t.Fatal(err)
		}
		r.append(t, "d") // somebody who waits would get it
		for _, nc := range []*nats.Conn{r.inside.Conn(), bob.Conn()} {
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if last, err := r.store.Last(t.Context()); err != nil || last != 4 {
			t.Errorf("the log ends at %d, %v, want 4", last, err)
		}
		if err := r.store.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		if s, err := r.inside.Stream(t.Context(), "COMMANDS"); err != nil || s.CachedInfo().State.LastSeq != 0 {
			t.Errorf("the stream of commands has %+v, %v", s.CachedInfo().State, err)
		}
		for len(heard) > 0 {
			m := <-heard
			if m.Sub.Subject == "_INBOX.>" || slices.Contains(all, m.Subject) && m.Subject != "stored.accounts.evt.app.u.d" {
				t.Errorf("heard %s: %q", m.Subject, m.Data)
			}
		}
	})
}

func TestWhatAGuestLeftUnacknowledgedIsNotLost(t *testing.T) {
	inEachReading(t, func(t *testing.T, r reading) {
		js, _ := r.connect(t, "alice")
		c, err := js.Consumer(t.Context(), jetstream.DefaultStream, "of-alice")
		if err != nil {
			t.Fatal(err)
		}
		batch, err := c.Fetch(3, natsjs.FetchMaxWait(storePatience))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() { // two are heard of again
			if meta, err := m.Metadata(); err != nil || meta.Sequence.Stream > 1 {
				err = errors.Join(err, m.Nak())
				if err != nil {
					t.Error(err)
				}
			} else if err := m.DoubleAck(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := js.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		js.Conn().Close()
		again, _ := r.connect(t, "alice")
		if got := fetch(t, again, "of-alice", 2); !slices.Equal(got, []uint64{2, 3}) {
			t.Errorf("then it reads %v", got)
		}
	})
}

func TestAConsumerThatIsNotThereIsNotFound(t *testing.T) {
	inEachReading(t, func(t *testing.T, r reading) {
		js, _ := r.connect(t, "alice")
		if _, err := js.Consumer(t.Context(), jetstream.DefaultStream, "none-of-alice"); !errors.Is(err, natsjs.ErrConsumerNotFound) {
			t.Errorf("%v, want %v", err, natsjs.ErrConsumerNotFound)
		}
	})
}
