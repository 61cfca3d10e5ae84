package keyring

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/oklog/ulid/v2"
)

// Role is what a master key is to a keyring.
type Role string

// The roles of master keys.
const (
	Current Role = "current" // wraps blocks
	Old     Role = "old"     // has wrapped blocks, which are wrapped anew
	Next    Role = "next"    // wraps blocks for other instances
	Unknown Role = "unknown" // has wrapped blocks for other instances, which cannot be read
)

// MasterKeyUse tells how many blocks a master key wraps.
type MasterKeyUse struct {
	ID     string // see MasterKey.ID
	Role   Role
	Blocks int
}

// MasterKeys returns how many blocks of keys each master key wraps, those that are given and all that do, as of a moment ago. An old one that
// wraps none may be dropped once every instance has gone on from it: until then one may still wrap blocks with it.
func (k *Keyring) MasterKeys() []MasterKeyUse { return k.known.uses() }

// census knows which master key wrapped the newest version of each block.
type census struct {
	mu      sync.Mutex
	roles   map[masterID]Role
	blocks  map[ulid.ULID]wrapping
	last    uint64        // sequence of the last version that was taken note of
	changed chan struct{} // closed and replaced with each note
}

// wrapping is a version of a block.
type wrapping struct {
	by  masterID
	seq uint64
}

func (c *census) init(master MasterKey, opts Options) {
	c.roles = map[masterID]Role{}
	for _, m := range opts.Next {
		c.roles[m.id()] = Next
	}
	for _, m := range opts.Old {
		c.roles[m.id()] = Old
	}
	c.roles[master.id()] = Current
	c.blocks = make(map[ulid.ULID]wrapping)
	c.changed = make(chan struct{})
}

// note takes note of a version of a block.
func (c *census) note(id ulid.ULID, by masterID, seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[id].seq < seq {
		c.blocks[id] = wrapping{by, seq}
	}
	c.reach(seq)
}

// pass takes note of a version of a block that cannot be read.
func (c *census) pass(id ulid.ULID, seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[id].seq < seq {
		delete(c.blocks, id)
	}
	c.reach(seq)
}

// reach tells those who wait how far the stream has been read. The caller holds mu.
func (c *census) reach(seq uint64) {
	c.last = max(c.last, seq)
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait returns once the version at a sequence, or one behind it, has been taken note of.
func (c *census) wait(ctx context.Context, seq uint64) error {
	for {
		c.mu.Lock()
		last, changed := c.last, c.changed
		c.mu.Unlock()
		if last >= seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// old returns the blocks that old master keys wrap.
func (c *census) old() (blocks []ulid.ULID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, w := range c.blocks {
		if c.roles[w.by] == Old {
			blocks = append(blocks, id)
		}
	}
	return blocks
}

// isOld tells whether a master key is an old one. Roles never change.
func (c *census) isOld(by masterID) bool { return c.roles[by] == Old }

func (c *census) uses() []MasterKeyUse {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := make(map[masterID]int, len(c.roles))
	for _, w := range c.blocks {
		count[w.by]++
	}
	for id := range c.roles {
		count[id] += 0
	}
	all := make([]MasterKeyUse, 0, len(count))
	for id, n := range count {
		role, known := c.roles[id]
		if !known {
			role = Unknown
		}
		all = append(all, MasterKeyUse{ID: id.String(), Role: role, Blocks: n})
	}
	slices.SortFunc(all, func(a, b MasterKeyUse) int { return strings.Compare(a.ID, b.ID) })
	return all
}
