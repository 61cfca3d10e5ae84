package service

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	storejs "rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/handlers/messaging"
)

const (
	// standingTimeout bounds how long is waited for others when figures are read.
	standingTimeout = 2 * time.Second
	// standingLife is how long an answer is given again, so that no number of readers makes the log busy.
	standingLife = time.Second
)

// standing is how things stand with what this instance shares with others.
type standing struct {
	ready   error
	log     error // why the log does not answer
	last    eventstore.Position
	streams map[string]jetstream.StreamState // those that answer
	fullest uint64                           // commands that wait, of the application and verb that has the most
	lags    []lag                            // as the service's runners
}

// lag is how far a projection is behind the log.
type lag struct {
	events uint64
	age    time.Duration // of the oldest event that is not applied
	known  bool          // false when the log does not tell
}

// observer asks how things stand, at most once in standingLife.
type observer struct {
	service *Service

	mu     sync.Mutex
	at     time.Time // when seen was seen
	seen   standing
	oldest []oldest // as the service's runners
}

// oldest remembers when the log took in the oldest event that is not applied: one that stays the oldest is asked for once.
type oldest struct {
	position eventstore.Position
	recorded time.Time
}

// standing returns how things stand, as of a moment ago.
func (o *observer) standing() standing {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.at) >= standingLife {
		ctx, cancel := context.WithTimeout(o.service.followed.ctx, standingTimeout)
		defer cancel()
		o.seen = o.ask(ctx)
		o.at = time.Now()
	}
	return o.seen
}

func (o *observer) ask(ctx context.Context) standing {
	s := standing{ready: o.service.Ready(ctx)}
	s.last, s.log = o.service.store.Last(ctx)
	s.streams, s.fullest = o.askStreams(ctx)
	s.lags = o.askLags(ctx, s)
	return s
}

// observedStreams are the streams whose size is told.
func observedStreams() []string {
	return []string{
		storejs.DefaultStream, keyring.StreamName, messaging.StreamCommands, messaging.StreamDead, messaging.StreamOutcomes, messaging.StreamExports, messaging.StreamExportJobs,
	}
}

func (o *observer) askStreams(ctx context.Context) (states map[string]jetstream.StreamState, fullest uint64) {
	states = make(map[string]jetstream.StreamState)
	for _, name := range observedStreams() {
		stream, err := o.service.js.Stream(ctx, name)
		if err != nil {
			continue // what is missing is not told, which is better than what is wrong
		}
		states[name] = stream.CachedInfo().State
		if name != messaging.StreamCommands || states[name].Msgs == 0 {
			continue
		}
		if info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">")); err == nil {
			for _, waiting := range info.State.Subjects {
				fullest = max(fullest, waiting)
			}
		}
	}
	return states, fullest
}

// askLags returns how far the projections are behind. The age of an event is the time since the log took it in, by the clocks of the log
// and of this machine.
func (o *observer) askLags(ctx context.Context, s standing) []lag {
	runners := o.service.runners
	lags := make([]lag, len(runners))
	o.oldest = slices.Grow(o.oldest, len(runners))[:len(runners)]
	for i, r := range runners {
		status := r.Status()
		status.Last = max(status.Last, s.last)
		lags[i].events = status.Lag()
		if lags[i].events == 0 {
			lags[i].known = s.log == nil
			continue
		}
		next := status.Position + 1
		if o.oldest[i].position != next {
			recorded, err := o.service.store.Recorded(ctx, next)
			if err != nil {
				continue
			}
			o.oldest[i] = oldest{position: next, recorded: recorded}
		}
		lags[i].age, lags[i].known = max(time.Since(o.oldest[i].recorded), 0), true
	}
	return lags
}
