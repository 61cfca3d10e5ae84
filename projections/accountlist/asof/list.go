package asof

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/projections/accountlist/sqlite"
)

// list is one list, from when it begins to be built until its files are removed.
type list struct {
	key
	path  string
	first eventstore.Position // where the application was created

	ctx    context.Context // ends when the list is to go
	cancel context.CancelFunc
	ready  chan struct{}     // closed when it is built or could not be
	rows   *sqlite.Temporary // once ready, unless it failed
	failed error
	gone   chan struct{} // closed when the files are removed
	left   error         // once gone: why they could not be

	reached  atomic.Uint64 // position that the file shows
	begun    atomic.Bool   // it is its turn to be built
	bytes    atomic.Int64  // that the files take
	follower sync.WaitGroup

	// These are guarded by Lists.mu.
	users int // reads that wait or run
	used  time.Time
	timer *time.Timer

	writes  sync.Mutex // guards what follows, and is held while the file is written
	file    *sqlite.Temporary
	deleted map[domain.UserID]bool // accounts that were deleted behind the position while it is being built
}

// use is told of a read. Lists.mu is held.
func (e *list) use() {
	e.users++
	if e.timer != nil {
		e.timer.Stop()
	}
}

// built tells whether the list is there.
func (e *list) built() bool {
	select {
	case <-e.ready:
		return e.failed == nil
	default:
		return false
	}
}

// await returns what to read from once it is there.
func (e *list) await(ctx context.Context, wait time.Duration) (*sqlite.Temporary, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-e.ready:
		if e.failed != nil && e.ctx.Err() != nil {
			return nil, e.thrownAway()
		}
		return e.rows, e.failed
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
	}
	if !e.begun.Load() {
		return nil, &UnreadyError{fmt.Sprintf("the list as of position %d waits for another one to be built; ask again in a moment", e.position)}
	}
	return nil, &UnreadyError{fmt.Sprintf("the list as of position %d is being built: %d percent; ask again in a moment", e.position, e.percent())}
}

// thrownAway is the error of a read of a list that has gone.
func (e *list) thrownAway() error {
	return &UnreadyError{fmt.Sprintf("the list as of position %d was thrown away; ask again", e.position)}
}

// percent is how much of the application's part of the log has been read.
func (e *list) percent() int {
	done, all := max(e.at(), e.first)-e.first, max(e.position-e.first, 1)
	return int(100 * float64(done) / float64(all))
}

// open makes the file.
func (e *list) open(file *sqlite.Temporary) {
	e.writes.Lock()
	defer e.writes.Unlock()
	e.file = file
}

// load takes in events up to a position.
func (e *list) load(events []eventstore.Envelope, to eventstore.Position) error {
	e.writes.Lock()
	defer e.writes.Unlock()
	if err := e.file.Load(e.ctx, e.at(), to, events); err != nil {
		return err
	}
	e.reached.Store(uint64(to))
	bytes, err := e.file.Bytes()
	e.bytes.Store(bytes)
	return err
}

func (e *list) at() eventstore.Position { return eventstore.Position(e.reached.Load()) }

// finish makes a list that has been loaded ready for reads.
func (e *list) finish() error {
	e.writes.Lock()
	defer e.writes.Unlock()
	// The key of an account that was deleted meanwhile, behind the position or before it, may have been in memory a little longer.
	if err := e.file.Wipe(e.ctx, e.app, slices.Collect(maps.Keys(e.deleted))...); err != nil {
		return err
	}
	e.deleted = nil
	if err := e.file.Loaded(e.ctx); err != nil {
		return err
	}
	bytes, err := e.file.Bytes()
	e.bytes.Store(bytes)
	return err
}

// wipe overwrites what deleted accounts held.
func (e *list) wipe(ctx context.Context, deletions []Deletion) error {
	e.writes.Lock()
	defer e.writes.Unlock()
	if e.file == nil { // nothing has been read yet, or all is gone
		return nil
	}
	var shown []domain.UserID
	for _, d := range deletions {
		if d.Position > e.at() { // else the account in the file is another one, of the same user id
			shown = append(shown, d.User)
		}
		if d.Position > e.position && e.deleted != nil {
			e.deleted[d.User] = true
		}
	}
	return e.file.Wipe(ctx, e.app, shown...)
}

// discard removes the files.
func (e *list) discard() error {
	e.writes.Lock()
	defer e.writes.Unlock()
	if e.file == nil {
		return nil
	}
	file := e.file
	e.file = nil
	return file.Discard()
}
