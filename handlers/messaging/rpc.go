package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/intake"
	"rollcall/handlers/wire"
)

// What is requested besides commands.
const (
	verbGet     = "get"     // shows an account
	verbConsume = "consume" // makes a consumer of the log
)

// Headers of answers.
const (
	headerPosition  = "Rollcall-Position" // from which on reads show what was written, or that a read shows
	headerRevision  = "Rollcall-Revision" // that the account is at
	headerReplayed  = "Rollcall-Replayed" // true when the command had been executed before
	headerErrorCode = "Rollcall-Error-Code"
)

const (
	rpcService            = "rollcall"
	maxRequests           = 1024 // at once; further ones are refused
	defaultRequestTimeout = 30 * time.Second
)

// Queries answers reads, see query.Service.
type Queries interface {
	Account(ctx context.Context, minimum uint64, app domain.AppID, id domain.UserID) (domain.Account, uint64, error)
	Wrote(position uint64)
}

// Consumers makes the consumers of auditors, see LogConsumers.
type Consumers interface {
	Stream() string
	Open(ctx context.Context, tokenID string, app domain.AppID, o ConsumerOrder) (consumer string, last uint64, err error)
	Remove(ctx context.Context, tokenID string) error
}

// RPCConfig tells what answers requests. All members are needed but Version, Timeout, Observe and Logger.
type RPCConfig struct {
	Commands  intake.Commands
	Queries   Queries
	Consumers Consumers
	Identify  Identify
	NewID     func() string // of a command that comes without an id
	Version   string        // of the service, in the form of semantic versions
	Timeout   time.Duration // of a request: 30 s
	// Observe, if set, is told that a request begins, with the trace context of its header where that is valid. The context that it returns is
	// that of the work, the trace context takes the place of the request's, and the function is called at the end, with
	// the code of the answer's problem, empty when there is none. It is called concurrently.
	Observe func(ctx context.Context, verb, traceParent string) (_ context.Context, trace string, done func(domain.Code))
	Logger  *slog.Logger
}

// RPC answers requests on accounts.rpc.<app>.<verb>. To NATS it is the micro service rollcall.
type RPC struct {
	RPCConfig
	nc    *nats.Conn
	codes wire.Codes
	slots chan struct{}
	work  sync.WaitGroup
	stats [5]endpointStats
}

// endpointStats are figures of an endpoint. Those of package micro do not see what a handler does in a goroutine.
type endpointStats struct{ errors, took atomic.Int64 }

var rpcVerbs = [...]string{string(intake.Create), string(intake.Edit), string(intake.Delete), verbGet, verbConsume}

// NewRPC returns what answers requests on a connection, once it runs.
func NewRPC(nc *nats.Conn, cfg RPCConfig) (*RPC, error) {
	if cfg.Commands == nil || cfg.Queries == nil || cfg.Consumers == nil || cfg.Identify == nil || cfg.NewID == nil {
		return nil, errors.New("requests need Commands, Queries, Consumers, Identify and NewID")
	}
	if cfg.Observe == nil {
		cfg.Observe = func(ctx context.Context, _, trace string) (context.Context, string, func(domain.Code)) {
			return ctx, trace, func(domain.Code) {}
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	positive(&cfg.Timeout, defaultRequestTimeout)
	return &RPC{RPCConfig: cfg, nc: nc, codes: wire.NewCodes(jetstream.MsgIDHeader), slots: make(chan struct{}, maxRequests)}, nil
}

// Run answers requests until ctx ends, and then finishes those that have arrived. Instances share the work.
func (r *RPC) Run(ctx context.Context) error {
	service, err := micro.AddService(r.nc, micro.Config{
		Name: rpcService, Version: semanticVersion(r.Version), Description: "Accounts of applications: create, edit, delete, get; consumers of their events: consume.",
		QueueGroup: rpcService, StatsHandler: r.endpointStats,
	})
	if err != nil {
		return fmt.Errorf("answer requests: %w", err)
	}
	for i, verb := range rpcVerbs {
		handle := micro.HandlerFunc(func(req micro.Request) { r.begin(&r.stats[i], verb, req) })
		if err := service.AddEndpoint(verb, handle, micro.WithEndpointSubject(rpcPrefix+"*."+verb)); err != nil {
			return errors.Join(fmt.Errorf("answer requests: %w", err), service.Stop())
		}
	}
	<-ctx.Done()
	err = service.Stop()
	r.drain()
	r.work.Wait()
	if err != nil && !r.nc.IsClosed() {
		return fmt.Errorf("stop answering requests: %w", err)
	}
	return nil
}

// drain waits until the requests that have arrived have begun: package micro drains its subscriptions, but does not wait for that.
func (r *RPC) drain() {
	_ = r.nc.FlushTimeout(defaultTimeout) // then nothing more arrives; nor does it without a connection
	begun := make(chan struct{})
	if r.nc.Barrier(func() { close(begun) }) != nil {
		return
	}
	select {
	case <-begun:
	case <-time.After(defaultTimeout):
	}
}

// semanticVersion returns a version as package micro wants it. A version of a build between releases is not one.
func semanticVersion(v string) string {
	const unknown = "0.0.0"
	major, minor, patch := 0, 0, 0
	if n, err := fmt.Sscanf(v, "v%d.%d.%d", &major, &minor, &patch); err != nil || n != 3 {
		return unknown
	}
	return fmt.Sprintf("%d.%d.%d", major, minor, patch)
}

// endpointStats tells package micro what it cannot know.
func (r *RPC) endpointStats(e *micro.Endpoint) any {
	for i, verb := range rpcVerbs {
		if e.Name == verb {
			return map[string]int64{"errors": r.stats[i].errors.Load(), "processing_time": r.stats[i].took.Load()}
		}
	}
	return nil
}

// begin answers a request in a goroutine: package micro has one for all requests of an endpoint.
func (r *RPC) begin(stats *endpointStats, verb string, req micro.Request) {
	in := request{app: appOf(req.Subject()), verb: verb, reply: req.Reply(), header: nats.Header(req.Headers()), data: req.Data()}
	if trace := traceOf(in.header); wire.ValidTraceParent(trace) {
		in.trace = trace
	}
	select {
	case r.slots <- struct{}{}:
	default:
		stats.errors.Add(1)
		_, _, done := r.Observe(context.Background(), verb, in.trace)
		done(wire.CodeUnavailable)
		r.fail(in, r.codes.Problem(wire.CodeUnavailable, "too many requests at once; repeat the request in a moment"))
		return
	}
	r.work.Go(func() {
		defer func() { <-r.slots }()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
		defer cancel()
		ctx, trace, done := r.Observe(ctx, verb, in.trace)
		in.trace = trace
		out, err := r.answer(ctx, in)
		stats.took.Add(time.Since(start).Nanoseconds())
		if err != nil {
			stats.errors.Add(1)
			// Not in ctx, whose end would mean that the client is gone: it still waits.
			p, fault := r.codes.Of(context.WithoutCancel(ctx), err)
			defer done(p.Code)
			if fault {
				r.Logger.LogAttrs(ctx, slog.LevelError, "a request over NATS failed", slog.String("subject", req.Subject()), slog.Any("error", err))
			}
			r.fail(in, p)
			return
		}
		defer done("")
		r.respond(in, out)
	})
}

// request is a request on its way to a use case. It keeps nothing of package micro, which uses its own concurrently.
type request struct {
	app    domain.AppID
	verb   string
	reply  string
	header nats.Header
	trace  string // trace context, empty for none
	data   []byte
}

func appOf(subject string) domain.AppID {
	app, _ := appAndVerb(subject, rpcPrefix)
	return app
}

// answerTo is the answer to a request. A nil body is an empty one.
type answerTo struct {
	position, revision uint64
	replayed           bool
	body               any
}

func (r *RPC) answer(ctx context.Context, in request) (answerTo, error) {
	who, err := r.Identify(in.header)
	if err != nil {
		return answerTo{}, wire.Refuse(wire.CodeUnauthenticated, "the request was not sent with a token of this service")
	}
	action := intake.Verb(in.verb).Action()
	switch in.verb {
	case verbGet:
		action = access.ReadAccounts
	case verbConsume:
		action = access.Audit
	}
	if err := who.Authorize(action, string(in.app)); err != nil {
		return answerTo{}, err
	}
	if len(in.data) > maxCommandBody {
		return answerTo{}, wire.Refuse(wire.CodeTooLarge, "the request is larger than %d bytes", maxCommandBody)
	}
	switch in.verb {
	case verbGet:
		return r.get(ctx, in)
	case verbConsume:
		return r.consume(ctx, who, in)
	}
	return r.write(ctx, who, in)
}

// get shows an account.
func (r *RPC) get(ctx context.Context, in request) (answerTo, error) {
	var id domain.UserID
	var minimum uint64
	err := wire.DecodeObject(in.data, "the request", map[string]wire.Setter{
		"user_id": wire.SetString(&id),
		"min_position": func(v []byte) error {
			if json.Unmarshal(v, &minimum) != nil {
				return errors.New("must be a position: a whole number")
			}
			return nil
		},
	})
	if err != nil {
		return answerTo{}, err
	}
	if id == "" {
		return answerTo{}, unnamed("the request")
	}
	a, position, err := r.Queries.Account(ctx, minimum, in.app, id)
	if err != nil {
		return answerTo{}, err
	}
	return answerTo{position: position, revision: a.Revision, body: wire.AccountOf(a)}, nil
}

// write executes a command.
func (r *RPC) write(ctx context.Context, who access.Principal, in request) (answerTo, error) {
	c := intake.Command{App: in.app, Verb: intake.Verb(in.verb)}
	if err := readBody(&c, in.data, header(in.header, headerIfMatch)); err != nil {
		var u *intake.Unreadable
		if errors.As(err, &u) {
			err = &domain.Rejection{Code: domain.CodeInvalid, Detail: u.Detail, Fields: u.Fields}
		}
		return answerTo{}, err
	}
	req := command.Request{ID: in.header.Get(jetstream.MsgIDHeader), Actor: who.Actor(), TraceParent: in.trace}
	if req.ID == "" {
		req.ID = r.NewID()
	}
	for name, to := range map[string]*string{headerCausation: &req.CausationID, headerCorrelation: &req.CorrelationID} {
		if v := header(in.header, name); visible(v, maxReferenceBytes) {
			*to = v
		}
	}
	if c.Account == nil {
		return r.deleteBatch(ctx, req, c)
	}
	res, err := r.Commands.Execute(ctx, req, c.Account)
	if err != nil {
		return answerTo{}, err
	}
	r.Queries.Wrote(res.Position)
	out := answerTo{position: res.Position, revision: res.Position, replayed: res.Replayed}
	if res.Account.Exists() {
		out.revision, out.body = res.Account.Revision, wire.AccountOf(res.Account)
	}
	return out, nil
}

func (r *RPC) deleteBatch(ctx context.Context, req command.Request, c intake.Command) (answerTo, error) {
	results, err := r.Commands.DeleteAccounts(ctx, req, c.App, c.Batch)
	if err != nil {
		return answerTo{}, err
	}
	var out answerTo
	body := struct {
		Results []wire.OutcomeItem `json:"results"`
	}{make([]wire.OutcomeItem, len(results))}
	for i, res := range results {
		item := wire.OutcomeItem{UserID: res.UserID, Status: "deleted", Position: res.Position}
		if res.Err != nil {
			p, _ := r.codes.Of(context.WithoutCancel(ctx), res.Err)
			item = wire.OutcomeItem{UserID: res.UserID, Status: "failed", Code: p.Code, Detail: p.Detail}
		}
		out.position = max(out.position, res.Position)
		body.Results[i] = item
	}
	r.Queries.Wrote(out.position)
	out.body = body
	return out, nil
}

// respond sends an answer.
func (r *RPC) respond(in request, out answerTo) {
	m := &nats.Msg{Subject: in.reply, Header: nats.Header{headerPosition: {strconv.FormatUint(out.position, 10)}}}
	if out.revision > 0 {
		m.Header.Set(headerRevision, strconv.FormatUint(out.revision, 10))
	}
	if out.replayed {
		m.Header.Set(headerReplayed, "true")
	}
	if out.body != nil {
		m.Header.Set(headerContentType, "application/json")
		b, err := json.Marshal(out.body)
		if err != nil {
			r.Logger.Error("an answer cannot be written", "error", err)
			r.fail(in, r.codes.Problem(wire.CodeInternal, "the service failed; its log tells why"))
			return
		}
		m.Data = b
	}
	r.send(m)
}

// fail sends a problem. Its headers are those of package micro, and the stable code.
func (r *RPC) fail(in request, p *wire.Problem) {
	m := &nats.Msg{Subject: in.reply, Header: nats.Header{
		micro.ErrorCodeHeader: {strconv.Itoa(p.Status)},
		micro.ErrorHeader:     {oneLine(p.Detail)},
		headerErrorCode:       {string(p.Code)},
		headerContentType:     {wire.ProblemType},
	}}
	b, err := json.Marshal(p)
	if err != nil {
		r.Logger.Error("a problem cannot be written", "error", err)
	}
	m.Data = b
	r.send(m)
}

func (r *RPC) send(m *nats.Msg) {
	if m.Subject == "" { // nobody wants to know
		return
	}
	if err := r.nc.PublishMsg(m); err != nil {
		r.Logger.Warn("a request over NATS could not be answered", "error", err)
	}
}
