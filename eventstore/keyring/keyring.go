// Package keyring owns the keys of accounts: it makes them, seals and unseals
// personal data with them, and destroys them, after which the data can never be read
// again, not from the log, its replicas or its backups.
//
// Keys live on the stream KEYS, 64 in a message, wrapped with a master key that is kept
// outside NATS. To destroy a key is to publish its block anew without it and to
// overwrite every older version of the block on the disks of the servers.
//
// The package must never write a key, wrapped or not, anywhere but on that stream,
// never write a master key into NATS, and never give a key out: only what was
// sealed and unsealed with it. It knows nothing of accounts or events.
//
// # What destruction reaches
//
// On a single server nothing of a destroyed key is left in any file of its store when
// Destroy returns. On a replicated stream the other replicas follow within moments, but the servers' Raft
// logs still hold the wrapped block as it was once published. The servers compact
// them two to three minutes after the last write, later under constant writing (when 4 MiB more
// have been written), and for a server that was stopped before, after its next start. No request makes them do so sooner.
//
// Servers free the old disk blocks, they do not overwrite them: whoever fears an
// examination of the raw disk needs an encrypted file system. Encryption at rest by the
// NATS server turns the overwriting off and must not be used for this stream. A backup of the stream
// KEYS brings the keys of its day back: keep few, and not as long as those of the log.
//
// That a key is on disk before it is used rests on the servers too: they must be configured with
// sync_interval: always.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// Errors of a Keyring. Besides these it returns eventstore.ErrKeyDestroyed, eventstore.ErrDamaged when keys
// or sealed data are missing or altered, and eventstore.ErrUnavailable when the stream of keys cannot be reached. Test for them
// with errors.Is.
var (
	ErrWrongMasterKey = errors.New("the keys were wrapped with another master key: start with the one they were wrapped with, or give it as an old one")
	ErrConfig         = errors.New("the stream of keys is not set up as it must be")
	ErrClosed         = errors.New("the keyring is closed")
)

// Defaults of Options.
const (
	DefaultBlockSize   = 64
	DefaultCacheBlocks = 1024
	DefaultTimeout     = 10 * time.Second
	DefaultLogStream   = "ACCOUNTS"
)

// Options of Open. The zero value of each field is its default.
type Options struct {
	// Replicas of the stream of keys, 1 to 5; the default is 1. An existing
	// stream with fewer is refused.
	Replicas int
	// BlockSize is how many keys a new block holds, 1 to 1024. A creation
	// costs the servers 1/BlockSize of a message, a destruction a message of 32 bytes times BlockSize.
	BlockSize int
	// CacheBlocks is how many unwrapped blocks stay in memory, 2 KiB each at the default size.
	CacheBlocks int
	// Timeout bounds each request to the servers.
	Timeout time.Duration
	// LogStream is the stream of the log. While it has events, a missing
	// stream of keys is a loss and is never created anew.
	LogStream string
	// Old are master keys that wrapped blocks before. Those blocks are wrapped anew in the background, see Keyring.MasterKeys.
	Old []MasterKey
	// Next are master keys with which instances that have gone on to them wrap blocks. Those blocks are read, and left as they are.
	Next []MasterKey
	// Logger gets what happens in the background; the default discards it.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Replicas, 1)
	def(&o.BlockSize, DefaultBlockSize)
	def(&o.CacheBlocks, DefaultCacheBlocks)
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.LogStream == "" {
		o.LogStream = DefaultLogStream
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Replicas < 1 || o.Replicas > 5:
		return o, fmt.Errorf("open keyring: %d replicas, want 1 to 5", o.Replicas)
	case o.BlockSize < 1 || o.BlockSize > maxBlockSize:
		return o, fmt.Errorf("open keyring: %d keys in a block, want 1 to %d", o.BlockSize, maxBlockSize)
	case o.CacheBlocks < 1:
		return o, fmt.Errorf("open keyring: a cache of %d blocks, want at least 1", o.CacheBlocks)
	case o.Timeout < 0:
		return o, fmt.Errorf("open keyring: a timeout of %v, want more than 0", o.Timeout)
	}
	return o, nil
}

// Keyring makes, uses and destroys the keys of accounts. It is safe for
// concurrent use, and any number of instances may work on one stream.
//
// An instance keeps the blocks it used last in memory. A key that another instance has destroyed may go on working in this one for the
// moment that it takes to hear of it. Readers deny a deleted account by its event, not by its key.
type Keyring struct {
	opts  Options
	store store
	cache *cache
	fresh supply
	known census

	ctx    context.Context // of what runs in the background; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	loads  map[ulid.ULID]*load
}

// Open opens the stream of keys, and creates it when there is none and the log
// is empty. It finishes what an interrupted Destroy has left undone. The connection of js stays the
// caller's, who closes it after the keyring.
//
// Errors: ErrMasterKey for the zero master key; ErrWrongMasterKey when a
// block was wrapped with one that is not given; ErrConfig when the stream could lose keys or give them
// away; eventstore.ErrDamaged when the stream is gone or its newest block unreadable; eventstore.ErrUnavailable.
func Open(ctx context.Context, js jetstream.JetStream, master MasterKey, opts Options) (*Keyring, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	w, err := newWrapper(master, append(opts.Old, opts.Next...)...)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	st, newest, err := openStore(ctx, js, w, opts)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	resumed, err := st.resume(ctx)
	if err != nil {
		return nil, fmt.Errorf("open keyring: finish an interrupted destruction of keys: %w", err)
	}
	if resumed > 0 {
		opts.Logger.InfoContext(ctx, "finished an interrupted destruction of keys", "blocks", resumed)
	}
	k := &Keyring{opts: opts, store: st, cache: newCache(opts.CacheBlocks), loads: make(map[ulid.ULID]*load)}
	k.fresh.init()
	k.known.init(master, opts)
	k.ctx, k.cancel = context.WithCancel(context.Background())
	if err := k.start(ctx, newest); err != nil {
		k.Close()
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	return k, nil
}

// start begins to follow the stream, and returns once it is known which master keys have wrapped the blocks up to the newest, by its sequence.
func (k *Keyring) start(ctx context.Context, newest uint64) error {
	k.background(k.follow)
	if err := k.takeCensus(ctx, newest); err != nil {
		return err
	}
	for _, m := range k.MasterKeys() {
		if m.Role == Unknown && m.Blocks > 0 {
			return fmt.Errorf("%d blocks of keys in stream %s were wrapped with master key %s, this is master key %s: %w",
				m.Blocks, StreamName, m.ID, k.store.wrapper.master, ErrWrongMasterKey)
		}
	}
	if len(k.opts.Old) > 0 {
		k.background(k.rotate)
	}
	return nil
}

// takeCensus returns once the newest version of a block has been taken note of. What is newest is asked again now and then: another
// instance may erase it before it is read.
func (k *Keyring) takeCensus(ctx context.Context, newest uint64) error {
	const every = time.Second
	for {
		attempt, cancel := context.WithTimeout(ctx, every)
		err := k.known.wait(attempt, newest)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return unavailable(ctx, "read the stream of keys", err)
		}
		if newest, err = k.store.newest(ctx); err != nil {
			return err
		}
	}
}

// Close ends what runs in the background, waits for it and wipes the keys from
// memory. Keys made ahead and not given out are abandoned. Calls under way and later ones fail with ErrClosed.
func (k *Keyring) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.cancel()
	k.wg.Wait()
	k.cache.close()
}

// background runs f until it returns, which Close waits for. It returns false,
// and runs nothing, once the keyring is closed.
func (k *Keyring) background(f func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.wg.Go(f)
	return true
}

// failed returns the error of what ran in the background: ErrClosed when Close ended it.
func (k *Keyring) failed(err error) error {
	if k.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}
