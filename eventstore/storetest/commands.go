package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"rollcall/eventstore"
)

// Add returns the decision of a command that counts one up on an aggregate.
// The event holds the new count.
func Add(id eventstore.AggregateID, commandID string) eventstore.Decide {
	return func(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
		events, err := u.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		return []eventstore.Envelope{counted(id, commandID, len(events)+1)}, nil
	}
}

func executeRetries(t *testing.T, s *suite) {
	const racers = 12
	id := s.account("counter")
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			commandID := fmt.Sprintf("%s-%d", s.app, i)
			if _, err := eventstore.Execute(t.Context(), s, commandID, Add(id, commandID)); err != nil {
				t.Errorf("command %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i, e := range s.mustLoad(t, id) {
		if string(e.Data) != strconv.Itoa(i+1) {
			t.Errorf("event %d holds %s", i, e.Data)
		}
	}
	if n := len(s.mustLoad(t, id)); n != racers {
		t.Errorf("the counter is at %d, want %d", n, racers)
	}
}

func executeReplays(t *testing.T, s *suite) {
	id := s.account("alice")
	first, err := eventstore.Execute(t.Context(), s, "first", Add(id, "first"))
	if err != nil || first.Replayed {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := eventstore.Execute(t.Context(), s, "second", Add(id, "second")); err != nil {
		t.Fatal(err)
	}
	again, err := eventstore.Execute(t.Context(), s, "first", Add(id, "first"))
	if err != nil || !again.Replayed || again.Position() != first.Position() {
		t.Errorf("the second time: %+v, %v, want the events of the first", again, err)
	}
	if n := len(s.mustLoad(t, id)); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

func executePresumes(t *testing.T, s *suite) {
	id := s.account("alice")
	errExists := errors.New("exists")
	create := func(commandID string) eventstore.Decide {
		return func(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
			if !u.Presume(id, 0) {
				events, err := u.Load(ctx, id)
				if err != nil {
					return nil, err
				}
				if len(events) > 0 {
					return nil, errExists
				}
			}
			return []eventstore.Envelope{Event(id, commandID)}, nil
		}
	}
	first, err := eventstore.Execute(t.Context(), s, "first", create("first"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := eventstore.Execute(t.Context(), s, "first", create("first"))
	if err != nil || !again.Replayed || again.Position() != first.Position() {
		t.Errorf("the same command again: %+v, %v", again, err)
	}
	if _, err := eventstore.Execute(t.Context(), s, "second", create("second")); !errors.Is(err, errExists) {
		t.Errorf("another command: %v, want %v", err, errExists)
	}
}

// stale answers the first load of an aggregate as a replica would that is behind.
type stale struct {
	eventstore.Store
	left atomic.Int64
}

func (s *stale) Load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	if s.left.Add(-1) >= 0 {
		return func(func(eventstore.Envelope, error) bool) {}
	}
	return s.Store.Load(ctx, id)
}

func executeRefuses(t *testing.T, s *suite) {
	id := s.account("alice")
	s.mustAppend(t, proposal(id, 0))
	behind := &stale{Store: s.Store}
	behind.left.Store(1)
	errAbsent := errors.New("no such account")
	out, err := eventstore.Execute(t.Context(), behind, "edit", func(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
		events, err := u.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			return nil, errAbsent
		}
		return []eventstore.Envelope{Event(id, "edit")}, nil
	})
	if err != nil || len(out.Events) != 1 {
		t.Errorf("%+v, %v, want one event", out, err)
	}
}

// counterOp is an operation on a counter: add one, or read.
type counterOp struct {
	id  eventstore.AggregateID
	add bool
}

// counterModel is a counter that answers every operation with its value after it.
var counterModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byID := make(map[eventstore.AggregateID][]porcupine.Operation)
		for _, op := range history {
			id := op.Input.(counterOp).id
			byID[id] = append(byID[id], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byID {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		value := state.(int)
		if input.(counterOp).add {
			value++
		}
		return output.(int) == value, value
	},
	Equal: func(a, b any) bool { return a == b },
}

// linearizable checks histories of concurrent commands with porcupine. A read is a
// command without events, which Execute confirms with the leader.
func linearizable(t *testing.T, s *suite) {
	const clients, each, aggregates = 6, 12, 3
	var mu sync.Mutex
	var history []porcupine.Operation
	start := time.Now()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := range each {
				op := counterOp{id: s.account("counter" + strconv.Itoa((client+i)%aggregates)), add: i%3 != 2}
				commandID := fmt.Sprintf("%s-%d-%d", s.app, client, i)
				call := time.Since(start)
				value, err := s.count(t.Context(), op, commandID)
				if err != nil {
					t.Errorf("client %d: %v", client, err)
					return
				}
				mu.Lock()
				history = append(history, porcupine.Operation{
					ClientId: client, Input: op, Call: int64(call), Output: value, Return: int64(time.Since(start)),
				})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if result := porcupine.CheckOperationsTimeout(counterModel, history, 20*time.Second); result != porcupine.Ok {
		t.Errorf("the history of %d operations is not linearizable: %s", len(history), result)
	}
}

// count executes an operation and returns the counter's value after it.
func (s *suite) count(ctx context.Context, op counterOp, commandID string) (int, error) {
	value := 0
	_, err := eventstore.Execute(ctx, s, commandID, func(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
		events, err := u.Load(ctx, op.id)
		if err != nil {
			return nil, err
		}
		value = len(events)
		if !op.add {
			return nil, nil
		}
		value++
		return []eventstore.Envelope{counted(op.id, commandID, value)}, nil
	})
	return value, err
}

// seats lets many create accounts that each need one of few seats of a roster.
func seats(t *testing.T, s *suite) {
	const limit, racers = 3, 12
	roster := eventstore.Admins(s.app)
	errFull := errors.New("no seat left")
	var granted, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			account, commandID := s.account("admin"+strconv.Itoa(i)), fmt.Sprintf("%s-%d", s.app, i)
			out, err := eventstore.Execute(t.Context(), s, commandID, func(ctx context.Context, u *eventstore.Unit) ([]eventstore.Envelope, error) {
				if !u.Presume(account, 0) {
					if _, err := u.Load(ctx, account); err != nil {
						return nil, err
					}
				}
				taken, err := u.Load(ctx, roster)
				if err != nil {
					return nil, err
				}
				if len(taken) == limit {
					return nil, errFull
				}
				return []eventstore.Envelope{Event(account, commandID), Event(roster, commandID)}, nil
			})
			switch {
			case errors.Is(err, errFull):
				refused.Add(1)
			case err != nil:
				t.Errorf("racer %d: %v", i, err)
			case len(out.Events) != 2 || out.Events[1].Position != out.Events[0].Position+1:
				t.Errorf("racer %d: %+v, want two neighbours", i, out.Events)
			default:
				granted.Add(1)
			}
		})
	}
	wg.Wait()
	if granted.Load() != limit || refused.Load() != racers-limit {
		t.Errorf("%d granted and %d refused, want %d and %d", granted.Load(), refused.Load(), limit, racers-limit)
	}
	accounts := 0
	for i := range racers {
		accounts += len(s.mustLoad(t, s.account("admin"+strconv.Itoa(i))))
	}
	if seats := len(s.mustLoad(t, roster)); seats != limit || accounts != limit {
		t.Errorf("%d seats and %d accounts, want %d of each", seats, accounts, limit)
	}
}
