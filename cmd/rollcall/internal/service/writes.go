package service

import (
	"context"
	"errors"
	"sync"
	"time"

	"rollcall/handlers/command"
)

const (
	// failuresInARow is how many commands must fail one after another until the log is said to take none: one may have lost against others.
	failuresInARow = 3
	// failureLife is how long that counts when no command follows.
	failureLife = time.Minute
)

// writes remembers whether commands could be written lately. A log in the process whose disk is full can be read still.
type writes struct {
	mu     sync.Mutex
	failed int // commands since the last one that was written
	at     time.Time
}

// command takes note of what became of a command.
func (w *writes) command(ctx context.Context, o command.Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case o.Outcome == command.OutcomeAccepted:
		w.failed = 0
	case o.Outcome == command.OutcomeFailed && !errors.Is(ctx.Err(), context.Canceled): // else nobody waited for it
		w.failed++
		w.at = time.Now()
	}
}

// refused returns why no command can be written, as far as is known, nil when they can.
func (w *writes) refused() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed < failuresInARow || time.Since(w.at) > failureLife {
		return nil
	}
	return errors.New("the log takes no events, its own lines in the log of this process say why; when its disk is full, make room and restart")
}
