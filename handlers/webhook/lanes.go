package webhook

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"rollcall/domain"
)

const (
	perLane  = 4   // attempts at once of one webhook
	perRun   = 256 // of all
	lostWait = 5 * time.Second
)

// key names a delivery.
type key struct {
	app         domain.AppID
	webhook, id string
}

// lanes make attempts at deliveries when they are due. Each webhook has a lane of its own, so that one that is slow or dead
// holds up no other.
type lanes struct {
	ctx     context.Context // of all attempts
	attempt func(context.Context, key) (Delivery, error)
	slots   chan struct{}
	running sync.WaitGroup

	mu    sync.Mutex
	lanes map[string]*lane // by webhook
}

// lane is the deliveries of one webhook that are pending. lanes.mu guards it.
type lane struct {
	waiting map[key]due
	order   dueOrder // of all that is in waiting and not busy, and of what was
	busy    map[key]bool
	wake    chan struct{}
}

// due tells when a delivery is to be attempted, as of a revision of it.
type due struct {
	at       time.Time
	revision uint64
}

// await has a delivery attempted when it is due.
func (l *lane) await(k key, d due) {
	l.waiting[k] = d
	heap.Push(&l.order, entry{k, d})
}

// entry is a place in the order. It counts while its delivery is waiting as it was when it was put in.
type entry struct {
	key key
	due due
}

// dueOrder is a heap.Interface whose first is due first.
type dueOrder []entry

func (o dueOrder) Len() int           { return len(o) }
func (o dueOrder) Less(i, j int) bool { return o[i].due.at.Before(o[j].due.at) }
func (o dueOrder) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *dueOrder) Push(e any)        { *o = append(*o, e.(entry)) }
func (o *dueOrder) Pop() any {
	last := len(*o) - 1
	e := (*o)[last]
	*o = (*o)[:last]
	return e
}

func newLanes(ctx context.Context, attempt func(context.Context, key) (Delivery, error)) *lanes {
	return &lanes{ctx: ctx, attempt: attempt, slots: make(chan struct{}, perRun), lanes: make(map[string]*lane)}
}

// put takes a delivery as it is now.
func (l *lanes) put(d Delivery) {
	k := key{d.App, d.Webhook, d.ID}
	l.mu.Lock()
	defer l.mu.Unlock()
	here := l.lanes[d.Webhook]
	if here == nil {
		if d.Status != Pending || l.ctx.Err() != nil {
			return
		}
		here = &lane{waiting: make(map[key]due), busy: make(map[key]bool), wake: make(chan struct{}, 1)}
		l.lanes[d.Webhook] = here
		l.running.Go(func() { l.run(d.Webhook, here) })
	}
	switch before, known := here.waiting[k]; {
	case known && before.revision > d.Revision:
		return
	case d.Status == Pending:
		here.await(k, due{d.NextAttempt, d.Revision})
	default:
		delete(here.waiting, k)
	}
	here.stir()
}

func (l *lane) stir() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake already
	}
}

// wait returns when no attempt is made any more, after the context of the lanes has ended.
func (l *lanes) wait() { l.running.Wait() }

// run begins attempts as they are due, until nothing is pending.
func (l *lanes) run(webhook string, here *lane) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		k, at, more := l.next(webhook, here)
		if !more {
			return
		}
		if k.id != "" && !time.Now().Before(at) {
			if !l.begin(here, k) {
				return
			}
			continue
		}
		if k.id != "" {
			timer.Reset(time.Until(at))
		}
		select {
		case <-timer.C:
		case <-here.wake:
		case <-l.ctx.Done():
			return
		}
	}
}

// next returns the delivery that is due first, none while as many as may are attempted. More is false, and the lane
// is gone, when nothing is pending.
func (l *lanes) next(webhook string, here *lane) (first key, at time.Time, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(here.waiting) == 0 && len(here.busy) == 0 {
		delete(l.lanes, webhook)
		return key{}, time.Time{}, false
	}
	if len(here.busy) >= perLane {
		return key{}, time.Time{}, true
	}
	for len(here.order) > 0 {
		e := here.order[0]
		if here.waiting[e.key] == e.due && !here.busy[e.key] {
			return e.key, e.due.at, true
		}
		heap.Pop(&here.order)
	}
	return key{}, time.Time{}, true
}

// begin makes an attempt beside the lane, once there is room for one. It returns false when the context has ended.
func (l *lanes) begin(here *lane, k key) bool {
	select {
	case l.slots <- struct{}{}:
	case <-l.ctx.Done():
		return false
	}
	l.mu.Lock()
	here.busy[k] = true
	l.mu.Unlock()
	l.running.Go(func() {
		defer func() { <-l.slots }()
		d, err := l.attempt(l.ctx, k)
		l.end(here, k, d, err)
	})
	return true
}

// end notes what became of an attempt.
func (l *lanes) end(here *lane, k key, d Delivery, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(here.busy, k)
	before, known := here.waiting[k]
	defer func() {
		if left, ok := here.waiting[k]; ok {
			here.await(k, left) // it has lost its place in the order
		}
		here.stir()
	}()
	switch {
	case errors.Is(err, ErrNotFound): // it, or its webhook, was deleted
		delete(here.waiting, k)
	case errors.Is(err, ErrChanged): // what it is now comes, or has come, by itself
		if known && before.revision <= d.Revision {
			delete(here.waiting, k)
		}
	case err != nil:
		here.waiting[k] = due{time.Now().Add(lostWait), before.revision}
	case before.revision > d.Revision:
	case d.Status == Pending:
		here.waiting[k] = due{d.NextAttempt, d.Revision}
	default:
		delete(here.waiting, k)
	}
}
