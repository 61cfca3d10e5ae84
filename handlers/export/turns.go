package export

import (
	"fmt"
	"sync"
	"time"

	"rollcall/domain"
)

// Later is the error of Work for a job that gives way to those of other applications: it is to go back to the queue, behind them.
type Later struct {
	After time.Duration // when it may be handed out again
}

func (l *Later) Error() string {
	return fmt.Sprintf("exports of other applications come first; again in %v", l.After)
}

// turns shares the workers of this instance among applications. The zero value is free.
type turns struct {
	mu      sync.Mutex
	working map[domain.AppID]int       // jobs that are worked on here
	begun   map[domain.AppID]time.Time // when one last began here
	yields  time.Time                  // since when jobs give way and none has begun, zero when one has
}

// mostYield is how long jobs give way while none begins: the one that they wait for may have fallen out of the queue.
const mostYield = 5 * time.Second

// take gives a job of an application its turn until end is called. It does not when an application that waits to begin one has fewer at work,
// or as many and has waited longer.
func (t *turns) take(app domain.AppID, waiting map[domain.AppID]int, now time.Time) (end func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other := range waiting {
		if other != app && t.before(other, app) {
			if t.yields.IsZero() {
				t.yields = now
			}
			if now.Sub(t.yields) < mostYield {
				return nil, false
			}
		}
	}
	if t.working == nil {
		t.working, t.begun = make(map[domain.AppID]int), make(map[domain.AppID]time.Time)
	}
	t.working[app]++
	t.begun[app], t.yields = now, time.Time{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.working[app]--; t.working[app] == 0 {
			delete(t.working, app)
		}
	}, true
}

func (t *turns) before(a, b domain.AppID) bool {
	if t.working[a] != t.working[b] {
		return t.working[a] < t.working[b]
	}
	return t.begun[a].Before(t.begun[b])
}

// waiting counts the jobs of each application that have never begun.
func (x *index) waiting() map[domain.AppID]int {
	n := make(map[domain.AppID]int)
	for _, j := range x.collect("", func(j Job) bool { return j.Status == StatusQueued && j.StartedAt.IsZero() }) {
		n[j.App]++
	}
	return n
}

// takeTurn waits for nothing: a job whose turn it is not comes again Later.
func (s *Service) takeTurn(app domain.AppID) (end func(), err error) {
	waiting := s.index.waiting()
	end, ok := s.turns.take(app, waiting, s.cfg.Now())
	if !ok {
		// The more jobs go back, the longer it takes to come to those behind them.
		const least, each = 100 * time.Millisecond, 2 * time.Millisecond
		return nil, &Later{After: least + time.Duration(waiting[app])*each}
	}
	return end, nil
}
