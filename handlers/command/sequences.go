package command

import (
	"context"
	"sync"

	"rollcall/domain"
)

// sequences runs work side by side, but that on one account in the order in
// which it is given.
type sequences struct {
	slots   chan struct{} // one for each piece of work that runs or waits
	running sync.WaitGroup

	mu      sync.Mutex
	waiting map[domain.UserID][]func() // has an entry for each account that is worked on
}

func newSequences(most int) *sequences {
	return &sequences{slots: make(chan struct{}, most), waiting: make(map[domain.UserID][]func())}
}

// run has work done soon, after all work on the account that was given before.
// It waits while there is too much, and returns false without doing it when ctx ends.
func (s *sequences) run(ctx context.Context, id domain.UserID, work func()) bool {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	queue, busy := s.waiting[id]
	if busy {
		s.waiting[id] = append(queue, work)
		return true
	}
	s.waiting[id] = nil
	s.running.Go(func() {
		for work != nil {
			work()
			<-s.slots
			work = s.next(id)
		}
	})
	return true
}

// next returns the work that waits for the account, nil when there is none.
func (s *sequences) next(id domain.UserID) (work func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := s.waiting[id]
	if len(queue) == 0 {
		delete(s.waiting, id)
		return nil
	}
	s.waiting[id] = queue[1:]
	return queue[0]
}

// wait returns when all work is done. No more may be given.
func (s *sequences) wait() { s.running.Wait() }
