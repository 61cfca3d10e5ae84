package projections

import (
	"container/heap"

	"rollcall/eventstore"
)

// waiter is one call that waits for a position. ready is closed when the
// position is reached or never will be.
type waiter struct {
	position eventstore.Position
	ready    chan struct{}
	index    int // in the heap, negative once removed
}

// waiters is a heap of waiters, the lowest position first, so that each
// advance touches only those it wakes.
type waiters []*waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].position < w[j].position }

func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push is for container/heap.
func (w *waiters) Push(x any) {
	e := x.(*waiter)
	e.index = len(*w)
	*w = append(*w, e)
}

// Pop is for container/heap.
func (w *waiters) Pop() any {
	old := *w
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	e.index = -1
	return e
}

// add returns a new waiter for a position.
func (w *waiters) add(position eventstore.Position) *waiter {
	e := &waiter{position: position, ready: make(chan struct{})}
	heap.Push(w, e)
	return e
}

// remove forgets a waiter that has given up.
func (w *waiters) remove(e *waiter) {
	if e.index >= 0 {
		heap.Remove(w, e.index)
	}
}

// wake releases all that wait for a position up to and including reached.
func (w *waiters) wake(reached eventstore.Position) {
	for len(*w) > 0 && (*w)[0].position <= reached {
		close(heap.Pop(w).(*waiter).ready)
	}
}

// wakeAll releases all.
func (w *waiters) wakeAll() {
	for _, e := range *w {
		e.index = -1
		close(e.ready)
	}
	*w = nil
}
