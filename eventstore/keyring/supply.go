package keyring

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/oklog/ulid/v2"
)

// maxAhead bounds how many blocks are made ahead.
const maxAhead = 16

// supply holds the blocks that are on disk and whose keys are not all given out.
type supply struct {
	mu       sync.Mutex
	blocks   []stock
	released []keyID       // given out and taken back
	ahead    int           // how many blocks to have in stock; grows each time the stock runs out
	filling  bool          // blocks are being made
	fails    int           // how often that failed
	err      error         // why it last failed
	changed  chan struct{} // closed and replaced whenever any of the above changes
}

// stock is a block whose slots from next on are free.
type stock struct {
	block ulid.ULID
	next  int
	size  int
}

func (s *supply) init() {
	s.ahead = 1
	s.changed = make(chan struct{})
}

// take returns the next free key, or false when there is none.
func (s *supply) take() (keyID, bool) {
	if n := len(s.released); n > 0 {
		id := s.released[n-1]
		s.released = s.released[:n-1]
		return id, true
	}
	if len(s.blocks) == 0 {
		return keyID{}, false
	}
	b := &s.blocks[0]
	id := keyID{block: b.block, slot: b.next}
	if b.next++; b.next == b.size {
		s.blocks = s.blocks[1:]
	}
	return id, true
}

// signal wakes all who wait for a change.
func (s *supply) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// NewKey returns the id of a key that is on disk and that nobody else has, from
// any instance: it was never given out before, or was released. Keys are made ahead, in blocks, so that it seldom waits; up to 16
// blocks, when they are used up quickly. Those that are left when the process ends are never used.
//
// Errors: eventstore.ErrUnavailable, ErrClosed, the context's.
func (k *Keyring) NewKey(ctx context.Context) (string, error) {
	s := &k.fresh
	s.mu.Lock()
	defer s.mu.Unlock()
	fails := s.fails
	for {
		if k.ctx.Err() != nil {
			return "", fmt.Errorf("make a key: %w", ErrClosed)
		}
		id, ok := s.take()
		if !ok && s.fails != fails {
			return "", fmt.Errorf("make a key: %w", s.err)
		}
		k.refill(!ok)
		if ok {
			return id.String(), nil
		}
		changed := s.changed
		s.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-k.ctx.Done():
		case <-ctx.Done():
			err = fmt.Errorf("make a key: %w", context.Cause(ctx))
		}
		s.mu.Lock()
		if err != nil {
			return "", err
		}
	}
}

// maxReleased bounds the keys that are kept for the next caller.
const maxReleased = 1024

// Release takes back a key that NewKey gave out and with which nothing was
// sealed that anybody keeps. NewKey may return it again. A key that is not taken back is never used.
func (k *Keyring) Release(id string) {
	key, err := parseKeyID(id)
	if err != nil {
		return
	}
	s := &k.fresh
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.released) < maxReleased {
		s.released = append(s.released, key)
	}
}

// refill starts to make blocks when fewer than wanted are in stock, more of them
// once the stock has run out. The supply is locked.
func (k *Keyring) refill(ranOut bool) {
	s := &k.fresh
	if s.filling {
		return
	}
	if ranOut {
		s.ahead = min(2*s.ahead, maxAhead)
	}
	n := s.ahead - len(s.blocks)
	if n <= 0 {
		return
	}
	s.filling = k.background(func() { k.makeBlocks(n) })
}

// makeBlocks makes n blocks at once and puts each in stock when it is on disk.
func (k *Keyring) makeBlocks(n int) {
	s := &k.fresh
	var failure atomic.Pointer[error]
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := k.makeBlock(); err != nil {
				failure.Store(&err)
			}
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filling = false
	if err := failure.Load(); err != nil {
		s.fails++
		s.err = k.failed(*err)
		k.opts.Logger.WarnContext(k.ctx, "could not make keys ahead; the next request for one tries again", "error", s.err)
	}
	s.signal()
}

// makeBlock publishes a block of new keys. When that fails the block may exist
// all the same; its keys are then never used.
func (k *Keyring) makeBlock() error {
	b, err := newBlock(k.opts.BlockSize)
	if err != nil {
		return err
	}
	seq, err := k.store.publish(k.ctx, b, 0)
	if err != nil {
		b.wipe()
		return err
	}
	k.cache.put(b, seq)
	s := &k.fresh
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks = append(s.blocks, stock{block: b.id, size: k.opts.BlockSize})
	s.signal()
	return nil
}
