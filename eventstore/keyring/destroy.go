package keyring

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

const (
	// maxDestroys is how many blocks a call of Destroy works on at once.
	maxDestroys = 16
	// maxBackoff is the longest pause after a conflict.
	maxBackoff = 50 * time.Millisecond
)

// Destroy destroys keys: what was sealed with them can never be unsealed again. When it
// returns nil, no version of their blocks that held them is left in the stream, and the bytes of those
// versions are overwritten in the files of the stream's leader; the package comment tells
// what that does not reach. To destroy a key again is no error and makes sure of the same, so after any error
// the whole call may be repeated. An interrupted call is finished by the next Open.
//
// Keys of one block cost as much as one of them; different blocks are worked on
// side by side. One block that fails does not stop the others; the error then joins all that went wrong.
//
// Errors: ErrKeyID, with nothing done, when one of the ids is malformed; eventstore.ErrDamaged when a key is missing;
// eventstore.ErrUnavailable; ErrClosed; the context's.
func (k *Keyring) Destroy(ctx context.Context, ids ...string) error {
	blocks := make(map[ulid.ULID][]int)
	for _, text := range ids {
		id, err := parseKeyID(text)
		if err != nil {
			return fmt.Errorf("destroy keys: %w", err)
		}
		blocks[id.block] = append(blocks[id.block], id.slot)
	}
	// Both the caller and Close end the work.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(k.ctx, func() { cancel(ErrClosed) })
	defer stop()

	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		free = make(chan struct{}, maxDestroys)
	)
	for id, slots := range blocks {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			if err := k.destroyIn(ctx, id, slots); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("destroy keys of block %s: %w", id, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// destroyIn destroys the keys in some slots of one block.
func (k *Keyring) destroyIn(ctx context.Context, id ulid.ULID, slots []int) error {
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			if err := pause(ctx, rand.N(min(time.Millisecond<<min(attempt, 10), maxBackoff))); err != nil {
				return err
			}
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		b, seq, err := k.store.latest(ctx, id)
		if err != nil {
			return err
		}
		seq, err = k.writeWithout(ctx, b, slots, seq)
		switch {
		case err == nil:
			k.cache.put(b, seq)
			return k.store.eraseOlder(ctx, id, seq)
		case !errors.Is(err, errConflict):
			b.wipe()
			return err
		}
		b.wipe()
	}
}

// writeWithout writes a version of a block without the keys in the slots, unless
// they are destroyed already, and returns the sequence of the version that is now the newest.
func (k *Keyring) writeWithout(ctx context.Context, b *block, slots []int, seq uint64) (uint64, error) {
	changed, err := b.destroy(slots)
	if err != nil || !changed {
		return seq, err
	}
	return k.store.publish(ctx, b, seq)
}
