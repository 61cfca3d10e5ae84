package command

import (
	"context"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// execution is one command on its way. decide may run several times; state
// and events are those of the last time.
type execution struct {
	service *Service
	req     Request
	cmd     domain.Command
	app     domain.AppID
	user    domain.UserID // empty for commands on applications

	newKey string // made at most once, also when the command is decided anew
	keyID  string // the key of the account as it is
	state  domain.State
	events []domain.Event
}

// target stamps the command with the time and notes what it is about.
func (x *execution) target(cmd domain.Command, now time.Time) {
	switch c := cmd.(type) {
	case domain.CreateApp:
		x.app, c.At = c.App, stamp(c.At, now)
		x.cmd = c
	case domain.EditApp:
		x.app, c.At = c.App, stamp(c.At, now)
		x.cmd = c
	case domain.CreateAccount:
		x.app, x.user, c.At = c.App, c.UserID, stamp(c.At, now)
		x.cmd = c
	case domain.EditAccount:
		x.app, x.user, c.At = c.App, c.UserID, stamp(c.At, now)
		x.cmd = c
	case domain.UpsertAccount:
		x.app, x.user, c.At = c.App, c.UserID, stamp(c.At, now)
		x.cmd = c
	case domain.DeleteAccount:
		x.app, x.user, c.At = c.App, c.UserID, stamp(c.At, now)
		x.cmd = c
	default:
		x.cmd = cmd
	}
}

func stamp(at, now time.Time) time.Time {
	if at.IsZero() {
		return now
	}
	return at.UTC()
}

func (x *execution) onAccount() bool {
	switch x.cmd.(type) {
	case domain.CreateApp, domain.EditApp:
		return false
	}
	return true
}

// checkTarget refuses names that cannot be part of a subject, with the reason
// that the domain gives.
func (x *execution) checkTarget() error {
	if x.app.Valid() && (!x.onAccount() || x.user.Valid()) {
		return nil
	}
	var s domain.State
	if x.app.Valid() {
		s.App.ID = x.app
	}
	if _, err := domain.Decide(s, x.cmd); err != nil {
		return err
	}
	return fmt.Errorf("%w: application %q, account %q", eventstore.ErrInvalid, x.app, x.user)
}

func (x *execution) decide(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
	x.state, x.events, x.keyID = domain.State{}, nil, ""
	if err := x.load(ctx, u); err != nil {
		return nil, err
	}
	events, err := domain.Decide(x.state, x.cmd)
	if err != nil {
		return nil, err
	}
	envelopes := make([]eventstore.Envelope, len(events))
	for i, e := range events {
		if envelopes[i], err = x.encode(ctx, e); err != nil {
			return nil, err
		}
	}
	x.events = events
	return envelopes, nil
}

// load reads what the command is decided on.
func (x *execution) load(ctx context.Context, u *eventstore.Unit) error {
	app := string(x.app)
	if !x.onAccount() {
		if err := x.fold(ctx, u.Load, eventstore.App(app)); err != nil {
			return err
		}
		return x.fold(ctx, u.Load, eventstore.Admins(app))
	}
	ok, err := x.service.exists(ctx, x.app)
	if err != nil {
		return err
	}
	if ok {
		x.state.App.ID = x.app
	}
	load := u.Load
	if _, isNew := x.cmd.(domain.CreateAccount); isNew {
		load = u.Presume
	}
	if err := x.fold(ctx, load, eventstore.Account(app, string(x.user))); err != nil {
		return err
	}
	if domain.NeedsRoster(x.state, x.cmd) {
		return x.fold(ctx, u.Load, eventstore.Admins(app))
	}
	return nil
}

// fold evolves the state with the events of an aggregate.
func (x *execution) fold(ctx context.Context, load func(context.Context, eventstore.AggregateID) ([]eventstore.Envelope, error), id eventstore.AggregateID) error {
	envelopes, err := load(ctx, id)
	if err != nil {
		return err
	}
	for _, env := range envelopes {
		if err := x.evolve(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

func (x *execution) evolve(ctx context.Context, env eventstore.Envelope) error {
	e, _, err := x.service.codec.Decode(ctx, env)
	if err != nil {
		return err
	}
	x.state = domain.Evolve(x.state, e, uint64(env.Position))
	if env.KeyID != "" {
		x.keyID = env.KeyID
	}
	return nil
}

// encode seals and frames an event. An account that is created gets a key of
// its own, so that nothing of an earlier account of that name can be read with it.
func (x *execution) encode(ctx context.Context, e domain.Event) (eventstore.Envelope, error) {
	if _, ok := e.(domain.AccountCreated); ok {
		if x.newKey == "" {
			key, err := x.service.keys.NewKey(ctx)
			if err != nil {
				return eventstore.Envelope{}, fmt.Errorf("make a key for account %s: %w", x.user, err)
			}
			x.newKey = key
		}
		x.keyID = x.newKey
	}
	return x.service.codec.Encode(ctx, codec.Meta{
		EventID: newEventID(), Actor: x.req.Actor, CommandID: x.req.ID, CausationID: x.req.CausationID,
		CorrelationID: x.req.CorrelationID, TraceParent: x.req.TraceParent,
	}, x.keyID, e)
}

// result is the state after the events that were just appended.
func (x *execution) result(out eventstore.Outcome) Result {
	for i, env := range out.Events {
		x.state = domain.Evolve(x.state, x.events[i], uint64(env.Position))
	}
	res := Result{
		Position: uint64(out.Position()), Changed: len(out.Events) > 0, Replayed: out.Replayed,
		App: x.state.App, Account: x.state.Account,
	}
	for _, e := range out.Events {
		if e.Type == codec.TypeAccountCreated || e.Type == codec.TypeAppCreated {
			res.Created = true
		}
	}
	if res.Position == 0 {
		res.Position = max(x.state.Account.Revision, x.state.App.Revision)
	}
	return res
}

// replay answers a command that had been executed before with the state right
// after it.
func (x *execution) replay(ctx context.Context, out eventstore.Outcome) (Result, error) {
	first := out.Events[0]
	if !isResultOf(x.cmd, first) {
		return Result{}, &domain.Rejection{
			Code:   CodeCommandIDReused,
			Detail: fmt.Sprintf("command id %q belongs to another command on %s; give this one an id of its own", x.req.ID, first.Aggregate),
		}
	}
	x.state, x.keyID, x.events = domain.State{}, "", nil
	for env, err := range x.service.store.Load(ctx, first.Aggregate) {
		if err != nil {
			return Result{}, fmt.Errorf("load %s: %w", first.Aggregate, err)
		}
		if env.Position > first.Position {
			break
		}
		if err := x.evolve(ctx, env); err != nil {
			return Result{}, err
		}
	}
	return Result{
		Position: uint64(first.Position), Changed: true, Replayed: true,
		Created: first.Type == codec.TypeAccountCreated || first.Type == codec.TypeAppCreated,
		App:     x.state.App, Account: x.state.Account,
	}, nil
}
