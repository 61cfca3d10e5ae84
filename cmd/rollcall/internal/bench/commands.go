package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/handlers/command"
)

var clients = []int{1, 64, 256}

// commands measures creates and edits: over HTTP, by the use case in this
// process, and as plain publishes of the same events, each acknowledged once it is on disk.
func (r *run) commands(ctx context.Context) (err error) {
	parts, err := r.openParts(ctx, r.path("parts"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.close()) }()
	p, err := r.serve(ctx, r.path("http"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.post(ctx, "/v1/apps", `{"app":"bench"}`, nil); err != nil {
		return err
	}
	r.head("commands/s, on disk when acknowledged", "rollcall", "plain publish")
	for _, verb := range []string{"create", "edit"} {
		for _, n := range clients {
			plain, err := parts.publishRate(ctx, verb, n, r.Seconds)
			if err != nil {
				return fmt.Errorf("plain publishes: %w", err)
			}
			inProcess, err := parts.commandRate(ctx, verb, n, r.Seconds)
			if err != nil {
				return fmt.Errorf("%s: %w", verb, err)
			}
			overHTTP, err := p.commandRate(ctx, verb, n, r.Seconds)
			if err != nil {
				return fmt.Errorf("%s over HTTP: %w", verb, err)
			}
			r.beside(fmt.Sprintf("%s, %d clients, use case", verb, n), inProcess, plain)
			r.beside(fmt.Sprintf("%s, %d clients, over HTTP", verb, n), overHTTP, plain)
		}
	}
	return nil
}

// commandRate gives commands over HTTP. Edits are of the accounts created before.
func (p *process) commandRate(ctx context.Context, verb string, n int, seconds float64) (float64, error) {
	base := n * 10_000_000
	return rate(ctx, n, seconds, func(ctx context.Context, i int) error {
		if verb == "create" {
			return p.post(ctx, "/v1/apps/bench/accounts", body(base+i), nil)
		}
		edit := fmt.Sprintf(`{"nickname":%q}`, nickname(base+i))
		return p.do(ctx, http.MethodPatch, "/v1/apps/bench/accounts/"+userID(base+1+i%500), "application/merge-patch+json", strings.NewReader(edit), nil)
	})
}

// parts are the raw parts, and the use case on them, in this process.
type parts struct {
	server  *jetstream.Embedded
	nc      *nats.Conn
	js      natsjs.JetStream
	store   *jetstream.Store
	keys    *keyring.Keyring
	codec   *codec.Codec
	command *command.Service
	closers []func() error
}

// openParts opens a log and keys of its own, with a stream for plain publishes beside them.
func (r *run) openParts(ctx context.Context, dir string) (*parts, error) {
	master, err := keyring.CreateMasterKey(dir + ".key")
	if err != nil {
		return nil, err
	}
	p, err := openLog(ctx, dir, master)
	if err != nil {
		return nil, err
	}
	p.command = command.New(p.store, p.codec, p.keys, command.Options{})
	_, err = p.command.Execute(ctx, command.Request{ID: "bench"}, domain.CreateApp{App: "bench"})
	if err == nil {
		_, err = p.js.CreateStream(ctx, natsjs.StreamConfig{Name: "PLAIN", Subjects: []string{"plain.>"}, Storage: natsjs.FileStorage})
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// reopen opens the log and keys of a service that has been stopped.
func (r *run) reopen(ctx context.Context, data string) (*parts, error) {
	master, err := keyring.LoadMasterKey(filepath.Join(data, "master.key"))
	if err != nil {
		return nil, err
	}
	return openLog(ctx, filepath.Join(data, "log"), master)
}

func openLog(ctx context.Context, dir string, master keyring.MasterKey) (_ *parts, err error) {
	p := &parts{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.server, err = jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: dir, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, err
	}
	p.closers = append(p.closers, p.server.Stop)
	if p.nc, err = p.server.Connect(); err != nil {
		return nil, err
	}
	p.onClose(p.nc.Close)
	if p.js, err = natsjs.New(p.nc); err != nil {
		return nil, err
	}
	if p.store, err = p.server.Open(ctx, p.nc, jetstream.Config{}); err != nil {
		return nil, err
	}
	p.onClose(p.store.Close)
	if p.keys, err = keyring.Open(ctx, p.js, master, keyring.Options{}); err != nil {
		return nil, err
	}
	p.onClose(p.keys.Close)
	p.codec = codec.New(p.keys)
	return p, nil
}

func (p *parts) onClose(f func()) {
	p.closers = append(p.closers, func() error { f(); return nil })
}

func (p *parts) close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	return errors.Join(errs...)
}

func (p *parts) commandRate(ctx context.Context, verb string, n int, seconds float64) (float64, error) {
	base := n * 10_000_000
	return rate(ctx, n, seconds, func(ctx context.Context, i int) error {
		id := fmt.Sprintf("%s-%d-%d", verb, n, i)
		_, err := p.command.Execute(ctx, command.Request{ID: id, Actor: "bench"}, commandOf(verb, base, i))
		return err
	})
}

func commandOf(verb string, base, i int) domain.Command {
	if verb == "create" {
		return domain.CreateAccount{App: "bench", UserID: domain.UserID(userID(base + i)), Type: domain.TypeNormal, Profile: domain.Profile{
			Nickname: nickname(base + i), FaceURL: "https://img.example.com/1.png", Gender: domain.GenderFemale, Level: domain.Num(1),
		}}
	}
	return domain.EditAccount{App: "bench", UserID: domain.UserID(userID(base + 1 + i%500)), Patch: domain.Patch{
		Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: nickname(base + i)},
	}}
}

// publishRate publishes the bytes of such an event, one subject an account, each
// publish waiting for its acknowledgement from the same server with the same sync.
func (p *parts) publishRate(ctx context.Context, verb string, n int, seconds float64) (float64, error) {
	sample := domain.Event(domain.AccountDeleted{})
	switch c := commandOf(verb, 0, 1).(type) {
	case domain.CreateAccount:
		sample = domain.AccountCreated{App: c.App, UserID: c.UserID, Type: c.Type, Profile: c.Profile}
	case domain.EditAccount:
		sample = domain.AccountEdited{App: c.App, UserID: c.UserID, Patch: c.Patch}
	}
	key, err := p.keys.NewKey(ctx)
	if err != nil {
		return 0, err
	}
	env, err := p.codec.Encode(ctx, codec.Meta{EventID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Actor: "bench", CommandID: "create-64-100000"}, key, sample)
	if err != nil {
		return 0, err
	}
	env.Time = benchTime
	data, err := eventstore.Marshal(env)
	if err != nil {
		return 0, err
	}
	return rate(ctx, n, seconds, func(ctx context.Context, i int) error {
		_, err := p.js.Publish(ctx, fmt.Sprintf("plain.%s.%d.%d", verb, n, i), data)
		return err
	})
}
