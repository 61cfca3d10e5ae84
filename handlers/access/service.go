package access

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
)

// CodeTokenNotFound is the code of a rejection: there is no such token, or none
// that the principal may know of.
const CodeTokenNotFound domain.Code = "token_not_found"

// Errors of a Service. Test for them with errors.Is.
var (
	// ErrUnauthenticated means that a secret is none of a token that is good.
	ErrUnauthenticated = errors.New("the token is missing, unknown or revoked")
	// ErrUnavailable means that the stored tokens cannot be reached, or have not been read yet.
	ErrUnavailable = errors.New("the tokens cannot be reached")
	// ErrNoRecord is returned by a Store that has no record of a token.
	ErrNoRecord = errors.New("no such token")
)

// Store keeps tokens. Implementations are safe for concurrent use.
type Store interface {
	// Create keeps a new record, on disk when it returns.
	Create(ctx context.Context, r Record) error
	// Replace keeps a record in place of the one with the same id, on disk when it returns.
	Replace(ctx context.Context, r Record) error
	// Get returns a record, or ErrNoRecord.
	Get(ctx context.Context, id string) (Record, error)
	// Watch yields all records at once, none as an empty slice, and from then on those that are created or
	// replaced, by any instance, within a second. A record may be yielded again. An error is a fault that Watch recovers from
	// by itself; then it yields all records again. It ends with the context.
	Watch(ctx context.Context) iter.Seq2[[]Record, error]
}

// Options are optional settings of a Service. The zero value is useful.
type Options struct {
	Now    func() time.Time // the clock, time.Now by default
	Logger *slog.Logger     // nothing is logged when nil
	// Revoked, if set, is told the id of each token whose revocation has become known, after Authenticate refuses it. It is
	// called concurrently.
	Revoked func(tokenID string)
}

// Service makes, checks and revokes tokens. It is safe for concurrent use. It
// knows stored tokens only while Run runs.
type Service struct {
	store    Store
	now      func() time.Time
	log      *slog.Logger
	revoked  func(tokenID string)
	operator Hash // zero when there is no operator's token

	loaded chan struct{}                     // closed once all records have been read
	known  atomic.Pointer[map[string]Record] // by id; the map is replaced, never changed
	fault  atomic.Pointer[error]             // why the store is not followed at the moment
	mu     sync.Mutex                        // guards the replacing of known, and the closing of loaded
}

// New returns a service that keeps tokens in store. The operator's token is
// good besides the stored ones and is not stored itself; without one, empty, only stored tokens are good.
// CheckOperatorToken tells whether it is strong enough.
func New(store Store, operatorToken string, opts Options) *Service {
	s := &Service{store: store, now: opts.Now, log: opts.Logger, revoked: opts.Revoked, loaded: make(chan struct{})}
	if s.revoked == nil {
		s.revoked = func(string) {}
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if operatorToken != "" && len(operatorToken) <= maxSecretBytes {
		s.operator = hashOf(operatorToken)
	}
	s.known.Store(&map[string]Record{})
	return s
}

// Run follows the store until the context ends, whose error it returns.
func (s *Service) Run(ctx context.Context) error {
	for records, err := range s.store.Watch(ctx) {
		if err != nil {
			if s.fault.Swap(&err) == nil { // the first of what may be many
				s.log.Warn("tokens are not followed; a token revoked by another instance stays good here until they are", "error", err)
			}
			continue
		}
		s.learn(records...)
		s.markLoaded()
		if s.fault.Swap(nil) != nil {
			s.log.Info("tokens are followed again")
		}
	}
	return ctx.Err()
}

// Wait waits until all stored tokens have been read, or the context ends.
func (s *Service) Wait(ctx context.Context) error {
	select {
	case <-s.loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: they have not been read yet: %w", ErrUnavailable, ctx.Err())
	}
}

// Ready returns nil when tokens are known and followed, and otherwise an error that
// is ErrUnavailable. When not ready, Authenticate still knows what it knew.
func (s *Service) Ready() error {
	if err := s.fault.Load(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, *err)
	}
	if !s.isLoaded() {
		return fmt.Errorf("%w: they have not been read yet", ErrUnavailable)
	}
	return nil
}

// Authenticate returns whose secret it is. It works from memory, without waiting
// for anything. Errors: ErrUnauthenticated; ErrUnavailable before the stored tokens have been read.
func (s *Service) Authenticate(_ context.Context, secret string) (Principal, error) {
	if secret == "" || len(secret) > maxSecretBytes {
		return Principal{}, ErrUnauthenticated
	}
	h := hashOf(secret)
	if (Record{Hash: s.operator}).matches(h) {
		return operatorPrincipal(), nil
	}
	id, ok := tokenID(secret)
	if !ok {
		return Principal{}, ErrUnauthenticated
	}
	if r, ok := s.lookup(id); ok {
		if r.matches(h) {
			return r.principal(), nil
		}
		return Principal{}, ErrUnauthenticated
	}
	if !s.isLoaded() {
		return Principal{}, fmt.Errorf("%w: they have not been read yet", ErrUnavailable)
	}
	return Principal{}, ErrUnauthenticated
}

// Create makes a token and returns it with its secret, which nobody can learn again.
// An operator makes any token; an administrator those of the own application, but
// no operator's. The token is good at once here, and within a second on other instances.
//
// Errors: *domain.Rejection naming the bad fields; ErrForbidden; ErrUnavailable.
func (s *Service) Create(ctx context.Context, by Principal, name string, role Role, app string) (secret string, _ Token, err error) {
	if err := by.Authorize(ManageTokens, by.App); err != nil {
		return "", Token{}, err
	}
	t := Token{ID: ulid.Make().String(), Name: name, Role: role, App: app, CreatedAt: s.now().UTC(), CreatedBy: by.Actor()}
	if err := t.check(); err != nil {
		return "", Token{}, err
	}
	// An operator's token has no application, which only an operator is permitted.
	if err := by.Authorize(ManageTokens, t.App); err != nil {
		return "", Token{}, err
	}
	secret = newSecret(t.ID)
	r := Record{Token: t, Hash: hashOf(secret)}
	if err := s.store.Create(ctx, r); err != nil {
		return "", Token{}, fmt.Errorf("%w: keep the new token: %w", ErrUnavailable, err)
	}
	s.learn(r)
	return secret, t, nil
}

// List returns the tokens of an application, revoked ones too, in the order
// they were created in. An empty app means all applications and operators' tokens
// for an operator, and the own application for an administrator.
//
// Errors: ErrForbidden; ErrUnavailable before the stored tokens have been read.
func (s *Service) List(_ context.Context, by Principal, app string) ([]Token, error) {
	if app == "" {
		app = by.App
	}
	if err := by.Authorize(ManageTokens, app); err != nil {
		return nil, err
	}
	if !s.isLoaded() {
		return nil, fmt.Errorf("%w: they have not been read yet", ErrUnavailable)
	}
	tokens := []Token{}
	for _, r := range *s.known.Load() {
		if app == "" || r.App == app {
			tokens = append(tokens, r.Token)
		}
	}
	slices.SortFunc(tokens, func(a, b Token) int { return strings.Compare(a.ID, b.ID) })
	return tokens, nil
}

// Revoke ends a token for good and returns it. It stops working at once here, and
// within a second on other instances. To revoke a revoked token changes nothing.
//
// Errors: *domain.Rejection with CodeTokenNotFound; ErrForbidden; ErrUnavailable.
func (s *Service) Revoke(ctx context.Context, by Principal, id string) (Token, error) {
	if err := by.Authorize(ManageTokens, by.App); err != nil {
		return Token{}, err
	}
	r, err := s.find(ctx, id)
	if err != nil {
		return Token{}, err
	}
	if !by.May(ManageTokens, r.App) {
		return Token{}, notFound(id) // that it exists is not for this principal to know
	}
	if r.Revoked() {
		return r.Token, nil
	}
	r.RevokedAt, r.RevokedBy, r.Hash = s.now().UTC(), by.Actor(), Hash{}
	if err := s.store.Replace(ctx, r); err != nil {
		return Token{}, fmt.Errorf("%w: keep the revocation of token %s: %w; it may be good still, revoke it again", ErrUnavailable, id, err)
	}
	s.learn(r)
	return r.Token, nil
}

// find returns a record from memory or, where another instance has just made it, from the store.
func (s *Service) find(ctx context.Context, id string) (Record, error) {
	if _, err := ulid.ParseStrict(id); err != nil {
		return Record{}, notFound(id)
	}
	if r, ok := s.lookup(id); ok {
		return r, nil
	}
	r, err := s.store.Get(ctx, id)
	switch {
	case errors.Is(err, ErrNoRecord):
		return Record{}, notFound(id)
	case err != nil:
		return Record{}, fmt.Errorf("%w: look up token %s: %w", ErrUnavailable, id, err)
	}
	return r, nil
}

func notFound(id string) error {
	return &domain.Rejection{Code: CodeTokenNotFound, Detail: fmt.Sprintf("there is no token with the id %q; the list of tokens shows the ids", id)}
}

func (s *Service) lookup(id string) (Record, bool) {
	r, ok := (*s.known.Load())[id]
	return r, ok
}

// learn adds records to what is known.
func (s *Service) learn(records ...Record) {
	if len(records) == 0 {
		return
	}
	s.mu.Lock()
	known := maps.Clone(*s.known.Load())
	var revoked []string
	for _, r := range records {
		before := known[r.ID]
		known[r.ID] = before.merge(r)
		if before.ID != "" && !before.Revoked() && known[r.ID].Revoked() {
			revoked = append(revoked, r.ID)
		}
	}
	s.known.Store(&known)
	s.mu.Unlock()
	for _, id := range revoked {
		s.revoked(id)
	}
}

func (s *Service) isLoaded() bool {
	select {
	case <-s.loaded:
		return true
	default:
		return false
	}
}

func (s *Service) markLoaded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isLoaded() {
		close(s.loaded)
	}
}

// Principal returns who has the token with an id, also after it has been revoked: what was sent with it before
// is still theirs. It asks the store for a token that another instance has just made.
//
// Errors: ErrUnauthenticated when there is no such token; ErrUnavailable.
func (s *Service) Principal(ctx context.Context, tokenID string) (Principal, error) {
	if tokenID == operatorID {
		return operatorPrincipal(), nil
	}
	r, err := s.find(ctx, tokenID)
	if errors.Is(err, CodeTokenNotFound) {
		return Principal{}, fmt.Errorf("%w: there is no token with the id %q", ErrUnauthenticated, tokenID)
	}
	return r.principal(), err
}

// Current returns who has the token with an id, while it is good. It works from memory. Errors: ErrUnauthenticated.
func (s *Service) Current(tokenID string) (Principal, error) {
	if tokenID == operatorID && s.operator != (Hash{}) {
		return operatorPrincipal(), nil
	}
	r, ok := s.lookup(tokenID)
	if !ok || r.Revoked() {
		return Principal{}, ErrUnauthenticated
	}
	return r.principal(), nil
}

// operatorPrincipal is who has the token that the service was started with.
func operatorPrincipal() Principal {
	return Principal{TokenID: operatorID, Name: operatorID, Role: Operator}
}
