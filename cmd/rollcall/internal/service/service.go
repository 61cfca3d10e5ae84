// Package service is Rollcall in one process: the log, the list, exports and the HTTP API,
// wired together. The log is in the process or on a cluster, which several processes may share.
//
// It owns which part uses which, the order in which parts start and stop, and the checks before
// anything is served. It must never decide anything itself: every rule is of a part.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/eventstore/ledger"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/command"
	"rollcall/handlers/console"
	"rollcall/handlers/erasure"
	"rollcall/handlers/export"
	"rollcall/handlers/export/files"
	"rollcall/handlers/httpapi"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
	"rollcall/handlers/query"
	"rollcall/handlers/webhook"
	"rollcall/projections"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/asof"
	"rollcall/projections/accountlist/postgres"
)

// Service is a running Rollcall. Start makes one.
type Service struct {
	cfg     Config
	logger  *slog.Logger
	started time.Time

	conn          *nats.Conn // to the log
	js            natsjs.JetStream
	store         *jetstream.Store
	door          *jetstream.Door   // where NATS clients come in, nil where none do
	doorConn      *nats.Conn        // to the door
	leases        *messaging.Leases // nil where this is the only instance
	notices       []console.Notice  // warnings of the deployment
	masters       masterKeys
	keys          *keyring.Keyring
	codec         *codec.Codec
	list          accountlist.List
	db            *postgres.DB // that the list is in, nil where it is a file
	past          *asof.Lists
	rebuilds      *rebuilds // nil where the list is a file
	tokens        *access.Service
	consumers     *messaging.LogConsumers
	ended         chan string // ids of tokens that have been revoked
	operatorToken string
	state         *messaging.State // how far what follows something has come
	reactor       *erasure.Reactor
	decided       decided
	writes        writes
	ledger        *ledger.Ledger
	commands      *command.Service
	queries       *query.Service
	intake        *intake.Service
	dead          *messaging.DeadLetters
	exports       *export.Service
	queue         *messaging.Exports
	files         *files.Store
	webhooks      *webhook.Service
	console       *console.Handler
	api           *httpapi.Handler
	metrics       *metrics
	observer      *observer
	runners       []*projections.Runner // the first is that of the list
	listener      net.Listener
	web           *web
	backlog       eventstore.Position // the end of the log at start
	began         atomic.Uint64       // position that the list showed at start
	followed      *group              // what follows the log, the tokens and the exports

	closers []func() error // what Stop closes, last first
	stop    sync.Once
	stopped error
}

// Start starts a service and returns when it takes requests. Whatever it holds is
// released by Stop, or when Start returns an error.
//
// Errors: jetstream.ErrLocked when another process uses the data folder; eventstore.ErrDamaged when the
// log has lost something; those of reading the data folder and of listening.
func Start(ctx context.Context, cfg Config) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, logger: cfg.Logger, started: time.Now(), metrics: newMetrics(cfg.Version), followed: newGroup(), ended: make(chan string, maxEnded)}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func (s *Service) start(ctx context.Context) error {
	if err := s.cfg.folder(); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		s.startLog, s.openList, s.openPast, s.openTokens, s.openState, s.openExports, s.openWebhooks, s.openErasure, s.openIntake, s.checkPositions, s.openLedger, s.claimFiles, s.serve,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// closing remembers what Stop closes.
func (s *Service) closing(what string, c func() error) {
	s.closers = append(s.closers, func() error {
		if err := c(); err != nil {
			return fmt.Errorf("close %s: %w", what, err)
		}
		return nil
	})
}

// follow adds a runner of a projection.
func (s *Service) follow(p projections.Projection, opts ...projections.Option) {
	s.followFrom(s.store, p, opts...)
}

// followFrom is follow for a projection that reads the log in its own way.
func (s *Service) followFrom(log projections.Log, p projections.Projection, opts ...projections.Option) {
	s.metrics.expectProjection(p.Name())
	observe := func(ctx context.Context, b projections.Batch) {
		s.metrics.applied(b)
		s.cfg.Tracing.Applied(ctx, b)
	}
	opts = append(opts, projections.WithLogger(s.logger), projections.WithObserver(observe))
	s.runners = append(s.runners, projections.NewRunner(log, p, opts...))
}

func (s *Service) openTokens(ctx context.Context) error {
	s.run("the tokens", s.tokens.Run)
	if err := s.tokens.Wait(ctx); err != nil {
		return fmt.Errorf("read the tokens: %w", err)
	}
	return nil
}

func (s *Service) openState(ctx context.Context) (err error) {
	s.state, err = patiently(ctx, func(ctx context.Context) (*messaging.State, error) {
		return messaging.OpenState(ctx, s.js, s.cfg.Replicas)
	})
	return err
}

func (s *Service) openErasure(context.Context) error {
	s.reactor = erasure.New(s.keys, erasure.NewLog(s.store, s.codec), s.state, erasure.Options{
		Forgetters: []erasure.Forgetter{forgetter{s.exports}, deadLetterForgetter{s}, pastForgetter{s.past}}, Ahead: s.store, Erased: s.metrics.erase, Logger: s.logger,
	})
	rest := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		return s.reactor.Close(ctx)
	}
	lead := func(ctx context.Context, work func(context.Context) error) error {
		return s.asOne("erasure", func(ctx context.Context) error {
			err := work(ctx)
			if kept := rest(ctx); kept != nil { // the next one goes through a little again
				s.logger.Warn("the checkpoint of erasure is not kept", "error", kept)
			}
			return err
		})(ctx)
	}
	s.follow(s.reactor, projections.WithLead(lead))
	return nil
}

// checkPositions compares the log with what was built from it, so that a log
// that lost its end is not written on.
func (s *Service) checkPositions(ctx context.Context) error {
	for _, p := range []projections.Projection{s.list, s.reactor} {
		if p == s.list && s.db != nil && !s.db.Prepared() {
			continue // the runner compares once the list is there, and halts if it must
		}
		position, err := patiently(ctx, p.Checkpoint)
		if err != nil {
			return err
		}
		if p == s.list {
			s.began.Store(uint64(position))
		}
		if err := s.checkLog(ctx, position); err != nil {
			return fmt.Errorf("%s has seen the log up to position %d: %w", p.Name(), position, err)
		}
	}
	var err error
	s.backlog, err = s.store.Last(ctx)
	return err
}

// staleFor is how long a server that led a cluster may still answer what is not so any more.
const staleFor = 15 * time.Second

// checkLog finds out whether the log holds a position.
func (s *Service) checkLog(ctx context.Context, position eventstore.Position) error {
	return s.checkTwice(ctx, func(ctx context.Context) error { return s.store.Check(ctx, position) })
}

// checkTwice checks the log. A cluster is asked again before it is said to have lost something.
func (s *Service) checkTwice(ctx context.Context, check func(context.Context) error) error {
	for began := time.Now(); ; sleep(ctx, startRetry) {
		err := check(ctx)
		if !errors.Is(err, eventstore.ErrDamaged) || !s.cfg.clustered() || time.Since(began) > staleFor || ctx.Err() != nil {
			return err
		}
	}
}

// serve starts what follows the log, and the HTTP API.
func (s *Service) serve(context.Context) error {
	for _, r := range s.runners {
		s.run("projection "+r.Status().Name, r.Run)
	}
	if s.rebuilds != nil {
		s.run("the building of lists", s.buildLists)
	}
	s.runExports()
	s.run("webhooks", s.asOne("webhooks", s.webhooks.Run))
	if len(s.masters.old) > 0 {
		s.run("the secrets of webhooks", s.reseal)
	}
	if err := s.runIntake(); err != nil {
		return err
	}
	s.observer = &observer{service: s}
	s.metrics.registry.MustRegister(newStandingCollector(s.observer))
	if err := s.openConsole(); err != nil {
		return err
	}
	var err error
	if s.api, err = s.handler(); err != nil {
		return err
	}
	drain := func() {
		s.console.Drain()
		s.api.Drain()
	}
	if s.door != nil {
		if err := s.door.Accept(); err != nil {
			return fmt.Errorf("%w with --nats-listen", err)
		}
	}
	s.web = serve(s.listener, s.metrics.around(s.cfg.Tracing.HTTP(s.api, statusOf)), drain, s.logger)
	return nil
}

func (s *Service) handler() (*httpapi.Handler, error) {
	return httpapi.New(httpapi.Config{
		Commands:     s.commands,
		Queries:      s.queries,
		Exports:      s.exports,
		Webhooks:     s.webhooks,
		Intake:       s.intake,
		Audit:        s.audit(),
		Ledger:       proofs{s.ledger},
		Erasures:     s.erasures(),
		NewID:        func() string { return ulid.Make().String() },
		Ready:        s.Ready,
		Halted:       s.halted,
		Warnings:     s.warnings(),
		Tokens:       s.tokens,
		Session:      s.console.Session,
		Console:      s.console,
		Projections:  s.projections,
		MasterKeys:   s.masterKeyUses,
		Lists:        s.lists(),
		Metrics:      s.metrics.handler(),
		OpenMetrics:  s.cfg.OpenMetrics,
		Downloads:    s.files,
		DownloadPath: files.PathPrefix,
		Version:      s.cfg.Version,
		Logger:       s.logger,
	})
}

// audit returns what answers those who examine what happened.
func (s *Service) audit() *audit.Service { return audit.New(s.store, s.codec) }

// erasures returns what tells which deleted accounts are erased.
func (s *Service) erasures() *audit.Erasures {
	return audit.NewErasures(s.store, s.codec, s.standings)
}

// lists returns what builds lists anew.
func (s *Service) lists() httpapi.Lists {
	if s.rebuilds == nil {
		return oneList{s.cfg.listFile()}
	}
	return s.rebuilds
}

// projections tells how far the runners have come.
func (s *Service) projections() []httpapi.Projection {
	all := make([]httpapi.Projection, len(s.runners))
	standing := s.observer.standing()
	for i, r := range s.runners {
		status := r.Status()
		all[i] = httpapi.Projection{
			Name: status.Name, Position: uint64(status.Position), Last: uint64(max(status.Last, standing.last)),
			Halted: text(status.Halted), Retrying: text(status.Retrying), Leading: status.Leading, Behind: standing.lags[i].age.Seconds(),
		}
	}
	return all
}

// text returns what an error says, nothing for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *Service) waitForList(ctx context.Context, position uint64) error {
	return s.runners[0].WaitFor(ctx, eventstore.Position(position))
}

// run runs a part in the background. One that fails shows in Ready, and in the log.
func (s *Service) run(what string, part func(context.Context) error) {
	s.followed.run(func(ctx context.Context) {
		err := part(ctx)
		if err != nil && ctx.Err() == nil {
			s.logger.Error(what+" stopped", "error", err)
		}
	})
}

// closeTimeout bounds how long something is waited for that is closed.
const closeTimeout = 5 * time.Second

// readyTimeout bounds how long Ready waits for the log.
const readyTimeout = 2 * time.Second

// Ready returns nil when the service can serve, else the reason why not.
func (s *Service) Ready(ctx context.Context) error {
	for _, r := range s.runners {
		if err := r.Status().Halted; err != nil {
			if halt := haltOf(r); halt == nil || halt.LogDamaged() {
				return err
			}
		}
	}
	if err := s.listReady(); err != nil {
		return err
	}
	if err := errors.Join(s.tokens.Ready(), s.exports.Ready()); err != nil {
		return because("starting", err)
	}
	if s.leases != nil && s.door != nil && !s.door.Led() {
		return because("nats_unreached", errors.New("the server that NATS clients connect to does not reach the NATS cluster; check --nats-leaf"))
	}
	// On a cluster another server leads the log soon, and a server that cannot is its own to tell of.
	if err := s.writes.refused(); err != nil && !s.cfg.clustered() {
		return because("log_refuses", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	_, err := s.store.Last(ctx)
	return because("log_silent", err)
}

// listReady returns why the list is not one to serve from, nil when it is. One that has halted still shows what it did before; one that
// is new with this start and halts on the way does not, so that an upgrade that cannot read the log goes no further than this instance.
func (s *Service) listReady() error {
	p := s.runners[0].Status()
	switch {
	case s.db != nil && !s.db.Prepared():
		return because("list_unreached", errors.New("the account list in PostgreSQL has not been reached since the start, the log of this instance says why; commands are decided, reads are not answered"))
	case p.Position >= s.backlog, p.Halted != nil && s.began.Load() > 0:
		return nil
	case p.Halted != nil:
		return p.Halted
	}
	return because("list_behind", fmt.Errorf("the list has read %d of the %d events that the log had at start", p.Position, s.backlog))
}

// haltOf returns why a projection has halted, nil when it has not.
func haltOf(r *projections.Runner) *projections.HaltError {
	halt, _ := errors.AsType[*projections.HaltError](r.Status().Halted)
	return halt
}

// halted tells which projections have halted.
func (s *Service) halted() (all []httpapi.HaltedProjection) {
	for _, r := range s.runners {
		if halt := haltOf(r); halt != nil {
			all = append(all, httpapi.HaltedProjection{Projection: halt.Projection, Position: uint64(halt.Position), Reason: halt.Err.Error()})
		}
	}
	return all
}

// URL returns the address of the HTTP API.
func (s *Service) URL() string {
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return "http://" + s.listener.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // all addresses of the machine, of which this is one
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Data returns the data folder.
func (s *Service) Data() string { return s.cfg.Data }

// OperatorTokenSource tells where the operator's token is, not what it is.
func (s *Service) OperatorTokenSource() string {
	if s.cfg.OperatorToken != "" {
		return "as given"
	}
	return s.cfg.operatorTokenFile()
}

// OperatorToken returns the operator's token.
func (s *Service) OperatorToken() string { return s.operatorToken }

// Done is closed when requests are taken no more. When nobody has called Stop that is a
// failure, which Stop then returns.
func (s *Service) Done() <-chan struct{} { return s.web.done }

// NATSURL returns the address that NATS clients connect to, empty where nobody can.
func (s *Service) NATSURL() string {
	if s.door == nil {
		return ""
	}
	return s.door.URL()
}

// Stop finishes requests in flight, then what follows the log, and releases everything.
// Requests that take longer than the stop timeout, or than ctx, are broken off, which is an
// error; all that was acknowledged is on disk either way.
func (s *Service) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.StopTimeout)
		defer cancel()
		s.stopped = errors.Join(s.web.stop(ctx), s.release())
	})
	return s.stopped
}

// release ends what runs and closes what is open, last first.
func (s *Service) release() error {
	s.followed.stop()
	var all error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		all = errors.Join(all, s.closers[last]())
		s.closers = s.closers[:last]
	}
	return all
}

// group is what runs in the background until it is stopped.
type group struct {
	ctx    context.Context // of all parts
	cancel context.CancelFunc
	parts  sync.WaitGroup
}

func newGroup() *group {
	ctx, cancel := context.WithCancel(context.Background())
	return &group{ctx: ctx, cancel: cancel}
}

// run starts a part, which returns soon after its context ends. It must not be called after stop.
func (g *group) run(part func(context.Context)) {
	g.parts.Go(func() { part(g.ctx) })
}

// stop ends all parts and waits for them.
func (g *group) stop() {
	g.cancel()
	g.parts.Wait()
}
