package messaging

import "maps"

// floor tells up to where all messages of a stream are settled, from what a consumer delivers of it. Nothing below
// it is needed any more. The zero value knows nothing.
//
// A message that was lost on its way to the client must neither be taken for settled nor be overtaken by later ones. The
// consumer's own sequence, which has no gaps, tells a loss from a gap in the stream. After a loss a new consumer has to deliver the
// stream from its beginning.
type floor struct {
	next     uint64 // all before it is settled, or not in the stream
	settled  map[uint64]*delivery
	gone     map[uint64]uint64 // from the first to the last sequence of a gap
	consumer uint64            // of the latest delivery
	stream   uint64            // of the latest first delivery
}

// saw takes note of a delivery. It returns false, and takes none, when one before it has not arrived.
func (f *floor) saw(consumer, stream uint64, again bool) bool {
	if consumer != f.consumer+1 {
		return false
	}
	f.consumer = consumer
	switch {
	case again:
		return true
	case consumer == 1: // the first that the stream has
		f.raise(stream)
	default:
		f.miss(max(f.stream+1, f.next), stream-1)
	}
	f.stream = stream
	return true
}

// miss takes note that there is nothing from one sequence to another.
func (f *floor) miss(first, last uint64) {
	if first > last {
		return
	}
	if f.gone == nil {
		f.gone = make(map[uint64]uint64)
	}
	f.gone[first] = last
}

// raise takes note that there is nothing below a sequence.
func (f *floor) raise(to uint64) {
	if to <= f.next {
		return
	}
	f.next = to
	maps.DeleteFunc(f.settled, func(n uint64, _ *delivery) bool { return n < to })
	maps.DeleteFunc(f.gone, func(first, _ uint64) bool { return first < to })
}

// restart takes note that a new consumer delivers the stream from its beginning.
func (f *floor) restart() { f.consumer, f.stream = 0, 0 }

// settle takes note that a message is settled.
func (f *floor) settle(d *delivery) {
	if f.settled == nil {
		f.settled = make(map[uint64]*delivery)
	}
	if d.sequence >= f.next {
		f.settled[d.sequence] = d
	}
}

// rise returns the sequence below which all is settled.
func (f *floor) rise() uint64 {
	for {
		if last, ok := f.gone[f.next]; ok {
			f.raise(last + 1)
			continue
		}
		if _, ok := f.settled[f.next]; !ok {
			return f.next
		}
		delete(f.settled, f.next)
		f.next++
	}
}
