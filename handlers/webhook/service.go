package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// Registry keeps registrations. What it returns is not older than what was written before it was asked. It is safe for concurrent use.
type Registry interface {
	Create(ctx context.Context, r Record) error
	// Replace keeps a record in place of the one with its revision, or returns ErrChanged.
	Replace(ctx context.Context, r Record) error
	// Get returns a record, or ErrNotFound.
	Get(ctx context.Context, app domain.AppID, id string) (Record, error)
	// List returns the records of an application.
	List(ctx context.Context, app domain.AppID) ([]Record, error)
	// Delete removes a record; one that is not there is no error.
	Delete(ctx context.Context, app domain.AppID, id string) error
}

// Deliveries keeps deliveries for some days behind their last change. It is safe for concurrent use.
type Deliveries interface {
	// Add keeps a new delivery; one that is there already stays as it is, which is no error.
	Add(ctx context.Context, d Delivery) error
	// Replace keeps a delivery in place of the one with its revision and returns the new revision, or ErrChanged.
	Replace(ctx context.Context, d Delivery) (uint64, error)
	// Get returns a delivery, or ErrNotFound.
	Get(ctx context.Context, app domain.AppID, webhook, id string) (Delivery, error)
	// List returns deliveries of a webhook without their bodies, the newest first, behind the one with the id before, from the newest on when
	// that is empty; and whether there are more.
	List(ctx context.Context, app domain.AppID, webhook, before string, limit int) ([]Delivery, bool, error)
	// Follow yields all deliveries as they are and then each that changes, until ctx ends. An error ends it.
	Follow(ctx context.Context) iter.Seq2[Delivery, error]
	// Trim removes the deliveries of an application that changed longest ago until so many are left, and returns how many it has removed.
	Trim(ctx context.Context, app domain.AppID, keep int) (removed int, err error)
	// Purge removes the deliveries of a webhook.
	Purge(ctx context.Context, app domain.AppID, webhook string) error
}

// Events are the events of exports.
type Events interface {
	// Follow yields the events from a sequence onwards, past and to come, until ctx ends. An error ends it.
	Follow(ctx context.Context, from uint64, app domain.AppID, job string) iter.Seq2[export.Event, error]
	// Load returns the events of a job in order, of each type the latest.
	Load(ctx context.Context, app domain.AppID, job string) ([]export.Event, error)
	// Last returns the sequence of the latest event, zero for none.
	Last(ctx context.Context) (uint64, error)
}

// Checkpoints keeps how far Run has come.
type Checkpoints interface {
	Get(ctx context.Context, name string) (uint64, error)
	Put(ctx context.Context, name string, position uint64) error
}

// Config tells what a Service works with. Registry, Deliveries, Events, Checkpoints and Key are needed; zero of anything else
// means the default.
type Config struct {
	Registry    Registry
	Deliveries  Deliveries
	Events      Events
	Checkpoints Checkpoints
	Key         []byte // that secrets are sealed with: KeyBytes
	// OtherKeys are keys that other instances seal secrets with, or that have sealed some before, see Reseal.
	OtherKeys [][]byte
	// AllowPrivate lets webhooks have any address, and http.
	AllowPrivate bool
	Agent        string // the User-Agent of requests
	Logger       *slog.Logger

	Timeout time.Duration // of one attempt: 15 s
	// RetryAfter is the pause behind the first attempt that failed: 5 s. It grows threefold with each one, up to MaxRetryAfter, 4 h, and
	// is spread by a quarter either way.
	RetryAfter, MaxRetryAfter time.Duration
	// GiveUpAfter is how long a delivery is tried: 24 h.
	GiveUpAfter time.Duration

	Now func() time.Time // time.Now

	// Observe, if set, is told what became of each attempt: Delivered, Pending when it will be tried again, or Failed. It is
	// called concurrently.
	Observe func(outcome Status, took time.Duration)
}

// Defaults of Config.
const (
	DefaultRetryAfter    = 5 * time.Second
	DefaultMaxRetryAfter = 4 * time.Hour
	DefaultGiveUpAfter   = 24 * time.Hour
)

// Service registers webhooks and delivers to them. It is safe for concurrent use. Deliveries are made only while Run runs,
// which one instance at a time does.
type Service struct {
	cfg         Config
	sealer      sealer
	sender      *sender
	registering sync.Mutex // so that this instance does not pass MaxPerApp

	adding sync.Mutex
	added  map[domain.AppID]int // deliveries since they were trimmed; guarded by adding
}

// New returns a service.
func New(cfg Config) (*Service, error) {
	if cfg.Registry == nil || cfg.Deliveries == nil || cfg.Events == nil || cfg.Checkpoints == nil {
		return nil, errors.New("webhooks need Registry, Deliveries, Events and Checkpoints")
	}
	sealer, err := newSealer(cfg.Key, cfg.OtherKeys...)
	if err != nil {
		return nil, err
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	cfg.Agent = cmp.Or(cfg.Agent, "Rollcall")
	cfg.Timeout = cmp.Or(cfg.Timeout, sendTimeout)
	cfg.RetryAfter = cmp.Or(cfg.RetryAfter, DefaultRetryAfter)
	cfg.MaxRetryAfter = cmp.Or(cfg.MaxRetryAfter, DefaultMaxRetryAfter)
	cfg.GiveUpAfter = cmp.Or(cfg.GiveUpAfter, DefaultGiveUpAfter)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Status, time.Duration) {}
	}
	return &Service{cfg: cfg, sealer: sealer, sender: newSender(cfg.AllowPrivate, cfg.Timeout, cfg.Agent), added: make(map[domain.AppID]int)}, nil
}

// Register makes a webhook of an application, which must exist, and returns it with its secret, which nobody can learn again. Without
// types of events it gets those of DefaultEventTypes. Events of before it are not sent.
//
// Errors: *domain.Rejection naming the bad fields, or with CodeLimit.
func (s *Service) Register(ctx context.Context, actor string, app domain.AppID, url string, events []export.EventType) (Webhook, string, error) {
	if len(events) == 0 {
		events = DefaultEventTypes()
	}
	if err := s.check(url, events); err != nil {
		return Webhook{}, "", err
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	if err := s.checkRoom(ctx, app, MaxPerApp-1); err != nil {
		return Webhook{}, "", err
	}
	after, err := s.cfg.Events.Last(ctx)
	if err != nil {
		return Webhook{}, "", fmt.Errorf("register a webhook: %w", err)
	}
	r := Record{After: after, Webhook: Webhook{
		ID: ulid.Make().String(), App: app, URL: url, Events: slices.Clone(events), CreatedAt: s.cfg.Now().UTC(), CreatedBy: actor,
	}}
	secret, sealed := s.sealer.newSecret(r.Webhook)
	r.rotate(sealed, r.CreatedAt)
	if err := s.cfg.Registry.Create(ctx, r); err != nil {
		return Webhook{}, "", fmt.Errorf("register webhook %s: %w", r.ID, err)
	}
	if err := s.checkRoom(ctx, app, MaxPerApp); err != nil { // other instances have registered some at the same moment
		return Webhook{}, "", errors.Join(err, s.cfg.Registry.Delete(context.WithoutCancel(ctx), app, r.ID))
	}
	return r.Webhook, secret, nil
}

// checkRoom returns a rejection when an application has more than so many webhooks.
func (s *Service) checkRoom(ctx context.Context, app domain.AppID, most int) error {
	all, err := s.cfg.Registry.List(ctx, app)
	switch {
	case err != nil:
		return fmt.Errorf("register a webhook: %w", err)
	case len(all) > most:
		return &domain.Rejection{Code: CodeLimit, Detail: fmt.Sprintf("application %s has %d webhooks, the most that it may have; delete one first", app, MaxPerApp)}
	}
	return nil
}

func (s *Service) check(url string, events []export.EventType) error {
	var bad []domain.FieldError
	switch what := checkURL(url, s.cfg.AllowPrivate); {
	case url == "":
		bad = append(bad, domain.FieldError{Field: "url", Code: domain.CodeRequired, Detail: "where the events are sent"})
	case what != "":
		bad = append(bad, domain.FieldError{Field: "url", Code: domain.CodeBadValue, Detail: what})
	}
	for i, e := range events {
		if !slices.Contains(EventTypes(), e) || slices.Contains(events[:i], e) {
			bad = append(bad, domain.FieldError{Field: fmt.Sprintf("events[%d]", i), Code: domain.CodeBadValue, Detail: "one of " + names(EventTypes()) + ", each once"})
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &domain.Rejection{Code: domain.CodeInvalid, Detail: "the webhook has fields that cannot be accepted", Fields: bad}
}

func names(types []export.EventType) string {
	all := make([]string, len(types))
	for i, t := range types {
		all[i] = string(t)
	}
	return strings.Join(all, ", ")
}

// List returns the webhooks of an application, the oldest first.
func (s *Service) List(ctx context.Context, app domain.AppID) ([]Webhook, error) {
	records, err := s.cfg.Registry.List(ctx, app)
	if err != nil {
		return nil, fmt.Errorf("list the webhooks of %s: %w", app, err)
	}
	hooks := make([]Webhook, len(records))
	for i, r := range records {
		hooks[i] = r.Webhook
	}
	slices.SortFunc(hooks, func(a, b Webhook) int { return strings.Compare(a.ID, b.ID) })
	return hooks, nil
}

// Get returns a webhook. Errors: *domain.Rejection with CodeNotFound.
func (s *Service) Get(ctx context.Context, app domain.AppID, id string) (Webhook, error) {
	r, err := s.get(ctx, app, id)
	return r.Webhook, err
}

func (s *Service) get(ctx context.Context, app domain.AppID, id string) (Record, error) {
	if _, err := ulid.ParseStrict(id); err != nil {
		return Record{}, notFound(app, id)
	}
	r, err := s.cfg.Registry.Get(ctx, app, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return Record{}, notFound(app, id)
	case err != nil:
		return Record{}, fmt.Errorf("get webhook %s: %w", id, err)
	}
	return r, nil
}

func notFound(app domain.AppID, id string) error {
	return &domain.Rejection{Code: CodeNotFound, Detail: fmt.Sprintf("there is no webhook %q in application %s; the list of them shows the ids", id, app)}
}

// Delete removes a webhook with its deliveries. A request that is on its way may still arrive. Errors: *domain.Rejection with
// CodeNotFound.
func (s *Service) Delete(ctx context.Context, app domain.AppID, id string) error {
	if _, err := s.get(ctx, app, id); err != nil {
		return err
	}
	if err := s.cfg.Registry.Delete(ctx, app, id); err != nil {
		return fmt.Errorf("delete webhook %s: %w", id, err)
	}
	if err := s.cfg.Deliveries.Purge(ctx, app, id); err != nil {
		// Nothing is sent any more; what is kept goes by its age.
		s.cfg.Logger.Warn("the deliveries of a deleted webhook are kept until they are old", "app", app, "webhook", id, "error", err)
	}
	return nil
}

// Rotate gives a webhook a new secret and returns it. For a day the old one signs too. Errors: *domain.Rejection with CodeNotFound.
func (s *Service) Rotate(ctx context.Context, app domain.AppID, id string) (Webhook, string, error) {
	var secret string
	r, err := s.change(ctx, app, id, func(r *Record) {
		var sealed SealedSecret
		secret, sealed = s.sealer.newSecret(r.Webhook)
		r.rotate(sealed, s.cfg.Now().UTC())
	})
	return r.Webhook, secret, err
}

// change edits a record, again when somebody else was faster.
func (s *Service) change(ctx context.Context, app domain.AppID, id string, edit func(*Record)) (Record, error) {
	for {
		r, err := s.get(ctx, app, id)
		if err != nil {
			return r, err
		}
		edit(&r)
		err = s.cfg.Registry.Replace(ctx, r)
		switch {
		case errors.Is(err, ErrChanged):
			continue
		case err != nil:
			return r, fmt.Errorf("change webhook %s: %w", id, err)
		}
		return r, nil
	}
}
