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
	// rotateAtOnce is how many blocks are wrapped anew at once.
	rotateAtOnce = 8
	// rotatePause is after how long blocks are looked for that other instances have wrapped with an old master key meanwhile.
	rotatePause = 2 * time.Second
)

// rotate wraps blocks anew that old master keys wrap, and goes on to do so with those that instances with an old one still write. It
// is resumed by any keyring that is opened with the same old key. Several do it side by side: what one has done, the others pass over.
func (k *Keyring) rotate() {
	for k.ctx.Err() == nil {
		blocks := k.known.old()
		err := k.rotateAll(blocks)
		if err == nil {
			// An instance that crashed may have written a version and not have erased the one before.
			_, err = k.store.resume(k.ctx)
		}
		if k.ctx.Err() != nil {
			return
		}
		switch {
		case err != nil:
			k.opts.Logger.Warn("keys could not all be wrapped with the new master key, which is tried again", "error", err)
		case len(blocks) > 0:
			k.opts.Logger.Info("keys have been wrapped with the new master key", "blocks", len(blocks))
		}
		if pause(k.ctx, rotatePause) != nil {
			return
		}
	}
}

// rotateAll wraps blocks anew. One that fails does not stop the others.
func (k *Keyring) rotateAll(blocks []ulid.ULID) error {
	// Instances that begin at the same time get in each other's way less.
	rand.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	var (
		wg   sync.WaitGroup
		next = make(chan ulid.ULID)
		errs = make([]error, rotateAtOnce)
	)
	for i := range rotateAtOnce {
		wg.Go(func() {
			for id := range next {
				if err := k.rewrap(k.ctx, id); err != nil {
					errs[i] = fmt.Errorf("wrap block %s of keys anew: %w", id, err)
				}
			}
		})
	}
	for _, id := range blocks {
		if k.ctx.Err() != nil {
			break
		}
		next <- id
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}

// rewrap writes a version of a block that is wrapped with the current master key, unless none of the old ones wraps it any more,
// and erases the versions before it.
func (k *Keyring) rewrap(ctx context.Context, id ulid.ULID) error {
	for {
		b, seq, by, err := k.store.read(ctx, id)
		if err != nil {
			return err
		}
		if !k.known.isOld(by) {
			b.wipe()
			k.known.note(id, by, seq)
			return nil
		}
		newer, err := k.store.publish(ctx, b, seq)
		if err != nil {
			b.wipe()
		}
		switch {
		case errors.Is(err, errConflict): // a key was destroyed, or another instance was quicker
			continue
		case err != nil:
			return err
		}
		k.cache.put(b, newer)
		k.known.note(id, k.store.wrapper.master, newer)
		return k.store.eraseOlder(ctx, id, newer)
	}
}
