package keyring

import (
	"container/list"
	"sync"

	"github.com/oklog/ulid/v2"
)

// cache keeps the blocks that were used last.
type cache struct {
	limit int

	mu      sync.Mutex
	entries map[ulid.ULID]*list.Element
	used    list.List // of *cached, the last used first
	closed  bool
}

type cached struct {
	block *block
	seq   uint64 // of the version in the stream
}

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: make(map[ulid.ULID]*list.Element)}
}

// get returns a block, nil when it is not there.
func (c *cache) get(id ulid.ULID) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok {
		return nil
	}
	c.used.MoveToFront(e)
	return e.Value.(*cached).block
}

// put keeps the version of a block that the stream has at seq, and returns the
// newest version that is known: an older one never takes the place of a newer one.
// What falls out is left to the garbage collector, for it may be in use.
func (c *cache) put(b *block, seq uint64) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		b.wipe()
		return b
	}
	if e, ok := c.entries[b.id]; ok {
		c.used.MoveToFront(e)
		have := e.Value.(*cached)
		if have.seq < seq {
			have.block.wipe() // whoever still holds it gets the new one, see Keyring.key
			have.block, have.seq = b, seq
		}
		return have.block
	}
	c.entries[b.id] = c.used.PushFront(&cached{block: b, seq: seq})
	if c.used.Len() > c.limit {
		last := c.used.Remove(c.used.Back()).(*cached)
		delete(c.entries, last.block.id)
	}
	return b
}

// forget wipes a block that is older than the version in the stream at seq. Whoever still holds it reads the new one.
func (c *cache) forget(id ulid.ULID, seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	if !ok || e.Value.(*cached).seq >= seq {
		return
	}
	e.Value.(*cached).block.wipe()
	c.used.Remove(e)
	delete(c.entries, id)
}

// close wipes everything and keeps nothing from then on.
func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for e := c.used.Front(); e != nil; e = e.Next() {
		e.Value.(*cached).block.wipe()
	}
	clear(c.entries)
	c.used.Init()
}
