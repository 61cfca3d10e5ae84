package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"zombiezen.com/go/sqlite"

	"rollcall/eventstore"
)

const (
	// eraseWithin is after how long deleted text begins to be erased while events keep
	// coming and no reader holds on to it.
	eraseWithin = 5 * time.Second
	// eraseBusy is how long a writer waits for readers to let go of the write-ahead log.
	eraseBusy = 50 * time.Millisecond
	// eraseShare bounds the part of the time that is spent on erasing: one in so many.
	eraseShare = 20
	// idleTurns bounds how long Idle keeps the events waiting that come meanwhile.
	idleTurns = 50 * time.Millisecond
)

// erasure tells whether the files may hold text that was deleted, and how far the pass
// over them has come that erases it. A pass is made in turns, between which the list is
// free for a batch.
//
// When a pass has ended, no text is in any file that was deleted before it began. SQLite may
// move what is left of a deleted cell from a page that the pass has yet to reach
// to one that it has passed, but only in a batch; so a turn follows every batch of a pass, and
// scrubs again what the batch wrote. A turn that fails ends the pass, and another
// begins.
type erasure struct {
	due   bool
	clean cleanness
	again bool      // text was deleted during the pass, which is for the next one
	after time.Time // when to begin, though events keep coming
	rest  time.Time // until when erasing would take too large a part of the time
	at    int64     // how far the pass has come in the file, zero for no pass
	spent time.Duration
}

// cleanness is how far the files are rid of deleted text.
type cleanness struct {
	through eventstore.Position // nothing is left that was deleted at or before it
	again   eventstore.Position // the same once the pass has ended that goes on
}

// applied takes note of a batch that has moved the checkpoint, and of whether it deleted text.
func (e *erasure) applied(now time.Time, from, to eventstore.Position, deleted bool) {
	switch {
	case !deleted && !e.due:
		e.clean.through = to
	case !deleted:
	case !e.due:
		e.due, e.after, e.clean.through = true, now.Add(eraseWithin), from
	case e.at > 0 && !e.again:
		e.again, e.clean.again = true, from
	}
}

// ended takes note that a pass has come to its end, with the checkpoint at a position.
func (e *erasure) ended(now time.Time, at eventstore.Position) {
	clean := cleanness{through: at}
	if e.again {
		clean.through = e.clean.again
	}
	*e = erasure{due: e.again, clean: clean, after: now.Add(eraseWithin), rest: now.Add(eraseShare * e.spent)}
}

// Erased returns the position up to which no text of an account that was deleted is in any file of the list.
func (l *List) Erased() eventstore.Position { return eventstore.Position(l.erased.Load()) }

var (
	errBusy = errors.New("another connection still uses the write-ahead log")
	errRest = errors.New("it was done a moment ago")
	errMore = errors.New("more of the file is to follow")
)

// eraseSoon is called after each batch with whether it deleted an account, and where it began and ended. It takes a turn
// of a pass, or begins one when what was deleted has waited long enough. The batch stands
// whatever comes of it: a failure is logged and tried again.
func (l *List) eraseSoon(ctx context.Context, from, to eventstore.Position, deleted bool) {
	now := time.Now()
	e := &l.erasure
	e.applied(now, from, to, deleted)
	l.erased.Store(uint64(e.clean.through))
	if l.shape.erasesLater || !e.due || e.at == 0 && (now.Before(e.after) || now.Before(e.rest)) {
		return
	}
	err := l.eraseTurn(ctx)
	if err == nil || ctx.Err() != nil {
		return
	}
	e.after = now.Add(eraseWithin)
	if errors.Is(err, errBusy) {
		l.log.Debug("deleted text is erased later", "file", l.path, "error", err)
		return
	}
	l.log.Warn("deleted text could not be erased, which is tried again", "file", l.path, "error", err)
}

// Idle overwrites deleted text wherever a file still has it. After it has returned nil,
// nothing is in any file that was deleted before the call. An error tells that it is to be
// called again: a reader is in the way, the file is so large that only a
// part was done, or something failed.
func (l *List) Idle(ctx context.Context) error {
	for start := time.Now(); ; {
		more := false
		err := l.write(ctx, func(*sqlite.Conn) error {
			e := &l.erasure
			switch {
			case !e.due:
				return nil
			case e.at == 0 && time.Now().Before(e.rest):
				return errRest
			}
			err := l.eraseTurn(ctx)
			more = e.due
			return err
		})
		if err == nil && more && time.Since(start) > idleTurns {
			err = errMore
		}
		if err != nil {
			return fmt.Errorf("erase deleted text: %w", err)
		}
		if !more {
			return nil
		}
	}
}

// eraseNow erases what is due, in as many turns as it takes. The mutex is held.
func (l *List) eraseNow() error {
	for l.erasure.due {
		if err := l.eraseTurn(context.Background()); err != nil {
			return fmt.Errorf("erase deleted text, which is done when the account list is opened again: %w", err)
		}
	}
	return nil
}

// eraseTurn empties the write-ahead log into the file and scrubs the next part of it.
func (l *List) eraseTurn(ctx context.Context) error {
	start := time.Now()
	e := &l.erasure
	from := e.at
	e.at = 0 // the pass is over if the turn fails
	l.writer.SetBusyTimeout(eraseBusy)
	defer l.writer.SetBusyTimeout(busyTimeout)
	next, err := l.scrubFrom(ctx, from)
	e.spent += time.Since(start)
	switch {
	case sqlite.ErrCode(err).ToPrimary() == sqlite.ResultBusy:
		return fmt.Errorf("%w: %w", errBusy, err)
	case err != nil:
		return err
	case next == 0:
		at := e.clean.through // as clean as was known, should the file be damaged so that it does not tell
		if checkpoint, err := count(l.writer, "SELECT checkpoint FROM progress"); err == nil {
			at = eventstore.Position(checkpoint)
		}
		e.ended(time.Now(), at)
		l.erased.Store(uint64(e.clean.through))
	}
	e.at = next
	return nil
}

// scrubFrom scrubs the part of the file that begins at an offset, and those pages
// before it that a batch has written since they were scrubbed. It returns where the next part
// begins, zero at the end of the file.
func (l *List) scrubFrom(ctx context.Context, from int64) (next int64, err error) {
	var written []uint32
	if from > 0 {
		if written, err = walPages(l.path + "-wal"); err != nil {
			return 0, err
		}
	}
	busy, err := count(l.writer, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err == nil && busy != 0 {
		err = errBusy
	}
	if err != nil {
		return 0, err
	}
	// The transaction keeps every other writer out, such as an operator's shell. One that came
	// in between has left something in the write-ahead log.
	err = transact(l.writer, func() error {
		info, err := os.Stat(l.path + "-wal")
		switch {
		case err != nil:
			return err
		case info.Size() > 0:
			return errBusy
		}
		next, err = l.scrubber.scrub(ctx, from, written)
		return err
	})
	if err != nil {
		return 0, err
	}
	return next, exec(l.writer, "PRAGMA shrink_memory") // drops the cache of pages
}
