package command

import (
	"context"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// replay answers a command that had been executed before with the state right
// after it. A command that would not have led to the same event is another command.
func (x *execution) replay(ctx context.Context, out eventstore.Outcome) (Result, error) {
	first := out.Events[0]
	before, err := x.before(ctx, first)
	if err != nil {
		return Result{}, err
	}
	event, erased, err := x.service.codec.Decode(ctx, first)
	if err != nil {
		return Result{}, err
	}
	// What an erased event held can no longer be compared.
	if !isResultOf(x.cmd, first) || !erased && !x.leadsTo(before.state, event) {
		return Result{}, &domain.Rejection{
			Code:   CodeCommandIDReused,
			Detail: fmt.Sprintf("command id %q belongs to another command on %s; give this one an id of its own", x.req.ID, first.Aggregate),
		}
	}
	after := x.service.snapshots.after(before, first, event)
	return Result{
		Position: uint64(first.Position), Changed: true, Replayed: true, Created: creates(first),
		App: after.state.App, Account: after.state.Account,
	}, nil
}

// before returns the state that an event was decided on.
func (x *execution) before(ctx context.Context, env eventstore.Envelope) (snapshot, error) {
	var earlier []eventstore.Envelope
	for e, err := range x.service.store.Load(ctx, env.Aggregate) {
		if err != nil {
			return snapshot{}, fmt.Errorf("load %s: %w", env.Aggregate, err)
		}
		if e.Position >= env.Position {
			break
		}
		earlier = append(earlier, e)
	}
	return x.fold(ctx, earlier)
}

// leadsTo tells whether the command, decided on a state, leads to an event, whenever it is given.
func (x *execution) leadsTo(state domain.State, want domain.Event) bool {
	if x.onAccount() {
		state.App.ID = x.app
	}
	state.Roster.Limit = domain.HighestMaxAdmins // there was a seat then
	events, err := domain.Decide(state, x.cmd)
	return err == nil && len(events) > 0 && untimed(events[0]) == untimed(want)
}

// untimed returns an event without its time.
func untimed(e domain.Event) domain.Event {
	switch e := e.(type) {
	case domain.AppCreated:
		e.At = time.Time{}
		return e
	case domain.AppEdited:
		e.At = time.Time{}
		return e
	case domain.AccountCreated:
		e.At = time.Time{}
		return e
	case domain.AccountEdited:
		e.At = time.Time{}
		return e
	case domain.AccountDeleted:
		e.At = time.Time{}
		return e
	}
	return e
}
