package export

import (
	"context"
	"fmt"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Past tells what accounts were.
type Past interface {
	// AccountAt returns an account, which has got to a revision by now, as it was at an earlier position. False
	// when it was not there then, or has been deleted since: what is deleted is in no export, though it be
	// created again.
	AccountAt(ctx context.Context, app domain.AppID, id domain.UserID, revision, position uint64) (domain.Account, bool, error)
	// Created returns where the account that was deleted at a position had been created, and of which type it was.
	Created(ctx context.Context, app domain.AppID, id domain.UserID, deletion uint64) (position uint64, typ domain.AccountType, err error)
}

// Decoder understands events, see codec.Codec.
type Decoder interface {
	Decode(ctx context.Context, env eventstore.Envelope) (event domain.Event, erased bool, err error)
}

// History is the Past that the log tells. It is safe for concurrent use.
type History struct {
	log     eventstore.Loader
	decoder Decoder
}

// NewHistory returns the past of a log.
func NewHistory(log eventstore.Loader, decoder Decoder) *History {
	return &History{log: log, decoder: decoder}
}

// AccountAt folds the account's events. The list has the revision, so the log has it.
func (h *History) AccountAt(ctx context.Context, app domain.AppID, id domain.UserID, revision, position uint64) (domain.Account, bool, error) {
	var state domain.State
	gone := false // it has been deleted or erased since
	for env, err := range eventstore.LoadThrough(ctx, h.log, eventstore.Account(string(app), string(id)), eventstore.Revision(revision)) {
		var event domain.Event
		erased := false
		if err == nil {
			event, erased, err = h.decoder.Decode(ctx, env)
		}
		if err != nil {
			return domain.Account{}, false, fmt.Errorf("read the events of an account: %w", err)
		}
		if uint64(env.Position) > position {
			_, deleted := event.(domain.AccountDeleted)
			gone = gone || deleted
			continue
		}
		if _, created := event.(domain.AccountCreated); created {
			gone = false
		}
		state, gone = domain.Evolve(state, event, uint64(env.Position)), gone || erased
	}
	return state.Account, state.Account.Exists() && !gone, nil
}

// Created looks for the creation among the account's events.
func (h *History) Created(ctx context.Context, app domain.AppID, id domain.UserID, deletion uint64) (position uint64, typ domain.AccountType, err error) {
	for env, err := range eventstore.LoadThrough(ctx, h.log, eventstore.Account(string(app), string(id)), eventstore.Revision(deletion)) {
		if err == nil && uint64(env.Position) >= deletion {
			break
		}
		var event domain.Event
		if err == nil {
			event, _, err = h.decoder.Decode(ctx, env)
		}
		if err != nil {
			return 0, "", fmt.Errorf("read the events of a deleted account: %w", err)
		}
		if e, ok := event.(domain.AccountCreated); ok {
			position, typ = uint64(env.Position), e.Type
		}
	}
	return position, typ, nil
}
