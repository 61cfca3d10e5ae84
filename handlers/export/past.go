package export

import (
	"context"
	"fmt"
	"iter"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Past tells what accounts were.
type Past interface {
	// AccountAt returns an account, which has got to a revision by now, as it was at an earlier position. False
	// when it was not there then, or has been deleted since: what is deleted is in no export, though it be
	// created again.
	AccountAt(ctx context.Context, app domain.AppID, id domain.UserID, revision, position uint64) (domain.Account, bool, error)
}

// Loader reads the events of an account, see eventstore.Store.
type Loader interface {
	Load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error]
}

// Decoder understands events, see codec.Codec.
type Decoder interface {
	Decode(ctx context.Context, env eventstore.Envelope) (event domain.Event, erased bool, err error)
}

// History is the Past that the log tells. It is safe for concurrent use.
type History struct {
	log     Loader
	decoder Decoder
}

// NewHistory returns the past of a log.
func NewHistory(log Loader, decoder Decoder) *History { return &History{log: log, decoder: decoder} }

// AccountAt folds the account's events.
func (h *History) AccountAt(ctx context.Context, app domain.AppID, id domain.UserID, revision, position uint64) (domain.Account, bool, error) {
	const between = 20 * time.Millisecond
	for {
		a, there, seen, err := h.fold(ctx, app, id, position)
		switch {
		case err != nil:
			return domain.Account{}, false, fmt.Errorf("read the events of an account: %w", err)
		case seen >= revision:
			return a, there, nil
		}
		// A replica that is behind has answered. The list has the revision, so the log has it.
		if sleep(ctx, between); ctx.Err() != nil {
			return domain.Account{}, false, context.Cause(ctx)
		}
	}
}

// fold returns the account as it was, whether it was there and has stayed, and the last position that was read.
func (h *History) fold(ctx context.Context, app domain.AppID, id domain.UserID, position uint64) (a domain.Account, there bool, seen uint64, err error) {
	var state domain.State
	gone := false // it has been deleted or erased since
	for env, err := range h.log.Load(ctx, eventstore.Account(string(app), string(id))) {
		if err != nil {
			return domain.Account{}, false, 0, err
		}
		event, erased, err := h.decoder.Decode(ctx, env)
		if err != nil {
			return domain.Account{}, false, 0, err
		}
		if seen = uint64(env.Position); seen > position {
			_, deleted := event.(domain.AccountDeleted)
			gone = gone || deleted
			continue
		}
		if _, created := event.(domain.AccountCreated); created {
			gone = false
		}
		state, gone = domain.Evolve(state, event, seen), gone || erased
	}
	return state.Account, state.Account.Exists() && !gone, seen, nil
}
