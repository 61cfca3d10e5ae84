package erasure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// Actor is who records erasures in the log.
const Actor = "rollcall"

// recordAtOnce is how many erasures are appended side by side, so that they share commits of the log.
const recordAtOnce = 64

// Log records erasures as account.erased events, each on the subject of the account's erasures. That subject is apart from the
// account's own: the account may have been created again, and its revision, which clients hold as an ETag, must not
// move for what became of the one before.
//
// The id of the deletion's event is the command id of the record, so that a record is made once, however often
// it is asked for and by however many instances. It is safe for concurrent use.
type Log struct {
	store eventstore.Store
	codec *codec.Codec
	now   func() time.Time
}

// NewLog returns what records erasures in store.
func NewLog(store eventstore.Store, c *codec.Codec) *Log {
	return &Log{store: store, codec: c, now: time.Now}
}

// Record records erasures. When it returns nil, all are on disk. Those that failed do not stop the others.
//
// Errors: those of eventstore.Execute, joined.
func (l *Log) Record(ctx context.Context, accounts []Erased) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		free = make(chan struct{}, recordAtOnce)
	)
	for _, of := range inOrder(accounts) {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			for _, a := range of {
				if err := l.record(ctx, a); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("record the erasure of account %s of application %s: %w", a.UserID, a.App, err))
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// inOrder groups deletions by account: those of one account are recorded in their order.
func inOrder(accounts []Erased) map[eventstore.AggregateID][]Erased {
	groups := make(map[eventstore.AggregateID][]Erased, len(accounts))
	for _, a := range accounts {
		id := eventstore.Erased(a.App, a.UserID)
		groups[id] = append(groups[id], a)
	}
	return groups
}

func (l *Log) record(ctx context.Context, a Erased) error {
	at := l.now().UTC()
	_, err := eventstore.Execute(ctx, l.store, a.Deletion.ID, func(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
		state, err := l.load(ctx, u, eventstore.Erased(a.App, a.UserID))
		if err != nil {
			return nil, err
		}
		events, err := domain.Decide(state, domain.RecordErasure{
			App: domain.AppID(a.App), UserID: domain.UserID(a.UserID), Deletion: uint64(a.Position()), DeletedAt: a.Deletion.Recorded, At: at,
		})
		if err != nil {
			return nil, err
		}
		envelopes := make([]eventstore.Envelope, len(events))
		for i, e := range events {
			meta := codec.Meta{
				EventID: ulid.Make().String(), Actor: Actor, CommandID: a.Deletion.ID,
				CausationID: a.Deletion.ID, CorrelationID: a.Deletion.CorrelationID, TraceParent: a.Deletion.TraceParent,
			}
			if envelopes[i], err = l.codec.Encode(ctx, meta, a.KeyID, e); err != nil {
				return nil, err
			}
		}
		return envelopes, nil
	})
	return err
}

// load returns what is recorded of an account. Most were never erased before; then the append spares a read.
func (l *Log) load(ctx context.Context, u *eventstore.Unit, id eventstore.AggregateID) (state domain.State, err error) {
	if u.Presume(id, 0) {
		return state, nil
	}
	envelopes, err := u.Load(ctx, id)
	if err != nil {
		return state, err
	}
	for _, env := range envelopes {
		e, _, err := l.codec.Decode(ctx, env)
		if err != nil {
			return state, err
		}
		state = domain.Evolve(state, e, uint64(env.Position))
	}
	return state, nil
}
