// Package command executes the commands on applications and accounts: it loads
// what a command is decided on, lets the domain decide, and appends the events.
//
// It owns the use cases that write. It must never touch a read model or know by
// which transport a command came.
package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// CodeCommandIDReused is the code of a rejection: the command id belongs to
// another command.
const CodeCommandIDReused domain.Code = "command_id_reused"

// MaxCommandIDBytes bounds a command id.
const MaxCommandIDBytes = 64

// Keys makes the keys that personal data is sealed with. A key is on disk
// before it is returned. Release takes one back with which nothing in the log is sealed.
type Keys interface {
	NewKey(ctx context.Context) (string, error)
	Release(keyID string)
}

// Request tells who gives a command, under which id and why.
type Request struct {
	ID            string // command id, 1 to 64 bytes of visible ASCII
	Actor         string
	CausationID   string
	CorrelationID string
	TraceParent   string
}

// Result tells what a command that was not refused has led to.
type Result struct {
	// Position is the log position from which on reads show the command's effect: the new
	// revision or, where nothing changed, the one that the command was decided on.
	Position uint64
	Changed  bool // events were written, now or the first time
	Created  bool // the account or application is new
	Replayed bool // the command had been executed before
	App      domain.App
	Account  domain.Account // as the command left it; does not exist after a deletion
}

// Options are optional settings of a Service. The zero value is useful.
type Options struct {
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Observe, if set, is told of every command, with the context that it was executed in. It is called concurrently.
	Observe func(context.Context, Observation)
}

// Observation tells what became of one command.
type Observation struct {
	Verb    string // one of Verbs
	Outcome string // one of the outcomes below, or a rejection's code
	Took    time.Duration
}

// Outcomes of commands that were not refused.
const (
	OutcomeAccepted  = "accepted"
	OutcomeUnchanged = "unchanged"
	OutcomeReplayed  = "replayed"
	OutcomeFailed    = "failed" // what became of it may be unknown
)

// Service executes commands. It is safe for concurrent use.
type Service struct {
	store eventstore.Store
	codec *codec.Codec
	keys  Keys
	opts  Options
	apps  sync.Map // domain.AppID of applications known to exist; they are never deleted

	snapshots *snapshots
}

// New returns a service that appends to store.
func New(store eventstore.Store, c *codec.Codec, keys Keys, opts Options) *Service {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Observe == nil {
		opts.Observe = func(context.Context, Observation) {}
	}
	return &Service{store: store, codec: c, keys: keys, opts: opts, snapshots: newSnapshots()}
}

// Execute decides a command and appends its events. A command that was
// executed before under the same id is not executed again; its first result is returned.
//
// Errors: *domain.Rejection when the command is refused; otherwise those of
// eventstore.Execute: after ErrUnknownOutcome the same command may be given again
// under the same id.
func (s *Service) Execute(ctx context.Context, req Request, cmd domain.Command) (Result, error) {
	if err := checkID(req.ID); err != nil {
		return Result{}, err
	}
	return s.observed(ctx, req, cmd)
}

// observed executes a command whose id has been checked.
func (s *Service) observed(ctx context.Context, req Request, cmd domain.Command) (Result, error) {
	start := s.opts.Now()
	res, err := s.execute(ctx, req, cmd)
	s.opts.Observe(ctx, Observation{Verb: verb(cmd), Outcome: outcome(res, err), Took: s.opts.Now().Sub(start)})
	return res, err
}

func (s *Service) execute(ctx context.Context, req Request, cmd domain.Command) (Result, error) {
	x := execution{service: s, req: req}
	x.target(cmd, s.opts.Now().UTC())
	if err := x.checkTarget(); err != nil {
		return Result{}, err
	}
	out, err := eventstore.Execute(ctx, s.store, req.ID, x.decide)
	x.releaseKey(out, err)
	if err != nil {
		return Result{}, err
	}
	if out.Replayed {
		return x.replay(ctx, out)
	}
	return x.result(out), nil
}

func checkID(id string) error {
	if id == "" || len(id) > MaxCommandIDBytes || strings.ContainsFunc(id, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		detail := fmt.Sprintf("1 to %d visible ASCII characters", MaxCommandIDBytes)
		return &domain.Rejection{
			Code: domain.CodeInvalid, Detail: "the command id cannot be accepted",
			Fields: []domain.FieldError{{Field: "command_id", Code: domain.CodeBadValue, Detail: detail}},
		}
	}
	return nil
}

// exists tells whether an application exists, as the leader of the log knows it.
func (s *Service) exists(ctx context.Context, app domain.AppID) (bool, error) {
	if _, ok := s.apps.Load(app); ok {
		return true, nil
	}
	rev, err := s.store.Revision(ctx, eventstore.App(string(app)))
	if err != nil {
		return false, fmt.Errorf("look up application %s: %w", app, err)
	}
	if rev == 0 {
		return false, nil
	}
	s.apps.Store(app, struct{}{})
	return true, nil
}

// Verbs returns the names of all commands.
func Verbs() []string {
	return []string{"create", "edit", "delete", "upsert", "create_app", "edit_app"}
}

// verb names a command for people and metrics.
func verb(cmd domain.Command) string {
	switch cmd.(type) {
	case domain.CreateApp:
		return "create_app"
	case domain.EditApp:
		return "edit_app"
	case domain.CreateAccount:
		return "create"
	case domain.EditAccount:
		return "edit"
	case domain.UpsertAccount:
		return "upsert"
	case domain.DeleteAccount:
		return "delete"
	}
	return "unknown"
}

func outcome(res Result, err error) string {
	var r *domain.Rejection
	switch {
	case errors.As(err, &r):
		return string(r.Code)
	case err != nil:
		return OutcomeFailed
	case res.Replayed:
		return OutcomeReplayed
	case !res.Changed:
		return OutcomeUnchanged
	}
	return OutcomeAccepted
}

// resultTypes lists the types of events that a command may lead to on its own
// aggregate.
func resultTypes(cmd domain.Command) []string {
	switch cmd.(type) {
	case domain.CreateApp:
		return []string{codec.TypeAppCreated}
	case domain.EditApp:
		return []string{codec.TypeAppEdited}
	case domain.CreateAccount:
		return []string{codec.TypeAccountCreated}
	case domain.EditAccount:
		return []string{codec.TypeAccountEdited}
	case domain.UpsertAccount:
		return []string{codec.TypeAccountCreated, codec.TypeAccountEdited}
	case domain.DeleteAccount:
		return []string{codec.TypeAccountDeleted}
	}
	return nil
}

func isResultOf(cmd domain.Command, e eventstore.Envelope) bool {
	return slices.Contains(resultTypes(cmd), e.Type)
}

func newEventID() string { return ulid.Make().String() }
