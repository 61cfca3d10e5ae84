package service

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rollcall/eventstore"
	"rollcall/handlers/audit"
	"rollcall/handlers/messaging"
)

// commandsPlace is the queue of commands among the places where personal data is kept.
const commandsPlace = "commands"

const (
	// lookAtCommands is how often it is looked at which decided commands are on disk.
	lookAtCommands = 5 * time.Second
	// blockOfCommands is more commands than the server keeps in one file, which it removes when all in it are decided: of 8 MiB at
	// most, at 64 bytes a command at least.
	blockOfCommands = 8 << 20 / 64
	// maxLooks bounds how many looks are remembered: those of more than an hour.
	maxLooks = 1000
)

// decided knows up to where no command of before a deletion can be on disk any more. The zero value knows nothing. It is safe for concurrent use.
type decided struct {
	mu      sync.Mutex
	looks   []look
	through eventstore.Position
	waiting uint64
	oldest  time.Time
}

// look is how things stood once: the log ended at a position, and all commands of before had sequences up to last.
type look struct {
	log  eventstore.Position
	last uint64
}

// queue is the state of the queue of commands.
type queue struct {
	waiting     uint64
	first, last uint64 // sequences
	oldest      time.Time
}

// see takes a look at the queue after the log ended at a position.
func (d *decided) see(log eventstore.Position, q queue) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting, d.oldest = q.waiting, q.oldest
	if q.waiting == 0 {
		d.through, d.looks = max(d.through, log), nil
		return
	}
	if len(d.looks) < maxLooks {
		d.looks = append(d.looks, look{log, q.last})
	}
	for len(d.looks) > 0 && d.looks[0].last+blockOfCommands < q.first {
		d.through, d.looks = max(d.through, d.looks[0].log), d.looks[1:]
	}
}

func (d *decided) standing() audit.Standing {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := audit.Standing{Place: commandsPlace, Through: d.through}
	if d.waiting > 0 {
		s.Waits = fmt.Sprintf("%d commands wait, the oldest since %s; what was decided before them may be in the same files until they are decided",
			d.waiting, d.oldest.UTC().Format(time.RFC3339))
	}
	return s
}

// lookAtDecided looks at the queue of commands once.
func (s *Service) lookAtDecided(ctx context.Context) error {
	last, err := s.store.Last(ctx) // first: a command of before a deletion up to there was in the queue by then
	if err != nil {
		return err
	}
	stream, err := s.js.Stream(ctx, messaging.StreamCommands)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	s.decided.see(last, queue{waiting: state.Msgs, first: state.FirstSeq, last: state.LastSeq, oldest: state.FirstTime})
	return nil
}

// watchDecided looks at the queue of commands now and then.
func (s *Service) watchDecided(ctx context.Context) error {
	again := time.NewTicker(lookAtCommands)
	defer again.Stop()
	for {
		if err := s.lookAtDecided(ctx); err != nil && ctx.Err() == nil {
			s.logger.Debug("the queue of commands cannot be looked at", "error", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}
