package console

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/console/i18n"
	"rollcall/handlers/wire"
)

// Queries answers reads, see query.Service.
type Queries interface {
	List(ctx context.Context, minimum uint64, l domain.Listing) (domain.Page, error)
	Account(ctx context.Context, minimum uint64, app domain.AppID, id domain.UserID) (domain.Account, uint64, error)
	App(ctx context.Context, minimum uint64, app domain.AppID) (domain.App, uint64, error)
	Apps(ctx context.Context, minimum uint64) ([]domain.App, uint64, error)
}

// Tokens knows whose token it is, see access.Service.
type Tokens interface {
	Authenticate(ctx context.Context, secret string) (access.Principal, error)
}

// Log tells of what changes, see eventstore.Store.
type Log interface {
	Last(ctx context.Context) (eventstore.Position, error)
	SubscribeApp(ctx context.Context, app string, from eventstore.Position) (eventstore.Subscription, error)
	Recorded(ctx context.Context, at eventstore.Position) (time.Time, error)
}

// Config is what a Handler is made of. All members are needed but those that say otherwise.
type Config struct {
	Queries     Queries
	Exports     Exports
	Tokens      Tokens
	Log         Log
	Audit       Audit
	Ledger      Ledger
	Erasures    Erasures
	DeadLetters DeadLetters
	// API returns the API under /v1, which takes sessions of the console. It is asked when a request comes, for the API leads here in turn.
	API func() http.Handler
	// Condition tells how the instance is.
	Condition func(context.Context) Condition

	// Secret seals sessions: at least 32 bytes, the same at all instances that one address leads to.
	Secret []byte
	// Secure tells that browsers reach the console by TLS, also where a proxy ends it.
	Secure bool
	// Version is shown to those who are signed in.
	Version string
	// Logger receives faults. Nothing is logged when nil.
	Logger *slog.Logger
	// Heartbeat is the time between signs of life in a stream without news. 15 s when zero.
	Heartbeat time.Duration
}

// Handler serves the console under /console/. It is safe for concurrent use.
type Handler struct {
	Config
	mux         *http.ServeMux
	sessions    sealer
	links       links
	languages   []*i18n.Language
	assets      *assets
	pages       map[*i18n.Language]map[string]*template.Template
	codes       wire.Codes
	crossOrigin *http.CrossOriginProtection
	streams     chan struct{} // holds one for each stream that is open

	draining context.Context // ends with Drain
	drain    context.CancelFunc
}

// The paths that others need to know.
const (
	homePath   = "/console/"
	signInPath = "/console/sign-in"
	linkPath   = "/console/link/"
)

// policy lets a page load what this service ships and pictures of accounts, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https: http:; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// New returns the console. It is an error to leave out what is needed.
func New(c Config) (*Handler, error) {
	if c.Queries == nil || c.Exports == nil || c.Tokens == nil || c.Log == nil || c.Audit == nil || c.Ledger == nil || c.Erasures == nil || c.DeadLetters == nil || c.API == nil || c.Condition == nil {
		return nil, errors.New("console: something that it asks is missing; see Config")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	h := &Handler{
		Config: c, mux: http.NewServeMux(), codes: wire.NewCodes("Idempotency-Key"),
		crossOrigin: http.NewCrossOriginProtection(), streams: make(chan struct{}, maxStreams),
	}
	h.draining, h.drain = context.WithCancel(context.Background())
	var err error
	if h.sessions, err = newSealer(c.Secret); err != nil {
		return nil, err
	}
	if h.languages, err = i18n.Languages(); err != nil {
		return nil, err
	}
	if h.assets, err = loadAssets(h.languages); err != nil {
		return nil, err
	}
	if h.pages, err = loadPages(h.assets, h.languages); err != nil {
		return nil, err
	}
	h.routes()
	return h, nil
}

// Drain makes streams end. Call it when the server begins to shut down.
func (h *Handler) Drain() { h.drain() }

// routes is what there is. A page or fragment is for those who may take one of its actions in the application that its path names.
func (h *Handler) routes() {
	h.mux.Handle("GET "+assetsPath+"{version}/{file}", h.assets)

	h.open("GET "+signInPath, h.signInPage)
	h.open("POST "+signInPath, h.signIn)
	h.open("GET "+linkPath+"{code}", h.linkPage)
	h.open("POST "+linkPath+"{code}", h.signInByLink)
	h.open("POST /console/sign-out", h.signOut)
	h.open("POST /console/preferences", h.prefer)

	h.page("GET /console/{$}", h.appsPage, access.ReadApps)
	h.fragment("GET /console/apps/new", h.newAppDialog, access.ManageApps)
	h.page("GET /console/apps/{app}", h.appHome, access.ReadApps)
	h.fragment("GET /console/apps/{app}/settings", h.appDialog, access.ManageApps)

	h.page("GET /console/apps/{app}/accounts", h.accountsPage, access.ReadApps)
	// Parts are not below accounts/, where any name is a user id.
	h.fragment("GET /console/apps/{app}/account/rows", h.accountRows, access.ReadAccounts)
	h.fragment("GET /console/apps/{app}/account/new", h.newAccountDialog, access.WriteAccounts)
	h.fragment("GET /console/apps/{app}/account/edit", h.editAccountDialog, access.WriteAccounts)
	h.fragment("GET /console/apps/{app}/account/delete", h.deleteDialog, access.WriteAccounts)
	h.fragment("GET /console/apps/{app}/account/live", h.live, access.ReadAccounts, access.Audit)

	h.page("GET /console/apps/{app}/accounts/{user_id}", h.accountPage, access.ReadAccounts, access.Audit)
	h.page("GET /console/apps/{app}/account", h.accountPage, access.ReadAccounts, access.Audit) // of an id that no path can have
	h.mux.HandleFunc("GET /console/apps/{app}/account/dotted", h.dotted)
	h.mux.HandleFunc("PATCH /console/apps/{app}/account/dotted", h.dotted)
	h.fragment("GET /console/apps/{app}/account/at", h.accountAt, access.ReadAccounts, access.Audit)
	h.fragment("GET /console/apps/{app}/account/history", h.accountHistory, access.Audit)

	h.page("GET /console/apps/{app}/audit", h.auditPage, access.Audit)
	h.fragment("GET /console/apps/{app}/audit/events", h.auditEvents, access.Audit)
	h.fragment("GET /console/apps/{app}/audit/event", h.auditEvent, access.Audit)
	h.fragment("GET /console/apps/{app}/audit/ledger", h.auditLedger, access.Audit)

	h.page("GET /console/health", h.healthPage, access.Operate)
	h.fragment("GET /console/health/state", h.healthState, access.Operate)
	h.fragment("GET /console/health/drop", h.dropDialog, access.Operate)

	h.page("GET /console/apps/{app}/import", h.importPage, access.WriteAccounts)

	h.page("GET /console/apps/{app}/exports", h.exportsPage, access.Export)
	h.fragment("GET /console/apps/{app}/exports/rows", h.exportRows, access.Export)
	h.fragment("GET /console/apps/{app}/exports/live", h.exportsLive, access.Export)
	h.fragment("GET /console/apps/{app}/exports/new", h.newExportDialog, access.Export)
	h.fragment("GET /console/apps/{app}/exports/cancel", h.cancelExportDialog, access.Export)

	h.open("/console/", h.nothingHere)
}

// open adds what anybody may ask for.
func (h *Handler) open(pattern string, serve func(*visit) error) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := h.visit(w, r)
		v.known() // whoever is signed in is greeted
		v.end(serve(v))
	})
}

// page adds a page for people. Whoever is not signed in is asked to.
func (h *Handler) page(pattern string, serve func(*visit) error, actions ...access.Action) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := h.visit(w, r)
		switch {
		case v.known():
		case v.cameByLink():
			v.askAgain()
			return
		default:
			v.askToSignIn()
			return
		}
		v.renew()
		v.end(v.guarded(serve, actions))
	})
}

// fragment adds a part of a page, or a stream, that a module asks for. What goes wrong is a problem as in the API, for the module to tell.
func (h *Handler) fragment(pattern string, serve func(*visit) error, actions ...access.Action) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := h.visit(w, r)
		v.part = true
		if !v.known() {
			v.end(wire.Refuse(wire.CodeUnauthenticated, "the session has ended; sign in again"))
			return
		}
		v.end(v.guarded(serve, actions))
	})
}

// ServeHTTP serves one request. It gives the request the pattern of its route.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", policy)
	// Not no-referrer: forms would then be sent with the origin null, which is what crossOrigin refuses where the browser tells no better.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if err := h.crossOrigin.Check(r); err != nil {
		r.Pattern = homePath
		http.Error(w, "A page of another origin gives this request.", http.StatusForbidden)
		return
	}
	h.mux.ServeHTTP(w, r)
}
