package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"rollcall/eventstore"
)

// Name is the name of the ledger among what follows the log.
const Name = "ledger"

// Log is what the ledger reads, see eventstore.Store.
type Log interface {
	Last(ctx context.Context) (eventstore.Position, error)
	Read(ctx context.Context, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error]
}

// Checkpoints is where signed checkpoints are published.
type Checkpoints interface {
	// Publish publishes a checkpoint behind the one with a sequence, zero for none, and returns its own sequence once it is on disk.
	// eventstore.ErrConflict when another one has been published since.
	Publish(ctx context.Context, signed []byte, behind uint64) (sequence uint64, err error)
	// Latest returns the one that was published last and its sequence, nil for none.
	Latest(ctx context.Context) (signed []byte, sequence uint64, err error)
}

// Options are optional settings of a Ledger. The zero value is useful.
type Options struct {
	// Interval is how often a tree that has grown is kept and signed, DefaultInterval when zero.
	Interval time.Duration
	// Logger gets what an operator wants to know. Nothing is logged when nil.
	Logger *slog.Logger
}

// DefaultInterval is how often a tree that has grown is signed.
const DefaultInterval = 2 * time.Second

// mostUnkept is how many leaves are in memory alone at most; after a crash they are made of the log again.
const mostUnkept = 1 << 15

// Ledger follows the log and keeps the tree over it. It has the shape of a projections.Projection, which one instance at a time
// feeds, within Lead. Leaves are kept, and the tree is signed, every interval: not each event waits for the disk.
//
// One goroutine at a time calls Apply. All else may be called at any time.
type Ledger struct {
	storage     Storage
	checkpoints Checkpoints
	key         Key
	log         Log
	opts        Options
	hurry, wake chan struct{} // tell that a checkpoint is waited for: whoever signs, and whoever reads

	mu        sync.Mutex
	edge      *edge // of the tree while this instance feeds it, else nil
	kept      uint64
	published uint64      // size of the last checkpoint
	sequence  uint64      // of the last checkpoint, whoever signed it
	any       bool        // whether there is one that the key has signed
	expected  *Checkpoint // a checkpoint ahead of the tree, which it must come by
	hasher    hasher
}

// New returns a ledger.
func New(storage Storage, checkpoints Checkpoints, key Key, log Log, opts Options) *Ledger {
	if opts.Interval == 0 {
		opts.Interval = DefaultInterval
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Ledger{storage: storage, checkpoints: checkpoints, key: key, log: log, opts: opts, hurry: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

// Name returns the name of the ledger.
func (l *Ledger) Name() string { return Name }

// Public returns the key that checkpoints are verified by.
func (l *Ledger) Public() string { return l.key.Public() }

// Checkpoint returns the position of the last event in the tree: while this instance feeds it of the tree in memory, else of the
// one that is kept.
func (l *Ledger) Checkpoint(ctx context.Context) (eventstore.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.edge != nil {
		return eventstore.Position(l.edge.size), nil
	}
	size, err := l.storage.Size(ctx)
	return eventstore.Position(size), err
}

// Apply adds events that follow the tree. ErrFenced when they do not; eventstore.ErrDamaged when they lead to another tree than the one
// that was signed.
func (l *Ledger) Apply(ctx context.Context, from eventstore.Position, events []eventstore.Envelope) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.apply(ctx, from, events); err != nil {
		l.edge = nil // what is kept is read again
		return err
	}
	return nil
}

func (l *Ledger) apply(ctx context.Context, from eventstore.Position, events []eventstore.Envelope) error {
	if err := l.open(ctx); err != nil {
		return err
	}
	if l.edge.size != uint64(from) {
		return fmt.Errorf("%w: its size is %d, not %d", ErrFenced, l.edge.size, from)
	}
	for _, e := range events {
		if uint64(e.Position) != l.edge.size+1 {
			return fmt.Errorf("%w: position %d should come next and %d came", eventstore.ErrDamaged, l.edge.size+1, e.Position)
		}
		leaf, err := l.hasher.leaf(e)
		if err != nil {
			return err
		}
		l.edge.add(leaf)
		if l.expected != nil && l.edge.size == l.expected.Size {
			if l.edge.root() != l.expected.Root {
				return fmt.Errorf("%w: the events up to position %d lead to another tree than the one that was signed there; one of them was altered. "+
					"Stop all writers and restore the log from a backup", eventstore.ErrDamaged, l.expected.Size)
			}
			l.expected = nil
		}
	}
	if l.edge.size-l.kept < mostUnkept {
		return nil
	}
	return l.keep(ctx)
}

// open reads the tree that is kept, unless it is in memory, and what was signed last.
func (l *Ledger) open(ctx context.Context) error {
	if l.edge != nil {
		return nil
	}
	e, err := load(ctx, l.storage)
	if err != nil {
		return err
	}
	l.published, l.any, l.expected = 0, false, nil
	_, c, sequence, err := l.latest(ctx)
	l.sequence = sequence
	switch {
	case errors.Is(err, ErrCheckpoint):
	case err != nil:
		return err
	default:
		l.published, l.any = c.Size, true
		if c.Size > e.size {
			l.expected = &c
		} else if err := l.compare(ctx, c); err != nil {
			return err
		}
	}
	l.edge, l.kept = e, e.size
	return nil
}

// compare fails when the tree that is kept is not the one that was signed.
func (l *Ledger) compare(ctx context.Context, c Checkpoint) error {
	root, err := l.root(ctx, c.Size)
	if err != nil {
		return err
	}
	if root != c.Root {
		return fmt.Errorf("%w: its hashes do not lead to what was signed for size %d. Remove it, and it is built again from the log and compared with what was signed", ErrBroken, c.Size)
	}
	return nil
}

// keep writes what is in memory alone.
func (l *Ledger) keep(ctx context.Context) error {
	if l.edge.size == l.kept {
		return nil
	}
	if err := l.storage.Append(ctx, l.kept, l.edge.size, l.edge.spans); err != nil {
		return err
	}
	l.kept = l.edge.size
	l.edge.trim()
	return nil
}

// Lead does work, which feeds the ledger, and keeps and signs the tree meanwhile and once more when work has returned. Only one instance
// at a time may do so.
func (l *Ledger) Lead(ctx context.Context, work func(context.Context) error) error {
	working, stop := context.WithCancel(ctx)
	var publisher sync.WaitGroup
	publisher.Go(func() { l.publishing(working) })
	err := work(ctx)
	stop()
	publisher.Wait()
	const patience = 5 * time.Second
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err == nil {
		l.catchUp(last)
	}
	l.publish(last)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edge = nil
	return err
}

// catchUp adds the few events that work has not come to before it was told to return, so that what is written last before a stop
// is signed too.
func (l *Ledger) catchUp(ctx context.Context) {
	err := func() error {
		from, err := l.Checkpoint(ctx)
		if err != nil {
			return err
		}
		until, err := l.log.Last(ctx)
		if err != nil || until < from || until-from > mostUnkept {
			return err
		}
		events := make([]eventstore.Envelope, 0, until-from)
		for e, err := range l.log.Read(ctx, from+1, until) {
			if err != nil {
				return err
			}
			events = append(events, e)
		}
		return l.Apply(ctx, from, events)
	}()
	if err != nil {
		l.opts.Logger.Warn("the last events are not signed before the next start", "error", err)
	}
}

// publishing keeps and signs the tree every interval, or at once when somebody waits for it.
func (l *Ledger) publishing(ctx context.Context) {
	tick := time.NewTicker(l.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.hurry:
		case <-ctx.Done():
			return
		}
		l.publish(ctx)
	}
}

// publish keeps and signs the tree if it has grown. Trouble is told and tried again the next time.
func (l *Ledger) publish(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.sign(ctx); err != nil && ctx.Err() == nil {
		l.opts.Logger.Warn("no checkpoint of the ledger is published", "error", err)
	}
}

func (l *Ledger) sign(ctx context.Context) error {
	if err := l.open(ctx); err != nil {
		return err
	}
	if l.expected != nil || l.any && l.edge.size <= l.published {
		return nil
	}
	if err := l.keep(ctx); err != nil {
		l.edge = nil // what is kept is read again
		return err
	}
	signed, err := l.key.Sign(l.edge.size, l.edge.root())
	if err != nil {
		return err
	}
	sequence, err := l.checkpoints.Publish(ctx, signed, l.sequence)
	if err != nil {
		l.edge = nil // what was signed last is read again: by another that leads now, or this one, if its answer was lost
		return err
	}
	l.published, l.sequence, l.any = l.edge.size, sequence, true
	return nil
}

// Latest returns the checkpoint that was published last, signed and read. ErrCheckpoint when there is none that the key has signed.
func (l *Ledger) Latest(ctx context.Context) ([]byte, Checkpoint, error) {
	signed, c, _, err := l.latest(ctx)
	return signed, c, err
}

func (l *Ledger) latest(ctx context.Context) (signed []byte, c Checkpoint, sequence uint64, err error) {
	signed, sequence, err = l.checkpoints.Latest(ctx)
	switch {
	case err != nil:
		return nil, Checkpoint{}, 0, err
	case signed == nil:
		return nil, Checkpoint{}, 0, fmt.Errorf("%w: none has been published yet", ErrCheckpoint)
	}
	c, err = OpenCheckpoint(signed, l.key.Public())
	return signed, c, sequence, err
}

// freshLook is how often a checkpoint that is waited for is looked for.
const freshLook = 25 * time.Millisecond

// Fresh returns a checkpoint that covers all that was in the log when it was called. It waits for whoever feeds the ledger, until
// ctx ends.
func (l *Ledger) Fresh(ctx context.Context) ([]byte, Checkpoint, error) {
	last, err := l.log.Last(ctx)
	if err != nil {
		return nil, Checkpoint{}, err
	}
	tick := time.NewTicker(freshLook)
	defer tick.Stop()
	for {
		signed, c, err := l.Latest(ctx)
		if err == nil && c.Position() >= last {
			return signed, c, nil
		}
		if err != nil && !errors.Is(err, ErrCheckpoint) {
			return nil, Checkpoint{}, err
		}
		for _, told := range []chan struct{}{l.wake, l.hurry} {
			select {
			case told <- struct{}{}:
			default:
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, Checkpoint{}, fmt.Errorf("%w: the latest checkpoint is of position %d, the log is at %d: %w", ErrSize, c.Size, last, ctx.Err())
		}
	}
}
