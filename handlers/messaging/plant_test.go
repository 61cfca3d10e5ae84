package messaging_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	log "rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
)

// plant is the way of commands over an embedded server, wired as the service wires it, but that its parts are run by the
// test. The application demo is there.
type plant struct {
	dir      string
	server   *log.Embedded
	js       jetstream.JetStream // of the process itself
	tokens   *access.Service
	store    eventstore.Store
	commands *command.Service
	intake   *intake.Service
	outcomes *messaging.Outcomes
	dead     *messaging.DeadLetters
}

// noExports refuse.
type noExports struct{}

func (noExports) Order(context.Context, export.Request, export.Spec) (export.Job, error) {
	return export.Job{}, &domain.Rejection{Code: "no_exports", Detail: "there are no exports in this test"}
}

// newPlant starts the server and opens all streams. At most maxWaiting commands of an application and verb wait; zero means the default.
func newPlant(t *testing.T, maxWaiting int64) *plant {
	t.Helper()
	if maxWaiting == 0 {
		maxWaiting = messaging.DefaultMaxWaiting
	}
	p := &plant{dir: t.TempDir()}
	var err error
	p.server, err = log.StartEmbedded(log.EmbeddedConfig{Dir: filepath.Join(p.dir, "log"), Listen: "127.0.0.1:0", Authenticate: p.authenticate})
	must(t, err)
	t.Cleanup(func() { must(t, p.server.Stop()) })
	nc, err := p.server.Connect()
	must(t, err)
	t.Cleanup(nc.Close)
	p.js, err = jetstream.New(nc)
	must(t, err)
	p.openLog(t, nc)
	p.tokens = instance(t, p.js)
	must(t, messaging.OpenCommands(t.Context(), p.js, 1, maxWaiting))
	p.outcomes, err = messaging.OpenOutcomes(t.Context(), p.js, 1)
	must(t, err)
	t.Cleanup(p.outcomes.Close)
	p.dead, err = messaging.OpenDeadLetters(t.Context(), p.js, 1)
	must(t, err)
	p.intake, err = intake.New(intake.Config{
		Commands: p.commands, Exports: noExports{}, Senders: p.tokens, Outcomes: p.outcomes, DeadLetters: p.dead, Log: p.store,
	})
	must(t, err)
	_, err = p.commands.Execute(t.Context(), command.Request{ID: "app", Actor: "test"}, domain.CreateApp{App: "demo"})
	must(t, err)
	must(t, p.server.Accept())
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// openLog opens the log and the use cases that write to it.
func (p *plant) openLog(t *testing.T, nc *nats.Conn) {
	t.Helper()
	store, err := p.server.Open(t.Context(), nc, log.Config{})
	must(t, err)
	t.Cleanup(store.Close)
	master, err := keyring.CreateMasterKey(filepath.Join(p.dir, "master.key"))
	must(t, err)
	keys, err := keyring.Open(t.Context(), p.js, master, keyring.Options{})
	must(t, err)
	t.Cleanup(keys.Close)
	p.store, p.commands = store, command.New(store, codec.New(keys), keys, command.Options{})
}

// authenticate lets in whoever has a token, as the guest named by the token's id.
func (p *plant) authenticate(_, password string) (log.Guest, bool) {
	who, err := p.tokens.Authenticate(context.Background(), password)
	if err != nil {
		return log.Guest{}, false
	}
	rights := messaging.RightsOf(who)
	guest := log.Guest{Name: who.TokenID, Hears: rights.Hears, Consumers: rights.Consumers}
	for _, l := range rights.Requests {
		guest.Requests = append(guest.Requests, log.Request(l))
	}
	return guest, true
}

// identify tells whose token a message was sent with, by the account that the server says it came from.
func (p *plant) identify(h nats.Header) (access.Principal, error) {
	return messaging.IdentifyBy(func(i messaging.RequestInfo) (string, bool) { return log.GuestOf(i.Account) }, p.tokens.Current)(h)
}

// run runs a part until it is stopped or the test ends.
func run(t *testing.T, part func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := part(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// takeIn runs the ingress.
func (p *plant) takeIn(t *testing.T) (stop func()) {
	t.Helper()
	ingress, err := messaging.NewIngress(p.js.Conn(), p.js, messaging.IngressConfig{Identify: p.identify})
	must(t, err)
	return run(t, ingress.Run)
}

// work runs what decides commands.
func (p *plant) work(t *testing.T) (stop func()) {
	t.Helper()
	return p.workBy(t, p.intake.Decide)
}

// workBy runs what decides commands, each by a function.
func (p *plant) workBy(t *testing.T, decide func(context.Context, intake.Command) error) (stop func()) {
	t.Helper()
	return run(t, func(ctx context.Context) error {
		return messaging.RunCommands(ctx, p.js, messaging.CommandsConfig{
			Decide: decide, Bury: p.intake.Bury, Buried: p.intake.Buried, DeadLetters: p.dead, RetryAfter: time.Millisecond, MaxRetryAfter: 10 * time.Millisecond,
		})
	})
}

// guest makes a token and connects with it.
func (p *plant) guest(t *testing.T, role access.Role, app string) (*nats.Conn, access.Token) {
	t.Helper()
	secret, token, err := p.tokens.Create(t.Context(), operator, "guest", role, app)
	must(t, err)
	nc, err := nats.Connect(p.server.URL(), nats.UserInfo("token", secret))
	must(t, err)
	t.Cleanup(nc.Close)
	return nc, token
}

// producer makes a token of the application demo and connects with it as one who publishes to a stream does.
func (p *plant) producer(t *testing.T) (jetstream.JetStream, access.Token) {
	t.Helper()
	nc, token := p.guest(t, access.Producer, "demo")
	js, err := jetstream.New(nc)
	must(t, err)
	return js, token
}

// order is a command as it is published.
func order(verb, id, body string, headers ...string) *nats.Msg {
	m := &nats.Msg{Subject: "accounts.cmd.demo." + verb, Data: []byte(body), Header: nats.Header{}}
	if id != "" {
		m.Header.Set(jetstream.MsgIDHeader, id)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Header[headers[i]] = []string{headers[i+1]}
	}
	return m
}

// send publishes a command that has to be taken in, and returns its sequence.
func send(t *testing.T, js jetstream.JetStream, m *nats.Msg) uint64 {
	t.Helper()
	ack, err := js.PublishMsg(t.Context(), m)
	must(t, err)
	return ack.Sequence
}

// waiting returns what is in the stream of commands, in its order.
func (p *plant) waiting(t *testing.T) []*jetstream.RawStreamMsg {
	t.Helper()
	return stored(t, p.js, messaging.StreamCommands)
}

// stored returns what is in a stream, in its order.
func stored(t *testing.T, js jetstream.JetStream, name string) (all []*jetstream.RawStreamMsg) {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	must(t, err)
	for next := uint64(1); ; next = all[len(all)-1].Sequence + 1 {
		m, err := stream.GetMsg(t.Context(), next, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return all
		}
		must(t, err)
		all = append(all, m)
	}
}

// decided waits until a command has an outcome and returns it.
func (p *plant) decided(t *testing.T, id string) (o intake.Outcome) {
	t.Helper()
	eventually(t, "command "+id+" has an outcome", func() bool {
		var err error
		o, err = p.outcomes.Load(t.Context(), "demo", id)
		return err == nil
	})
	return o
}
