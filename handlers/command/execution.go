package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// execution is one command on its way. decide may run several times; loaded
// and events are those of the last time.
type execution struct {
	service *Service
	req     Request
	cmd     domain.Command
	app     domain.AppID
	user    domain.UserID // empty for commands on applications

	newKey string // made at most once, also when the command is decided anew
	unsure bool   // an event sealed with it may be in the log
	loaded map[eventstore.AggregateID]snapshot
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
	x.unsure = x.unsure || u.Uncertain()
	x.loaded, x.events = make(map[eventstore.AggregateID]snapshot, 2), nil
	if err := x.load(ctx, u); err != nil {
		return nil, err
	}
	state := x.state()
	if x.onAccount() {
		exists, err := x.service.exists(ctx, x.app)
		if err != nil {
			return nil, err
		}
		if exists {
			state.App.ID = x.app
		}
	}
	events, err := domain.Decide(state, x.cmd)
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

// load brings in the aggregates that the command is decided on.
func (x *execution) load(ctx context.Context, u *eventstore.Unit) error {
	if !x.onAccount() {
		if err := x.fetch(ctx, u, eventstore.App(string(x.app))); err != nil {
			return err
		}
	} else if err := x.fetch(ctx, u, x.account()); err != nil {
		return err
	}
	if domain.NeedsRoster(x.state(), x.cmd) {
		return x.fetch(ctx, u, eventstore.Admins(string(x.app)))
	}
	return nil
}

func (x *execution) account() eventstore.AggregateID {
	return eventstore.Account(string(x.app), string(x.user))
}

// fetch loads one aggregate: from memory while nothing contradicts that, an account that
// is to be created as one that has no events yet, else from the log.
func (x *execution) fetch(ctx context.Context, u *eventstore.Unit, id eventstore.AggregateID) error {
	snap, known, suspect := x.service.snapshots.get(id, x.req.ID)
	if !known && id == x.account() {
		_, known = x.cmd.(domain.CreateAccount)
	}
	if known && !suspect && u.Presume(id, snap.revision) {
		x.loaded[id] = snap
		return nil
	}
	envelopes, err := u.Load(ctx, id)
	if err != nil {
		return err
	}
	if snap, err = x.fold(ctx, envelopes); err != nil {
		return err
	}
	x.loaded[id] = snap
	x.service.snapshots.put(id, snap)
	return nil
}

// fold returns the state that events of one aggregate lead to.
func (x *execution) fold(ctx context.Context, envelopes []eventstore.Envelope) (snapshot, error) {
	var snap snapshot
	for _, env := range envelopes {
		e, _, err := x.service.codec.Decode(ctx, env)
		if err != nil {
			return snapshot{}, err
		}
		snap = x.service.snapshots.after(snap, env, e)
	}
	return snap, nil
}

// state puts the states of the loaded aggregates together.
func (x *execution) state() domain.State {
	app := string(x.app)
	return domain.State{
		App:     x.loaded[eventstore.App(app)].state.App,
		Roster:  x.loaded[eventstore.Admins(app)].state.Roster,
		Account: x.loaded[x.account()].state.Account,
	}
}

// encode seals and frames an event. An account that is created gets a key of
// its own, so that nothing of an earlier account of that name can be read with it.
func (x *execution) encode(ctx context.Context, e domain.Event) (eventstore.Envelope, error) {
	key := x.loaded[x.account()].keyID
	if _, ok := e.(domain.AccountCreated); ok {
		if x.newKey == "" {
			var err error
			if x.newKey, err = x.service.keys.NewKey(ctx); err != nil {
				return eventstore.Envelope{}, fmt.Errorf("make a key for account %s: %w", x.user, err)
			}
		}
		key = x.newKey
	}
	return x.service.codec.Encode(ctx, codec.Meta{
		EventID: newEventID(), Actor: x.req.Actor, CommandID: x.req.ID, CausationID: x.req.CausationID,
		CorrelationID: x.req.CorrelationID, TraceParent: x.req.TraceParent,
	}, key, e)
}

// releaseKey gives the new key back where nothing was sealed with it in the end, so
// that commands that are refused use up no keys.
func (x *execution) releaseKey(out eventstore.Outcome, err error) {
	if x.newKey == "" || x.unsure || errors.Is(err, eventstore.ErrUnknownOutcome) {
		return
	}
	for _, env := range out.Events {
		if env.KeyID == x.newKey {
			return
		}
	}
	x.service.keys.Release(x.newKey)
}

// result is the state after the events that were just appended.
func (x *execution) result(out eventstore.Outcome) Result {
	res := Result{Position: uint64(out.Position()), Changed: len(out.Events) > 0}
	for i, env := range out.Events {
		snap := x.service.snapshots.after(x.loaded[env.Aggregate], env, x.events[i])
		x.loaded[env.Aggregate] = snap
		x.service.snapshots.put(env.Aggregate, snap)
		res.Created = res.Created || creates(env)
	}
	state := x.state()
	res.App, res.Account = state.App, state.Account
	if !res.Changed {
		res.Position = max(state.Account.Revision, state.App.Revision)
	}
	return res
}

func creates(env eventstore.Envelope) bool {
	return env.Type == codec.TypeAccountCreated || env.Type == codec.TypeAppCreated
}
