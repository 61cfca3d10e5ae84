// Package erasure makes the personal data of deleted accounts unrecoverable: it
// follows the log and destroys the key that the data of each deleted account was sealed with.
//
// It owns the order in which that happens: the key first, then copies outside the log, then
// the record in the log that it is done, then the checkpoint. It must never pass a deletion whose key is not destroyed, and never
// append an event but that record. Keys wait for nobody: while the copies of one account cannot be removed, the keys of those deleted behind it
// are destroyed all the same.
package erasure

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// ErrFenced means that events do not follow the reactor's checkpoint.
var ErrFenced = errors.New("the events do not follow the checkpoint of erasure")

// Keys destroys keys. It is safe for concurrent use. When Destroy returns nil, nothing that was sealed with
// the keys can be unsealed again. To destroy a key again is no error.
type Keys interface {
	Destroy(ctx context.Context, keyIDs ...string) error
}

// Checkpoints keeps the reactor's checkpoint by its name. Get returns zero when there is none.
type Checkpoints interface {
	Get(ctx context.Context, name string) (uint64, error)
	Put(ctx context.Context, name string, position uint64) error
}

// Records records in the log that accounts are erased. To record the same again is no error and changes nothing.
type Records interface {
	Record(ctx context.Context, accounts []Erased) error
}

// Erased is an account whose key has been destroyed.
type Erased struct {
	App      string
	UserID   string
	KeyID    string // empty when the account never had one
	Deletion eventstore.Envelope
}

// Position returns the position of the deletion.
func (e Erased) Position() eventstore.Position { return e.Deletion.Position }

// Forgetter removes copies of accounts that are kept outside the log, such as export
// files. It may be told of the same account again. What was copied at or after the
// position of a deletion is not of that account: the user id may have been given anew since.
type Forgetter interface {
	Forget(ctx context.Context, accounts []Erased) error
}

// DefaultPersistEvery is how many events without a deletion may pass before
// the checkpoint is kept.
const DefaultPersistEvery = 10_000

// Deletions is the log that deletions are read from, see eventstore.Store.
type Deletions interface {
	Last(ctx context.Context) (eventstore.Position, error)
	Read(ctx context.Context, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error]
}

// Options are optional settings of a Reactor. The zero value is useful.
type Options struct {
	// Ahead is where deletions are looked for whose keys are to be destroyed while copies of others cannot be removed. Keys
	// wait for copies when nil.
	Ahead Deletions
	// Erased is told how many accounts have been recorded as erased. Nobody is when nil.
	Erased func(accounts int)
	// Forgetters are told, in this order, of accounts whose keys have been destroyed, in another goroutine than that of Apply, which
	// waits for it.
	Forgetters []Forgetter
	// PersistEvery is how many events may pass before the checkpoint is kept, DefaultPersistEvery
	// by default. It bounds what is gone through again after a crash.
	PersistEvery uint64
	// Logger gets trouble with keeping the checkpoint and with destroying keys ahead. Nothing is logged when nil.
	Logger *slog.Logger
}

// Reactor destroys the keys of deleted accounts. It has the shape of a
// projections.Projection, so a runner feeds it and waits on it: a position
// that the runner has reached is one up to which every deleted account is erased.
//
// An edit that races a deletion leaves nothing behind that is sealed with the
// destroyed key and could be read, nor does it revive the key. Every append
// of an account's event is guarded by the account's revision, so an edit decided before the
// deletion either stands before it in the log, or its append conflicts and it is decided anew on
// a deleted account. No event sealed with a key can therefore follow the AccountDeleted that
// names the key, and an account that is created again under the same user id has a key of
// its own.
//
// One goroutine at a time calls Apply, Idle and Close; Checkpoint may be called at any time.
type Reactor struct {
	keys        Keys
	records     Records
	checkpoints Checkpoints
	opts        Options

	mu         sync.Mutex
	loaded     bool
	checkpoint eventstore.Position // all before and at it is erased
	persisted  eventstore.Position // what checkpoints holds, at most checkpoint
	ahead      eventstore.Position // keys of deletions up to it are destroyed, where it is behind checkpoint
	stuck      bool                // what is to be done behind the checkpoint has failed and is repeated
	kept       time.Time           // when; only Apply, Idle and Close use it
}

// keepEvery is how often the checkpoint is kept while there are events, so that other instances know how far erasure is.
const keepEvery = time.Second

// New returns a reactor that destroys keys, records that in records and keeps its checkpoint in checkpoints.
func New(keys Keys, records Records, checkpoints Checkpoints, opts Options) *Reactor {
	if opts.PersistEvery == 0 {
		opts.PersistEvery = DefaultPersistEvery
	}
	if opts.Erased == nil {
		opts.Erased = func(int) {}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Reactor{keys: keys, records: records, checkpoints: checkpoints, opts: opts}
}

// Name returns the name of the reactor, which its checkpoint is kept under.
func (r *Reactor) Name() string { return "erasure" }

// Checkpoint returns the position up to which deleted accounts are erased: from the first Apply until Close from memory,
// which is never behind what is kept, and otherwise what is kept, which another instance may move.
func (r *Reactor) Checkpoint(ctx context.Context) (eventstore.Position, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read(ctx)
}

// read returns the checkpoint. The mutex is held.
func (r *Reactor) read(ctx context.Context) (eventstore.Position, error) {
	if r.loaded {
		return r.checkpoint, nil
	}
	n, err := r.checkpoints.Get(ctx, r.Name())
	if err != nil {
		return 0, fmt.Errorf("read the checkpoint of %s: %w", r.Name(), err)
	}
	return eventstore.Position(n), nil
}

// begin returns the checkpoint, and has it in memory from then on.
func (r *Reactor) begin(ctx context.Context) (eventstore.Position, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	checkpoint, err := r.read(ctx)
	if err == nil && !r.loaded {
		r.checkpoint, r.persisted, r.loaded, r.kept = checkpoint, checkpoint, true, time.Now()
	}
	return checkpoint, err
}

// Apply destroys the keys of the accounts that the events delete, tells the
// forgetters, records that it is done, and moves the checkpoint to the last event. When it returns nil, all of
// that is done. After an error the same events are to be applied again, which is harmless
// whatever part was done.
//
// Errors: ErrFenced when the checkpoint is not at from; those of Keys, Records and of the forgetters.
func (r *Reactor) Apply(ctx context.Context, from eventstore.Position, events []eventstore.Envelope) error {
	checkpoint, err := r.begin(ctx)
	if err != nil {
		return err
	}
	if checkpoint != from {
		return fmt.Errorf("%w: it is %d and the events follow %d", ErrFenced, checkpoint, from)
	}
	if len(events) == 0 {
		return nil
	}
	erased := deletions(events)
	if err := r.erase(ctx, erased, events[len(events)-1].Position); err != nil {
		return err
	}
	persisted, position := r.move(events[len(events)-1].Position)
	if len(erased) > 0 || uint64(position-persisted) >= r.opts.PersistEvery || time.Since(r.kept) >= keepEvery {
		// The keys are destroyed: that the checkpoint could not be kept only means that they may be destroyed again.
		if err := r.persist(ctx); err != nil {
			r.opts.Logger.WarnContext(ctx, "the checkpoint of erasure is kept later", "error", err)
		}
	}
	return nil
}

// deletions returns the accounts that events delete.
func deletions(events []eventstore.Envelope) []Erased {
	var erased []Erased
	for _, e := range events {
		if e.Type == codec.TypeAccountDeleted {
			erased = append(erased, Erased{App: e.Aggregate.App, UserID: e.Aggregate.Name, KeyID: e.KeyID, Deletion: e})
		}
	}
	return erased
}

// erase destroys the keys of the accounts that are deleted in events up to a position, has the accounts forgotten and then records it.
func (r *Reactor) erase(ctx context.Context, accounts []Erased, through eventstore.Position) error {
	if len(accounts) == 0 {
		return nil
	}
	err := r.destroy(ctx, accounts)
	if err == nil {
		r.reached(through)
		err = r.whileAhead(ctx, func() error { return r.conclude(ctx, accounts) })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stuck = err != nil
	return err
}

// destroy destroys the keys of accounts.
func (r *Reactor) destroy(ctx context.Context, accounts []Erased) error {
	ids := make([]string, 0, len(accounts))
	for _, a := range accounts {
		if a.KeyID != "" {
			ids = append(ids, a.KeyID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := r.keys.Destroy(ctx, ids...); err != nil {
		return fmt.Errorf("destroy the keys of %d deleted accounts: %w", len(ids), err)
	}
	return nil
}

// conclude has accounts forgotten whose keys are destroyed, and records it.
func (r *Reactor) conclude(ctx context.Context, accounts []Erased) error {
	for _, f := range r.opts.Forgetters {
		if err := f.Forget(ctx, accounts); err != nil {
			return fmt.Errorf("remove copies of %d deleted accounts: %w", len(accounts), err)
		}
	}
	if err := r.records.Record(ctx, accounts); err != nil {
		return fmt.Errorf("record the erasure of %d deleted accounts: %w", len(accounts), err)
	}
	r.opts.Erased(len(accounts))
	return nil
}

// move moves the checkpoint in memory and returns the one that is kept and the new one.
func (r *Reactor) move(to eventstore.Position) (persisted, checkpoint eventstore.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkpoint = to
	return r.persisted, r.checkpoint
}

// Idle keeps the checkpoint when it has moved since it was kept.
func (r *Reactor) Idle(ctx context.Context) error { return r.persist(ctx) }

// Close keeps the checkpoint when it has moved since it was kept, and forgets it. It is called when Apply is not called for now, since the
// process ends or another instance takes over; to leave it out costs a repetition at the next start.
func (r *Reactor) Close(ctx context.Context) error {
	err := r.persist(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkpoint, r.persisted, r.ahead, r.stuck, r.loaded = 0, 0, 0, false, false
	return err
}

func (r *Reactor) persist(ctx context.Context) error {
	r.mu.Lock()
	position, done := r.checkpoint, r.checkpoint == r.persisted
	r.mu.Unlock()
	r.kept = time.Now()
	if done {
		return nil
	}
	if err := r.checkpoints.Put(ctx, r.Name(), uint64(position)); err != nil {
		return fmt.Errorf("keep the checkpoint of %s: %w", r.Name(), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.persisted = position
	return nil
}
