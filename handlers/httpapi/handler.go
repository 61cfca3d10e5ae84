// Package httpapi is the HTTP API of Rollcall: what contract.md lists under /v1,
// described by /openapi.json and shown at /docs, and the doors that operators
// of the service need.
//
// It owns the way from a request to a use case and back: who may do what, the
// shape of parameters, and the form of answers. The JSON of bodies and of errors is that of
// package wire; the bounds of values are the domain's. It must never decide a command
// itself, read a read model behind the use cases' back, or answer anything but a problem when
// it fails.
package httpapi

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/wire"
)

// Commands executes commands, see command.Service.
type Commands interface {
	Execute(ctx context.Context, req command.Request, cmd domain.Command) (command.Result, error)
	DeleteAccounts(ctx context.Context, req command.Request, app domain.AppID, ids []domain.UserID) ([]command.ItemResult, error)
	Import(ctx context.Context, req command.Request, app domain.AppID, mode command.ImportMode, rows iter.Seq[command.Row], emit func(command.RowResult) error) error
}

// Queries answers reads, see query.Service.
type Queries interface {
	List(ctx context.Context, minimum uint64, l domain.Listing) (domain.Page, error)
	Account(ctx context.Context, minimum uint64, app domain.AppID, id domain.UserID) (domain.Account, uint64, error)
	App(ctx context.Context, minimum uint64, app domain.AppID) (domain.App, uint64, error)
	Apps(ctx context.Context, minimum uint64) ([]domain.App, uint64, error)
	Wrote(position uint64)
}

// Tokens knows who gives a request and manages tokens, see access.Service.
type Tokens interface {
	Authenticate(ctx context.Context, secret string) (access.Principal, error)
	Create(ctx context.Context, by access.Principal, name string, role access.Role, app string) (secret string, _ access.Token, err error)
	List(ctx context.Context, by access.Principal, app string) ([]access.Token, error)
	Revoke(ctx context.Context, by access.Principal, id string) (access.Token, error)
}

// Config is what a Handler is made of. All members are needed but those that
// say otherwise.
type Config struct {
	Commands Commands
	Queries  Queries
	Exports  Exports
	Tokens   Tokens

	// Webhooks sends the events of exports. There are no such paths when nil.
	Webhooks Webhooks

	// Session returns the token of the session that a request belongs to, see console.Handler. It is asked where there is no
	// header Authorization. There are no sessions when nil.
	Session func(r *http.Request) (secret string, ok bool)
	// Console serves the pages under ConsolePath, to which the root leads. There are none when nil.
	Console http.Handler

	// Intake knows what became of commands that came as messages. There are no such paths when nil.
	Intake Intake

	// Audit answers auditors. There are no such paths when nil, nor as_of.
	Audit Audit

	// Ledger proves what the log holds. There are no such paths when nil.
	Ledger Ledger

	// Erasures tells which deleted accounts are erased. There is no such path when it or Audit is nil.
	Erasures Erasures

	// NewID returns a new ULID: the id of a command or request that has none.
	NewID func() string

	// Ready returns nil when the service is able to serve, else the reason why not,
	// which /readyz shows to everyone. Always ready when nil.
	Ready func(ctx context.Context) error
	// Halted are the projections that have halted; /readyz shows them to everyone. None have when nil.
	Halted func() []HaltedProjection
	// Warnings are what is not as it should be in production; /readyz shows them.
	Warnings []string

	// Projections tells how far each projection has come, which /v1/projections shows to
	// operators. There is no such path when nil.
	Projections func() []Projection

	// MasterKeys tells how many blocks of keys each master key wraps, which /v1/keys shows to operators. There is no such path when nil.
	MasterKeys func() []MasterKey

	// Lists builds account lists anew. There are no such paths when nil.
	Lists Lists

	// Metrics serves /metrics, to operators only unless OpenMetrics is set. There is
	// no such path when nil.
	Metrics     http.Handler
	OpenMetrics bool

	// Downloads serves the files of exports under DownloadPath, which begins and ends
	// with a slash. It checks signatures itself: no token is asked for. There are no
	// downloads when nil.
	Downloads    http.Handler
	DownloadPath string

	// Version is shown in the API's description.
	Version string

	// Logger receives a line for each request, and faults. Nothing is logged when nil.
	Logger *slog.Logger

	// BodyTimeout bounds how long the body of a command may take to arrive, and how
	// long a stream may stand still in either direction. 30 s when zero.
	BodyTimeout time.Duration
	// WriteTimeout bounds how long the client of an answer that is no stream may take
	// for each 64 KiB of it. 60 s when zero.
	WriteTimeout time.Duration
	// Heartbeat is the time between comments in a stream of events without news. 15 s
	// when zero.
	Heartbeat time.Duration
}

// Handler serves the API. It is safe for concurrent use.
type Handler struct {
	Config
	logger *slog.Logger
	codes  wire.Codes
	mux    *http.ServeMux
	api    huma.API

	crossOrigin *http.CrossOriginProtection // of requests with a session

	draining context.Context // ends with Drain
	drain    context.CancelFunc
}

// Drain makes streams end: imports take no further row, answer those in
// flight and say so; event streams close. Other requests are served as before. Call it when the
// server begins to shut down, for instance through http.Server.RegisterOnShutdown.
func (h *Handler) Drain() { h.drain() }

// New returns the API. It is an error to leave out what is needed.
func New(c Config) (*Handler, error) {
	if c.Commands == nil || c.Queries == nil || c.Exports == nil || c.Tokens == nil || c.NewID == nil {
		return nil, errors.New("httpapi: Commands, Queries, Exports, Tokens and NewID are needed")
	}
	if c.BodyTimeout == 0 {
		c.BodyTimeout = 30 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = time.Minute
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	h := &Handler{Config: c, logger: c.Logger, codes: wire.NewCodes(headerIdempotencyKey), mux: http.NewServeMux(), crossOrigin: http.NewCrossOriginProtection()}
	h.draining, h.drain = context.WithCancel(context.Background())
	if h.logger == nil {
		h.logger = slog.New(slog.DiscardHandler)
	}
	h.api = newAPI(h)
	h.registerApps()
	h.registerAccounts()
	h.registerImport()
	h.registerExports()
	h.registerWebhooks()
	h.registerTokens()
	h.registerHealth()
	h.registerProjections()
	h.registerCommands()
	h.registerAudit()
	h.registerLedger()
	h.registerErasures()
	h.registerKeys()
	h.mountDownloads()
	h.mountConsole()
	if err := h.mountDocs(); err != nil {
		return nil, err
	}
	h.mux.HandleFunc(fallbackPattern, h.unknownRoute)
	return h, nil
}

func (h *Handler) mountDownloads() {
	if h.Downloads != nil {
		h.mux.Handle("GET "+h.DownloadPath, h.Downloads)
	}
}

// ConsolePath begins the paths of the console.
const ConsolePath = "/console/"

func (h *Handler) mountConsole() {
	if h.Console != nil {
		h.mux.Handle(ConsolePath, h.Console)
		h.mux.Handle("GET /{$}", http.RedirectHandler(ConsolePath, http.StatusSeeOther))
	}
}
