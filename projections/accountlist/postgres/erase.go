package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// eraseWithin is after how long deleted rows begin to be vacuumed while events keep
	// coming.
	eraseWithin = 5 * time.Second
	// eraseShare bounds the part of the time that is spent on vacuuming: one in so many.
	eraseShare = 20
)

// erasure tells whether the tables may hold rows that were deleted. It vacuums on a goroutine of
// its own, for a vacuum takes long and is in nobody's way.
type erasure struct {
	mu      sync.Mutex
	due     bool  // there may be such rows
	of      int64 // the generation that was vacuumed last: another one that has become live may hold such rows
	stained bool  // there were such rows, by what this instance wrote
	running bool
	again   bool      // rows were deleted since the vacuum began
	after   time.Time // when to begin, though events keep coming
	rest    time.Time // until when another one would take too large a part of the time
	err     error     // why the last one failed or left rows
}

// Errors of Idle.
var (
	errVacuuming = errors.New("deleted rows are being vacuumed")
	errRest      = errors.New("it was done a moment ago")
	errHeld      = errors.New("a transaction, such as a backup, may still read deleted rows")
)

// eraseSoon takes note of whether rows were deleted by a batch, and begins to vacuum when rows have
// waited for long enough.
func (l *List) eraseSoon(deleted bool) {
	e := &l.erasure
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if deleted {
		if !e.due {
			e.due, e.after = true, now.Add(eraseWithin)
		}
		e.again, e.stained = e.running, true
	}
	if e.due && !e.running && now.After(e.after) && now.After(e.rest) {
		l.vacuum()
	}
}

// Idle vacuums the list's tables if rows were deleted since that was done, or the list was
// opened. It begins and returns an error until that has come to its end, while reads and batches
// go on. Once it has returned nil, no row that was
// deleted before the call can be found in a table or index by any means of the database.
//
// This is what then remains of a deleted nickname: bytes in the unused middle of a page, until
// the page is written to or a list that was built anew has taken the place of this one, and this one is dropped; and the
// write-ahead log and backups, for as long as the server keeps them. The index for searches holds
// hashes. The planner's statistics hold no personal data.
func (l *List) Idle(context.Context) error {
	e := &l.erasure
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.err
	e.err = nil
	e.due = e.due || e.of != l.generation()
	switch {
	case e.running:
		return errVacuuming
	case !e.due:
		return nil
	case err != nil:
		return fmt.Errorf("erase deleted rows: %w", err)
	case time.Now().Before(e.rest):
		return errRest
	}
	l.vacuum()
	return errVacuuming
}

// vacuum begins to vacuum. The mutex is held.
func (l *List) vacuum() {
	e := &l.erasure
	e.again = false
	stained := e.stained
	e.running = l.db.background(func(ctx context.Context) {
		start := time.Now()
		generation := l.generation()
		err := l.vacuumNow(ctx, generation, stained)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.running, e.err = false, err
		if err == nil {
			e.of, e.stained = generation, e.again
		}
		e.due = e.again || err != nil
		e.after = time.Now().Add(eraseWithin)
		e.rest = time.Now().Add((eraseShare - 1) * time.Since(start))
		if err != nil && !errors.Is(err, errHeld) && ctx.Err() == nil {
			l.db.log.Warn("deleted rows could not be vacuumed, which is tried again", "error", err)
		}
	})
}

// vacuumNow vacuums the accounts, keeps for all instances how far they are rid of deleted rows, and returns errHeld if it had to
// leave some.
func (l *List) vacuumNow(ctx context.Context, generation int64, stained bool) error {
	var checkpoint int64 // before which everything that is deleted is seen to be
	if err := l.db.writers.QueryRow(ctx, in(generation, "SELECT checkpoint FROM list.progress")).Scan(&checkpoint); err != nil {
		return err
	}
	if _, err := l.db.writers.Exec(ctx, in(generation, "VACUUM (INDEX_CLEANUP ON) list.accounts")); err != nil {
		return err
	}
	var held, deleted bool // the latter is told with a delay, by any instance
	const left = "SELECT n_dead_tup > 0, n_tup_del > 0 FROM pg_stat_all_tables WHERE schemaname = $1 AND relname = 'accounts'"
	err := l.db.writers.QueryRow(ctx, left, schemaOf(generation)).Scan(&held, &deleted)
	if err == nil && held {
		err = errHeld
	}
	if err != nil {
		return err
	}
	const keep = "UPDATE rollcall.lists SET vacuumed = $2, stained = stained OR $3 WHERE generation = $1 AND vacuumed <= $2"
	_, err = l.db.writers.Exec(ctx, keep, generation, checkpoint, stained || deleted)
	return err
}

// HoldsDeleted tells whether accounts were deleted from the live list since it was built, so that its files may hold bytes of them: see
// List.Idle. It goes by what vacuums have kept and, for what none has seen, by the server's statistics, which a crash of the server sets back.
func (db *DB) HoldsDeleted(ctx context.Context) (deleted bool, err error) {
	const held = "SELECT stained OR EXISTS (SELECT FROM pg_stat_all_tables WHERE schemaname = $2 AND relname = 'accounts' AND n_tup_del > 0) " +
		"FROM rollcall.lists WHERE generation = $1"
	if err = db.ensureLive(ctx); err == nil {
		live := db.live.Load()
		err = db.readers.QueryRow(ctx, held, live, schemaOf(live)).Scan(&deleted)
	}
	if err != nil {
		return false, fmt.Errorf("ask what was deleted from the live list: %w", reachable(err))
	}
	return deleted, nil
}
