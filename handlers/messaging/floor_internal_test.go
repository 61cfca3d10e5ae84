package messaging

import (
	"testing"

	"pgregory.net/rapid"
)

// channel is a stream, a consumer that delivers it, some of it in vain, and a client that keeps a floor.
type channel struct {
	t       *rapid.T
	last    uint64
	exists  map[uint64]bool // in the stream
	cursor  uint64          // of the consumer in the stream
	count   uint64          // of its deliveries
	pending []uint64        // delivered, in vain or not
	floor   floor
	known   map[uint64]bool // arrived at the client at some time
	open    []uint64        // arrived and not settled
}

// deliver delivers a message. A loss that the client finds out about leads to a new consumer.
func (c *channel) deliver(n uint64, arrives, again bool) {
	c.count++
	if !again {
		c.pending = append(c.pending, n)
	}
	switch {
	case !arrives:
	case !c.floor.saw(c.count, n, again):
		c.floor.restart()
		c.cursor, c.count, c.pending = 0, 0, nil
	case !c.known[n]:
		for earlier := range n {
			if c.exists[earlier] && !c.known[earlier] {
				c.t.Fatalf("%d arrives before %d", n, earlier)
			}
		}
		c.known[n], c.open = true, append(c.open, n)
	}
}

// next delivers the next message, if there is one.
func (c *channel) next(arrives bool) bool {
	for c.cursor < c.last {
		c.cursor++
		if c.exists[c.cursor] {
			c.deliver(c.cursor, arrives, false)
			return true
		}
	}
	return false
}

func (c *channel) settle(i int) {
	c.floor.settle(&delivery{sequence: c.open[i]})
	c.open = append(c.open[:i], c.open[i+1:]...)
}

// purge removes what is below the floor.
func (c *channel) purge() {
	unsettled := func(n uint64) bool {
		for _, o := range c.open {
			if o == n {
				return true
			}
		}
		return !c.known[n]
	}
	for n := range c.floor.rise() {
		if c.exists[n] && unsettled(n) {
			c.t.Fatalf("the floor is at %d and %d is not settled", c.floor.next, n)
		}
		c.exists[n] = false
	}
}

// TestNothingBelowTheFloorIsUnsettledAndNothingOvertakes plays a consumer that delivers a stream with gaps, some of it in vain, and
// delivers again what was not settled.
func TestNothingBelowTheFloorIsUnsettledAndNothingOvertakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &channel{t: t, last: rapid.Uint64Range(1, 40).Draw(t, "size"), exists: make(map[uint64]bool), known: make(map[uint64]bool)}
		for n := uint64(1); n <= c.last; n++ {
			c.exists[n] = rapid.IntRange(0, 3).Draw(t, "in the stream") > 0
		}
		arrives := func() bool { return rapid.IntRange(0, 5).Draw(t, "arrives") > 0 }
		t.Repeat(map[string]func(*rapid.T){
			"deliver": func(*rapid.T) { c.next(arrives()) },
			"again": func(t *rapid.T) {
				if len(c.pending) > 0 {
					if n := rapid.SampledFrom(c.pending).Draw(t, "which"); c.exists[n] {
						c.deliver(n, arrives(), true)
					}
				}
			},
			"settle": func(t *rapid.T) {
				if len(c.open) > 0 {
					c.settle(rapid.IntRange(0, len(c.open)-1).Draw(t, "which"))
				}
			},
			"purge": func(*rapid.T) { c.purge() },
			"acknowledge one by one": func(*rapid.T) {
				for n := range c.floor.settled {
					c.exists[n] = false
				}
			},
		})
		// Once nothing is lost any more, everything comes and the floor rises above it.
		var left []uint64
		for n := range c.last + 1 {
			if c.exists[n] {
				left = append(left, n)
			}
		}
		for range 2 { // the first may end in a new consumer
			for c.next(true) {
			}
			for i := 0; i < len(c.pending); i++ {
				c.deliver(c.pending[i], true, true)
			}
			for c.next(true) {
			}
		}
		for len(c.open) > 0 {
			c.settle(0)
		}
		c.purge()
		for _, n := range left {
			if !c.known[n] || c.exists[n] {
				t.Fatalf("%d of %v has arrived: %t, and is removed: %t", n, left, c.known[n], !c.exists[n])
			}
		}
	})
}
