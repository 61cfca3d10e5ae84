package messaging

// floor tells up to where all messages of a stream are settled, from what a consumer delivers of it. Nothing below
// it is needed any more. The zero value knows nothing.
//
// What was lost on its way to the client must not be taken for settled: a message that has not come yet keeps the floor below
// it. A gap in the stream is told from a loss by the consumer's own sequence, which has no gaps.
type floor struct {
	next     uint64 // all before it is settled, or not in the stream
	settled  map[uint64]*delivery
	gone     map[uint64]uint64 // from the first to the last sequence of a gap
	consumer uint64            // of the latest delivery
	stream   uint64            // of the latest first delivery
	unsure   bool              // whether another first delivery may have been lost since
}

// saw takes note of a delivery. Only a first delivery tells of a gap, and only when nothing was lost since the one before.
func (f *floor) saw(consumer, stream uint64, again bool) {
	f.unsure = f.unsure || consumer != f.consumer+1
	f.consumer = consumer
	switch {
	case again:
		return
	case consumer == 1: // the first that the stream has
		f.next, f.unsure = max(f.next, stream), false
	case !f.unsure && stream > f.stream+1:
		if f.gone == nil {
			f.gone = make(map[uint64]uint64)
		}
		f.gone[f.stream+1] = stream - 1
	}
	f.stream, f.unsure = stream, false
}

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
			delete(f.gone, f.next)
			f.next = last + 1
			continue
		}
		if _, ok := f.settled[f.next]; !ok {
			return f.next
		}
		delete(f.settled, f.next)
		f.next++
	}
}
