package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"zombiezen.com/go/sqlite"
)

const (
	// eraseWithin is how long deleted text may stay in the files while events
	// keep coming and no reader holds on to it.
	eraseWithin = 5 * time.Second
	// eraseBusy is how long a writer waits for readers to let go of the write-ahead log.
	eraseBusy = 50 * time.Millisecond
	// eraseShare bounds the part of the time that is spent on erasing: one in so many.
	eraseShare = 20
)

// erasure tells whether the files may hold text that was deleted.
type erasure struct {
	due   bool
	after time.Time // when to erase, though events keep coming
	rest  time.Time // until when erasing would take too large a part of the time
}

var (
	errBusy = errors.New("a reader still uses the write-ahead log")
	errRest = errors.New("it was done a moment ago")
)

// eraseSoon is called after each batch with whether it deleted an account, and erases
// what was deleted when that has waited long enough. A reader that is in the way puts it off.
func (l *List) eraseSoon(deleted bool) error {
	now := time.Now()
	if deleted && !l.erasure.due {
		l.erasure.due, l.erasure.after = true, now.Add(eraseWithin)
	}
	if !l.erasure.due || now.Before(l.erasure.after) {
		return nil
	}
	l.erasure.after = now.Add(eraseWithin)
	if err := l.erase(); err != nil && !errors.Is(err, errBusy) && !errors.Is(err, errRest) {
		return err
	}
	return nil
}

// Idle overwrites deleted text wherever a file still has it: afterwards it is in no
// file any more. It returns an error while that has to wait, such as for a long scan.
func (l *List) Idle(ctx context.Context) error {
	return l.write(ctx, func(*sqlite.Conn) error {
		if !l.erasure.due {
			return nil
		}
		return l.erase()
	})
}

// erase empties the write-ahead log into the file and scrubs the file.
func (l *List) erase() error {
	start := time.Now()
	if start.Before(l.erasure.rest) {
		return fmt.Errorf("erase deleted text: %w", errRest)
	}
	err := l.truncate()
	if err == nil {
		err = transact(l.writer, l.scrubAlone)
	}
	if err == nil {
		err = exec(l.writer, "PRAGMA shrink_memory") // drops the cache of pages
	}
	if err != nil {
		return fmt.Errorf("erase deleted text: %w", err)
	}
	l.erasure.due = false
	l.erasure.rest = time.Now().Add(eraseShare * time.Since(start))
	return nil
}

// truncate writes the write-ahead log back and empties it.
func (l *List) truncate() error {
	l.writer.SetBusyTimeout(eraseBusy)
	defer l.writer.SetBusyTimeout(busyTimeout)
	busy, err := count(l.writer, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err == nil && busy != 0 {
		err = errBusy
	}
	return err
}

// scrubAlone runs in a transaction that keeps every other writer out, such as an operator's
// shell. One that came in between has left something in the write-ahead log.
func (l *List) scrubAlone() error {
	info, err := os.Stat(l.path + "-wal")
	switch {
	case err != nil:
		return err
	case info.Size() > 0:
		return errBusy
	}
	return l.scrubber.scrub()
}
