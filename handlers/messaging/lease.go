package messaging

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// leaseBucket is the bucket of leases.
const leaseBucket = "ROLLCALL_LEASES"

// Times of a lease. A holder that cannot renew it stops before another may take it, as long as their clocks run about as fast;
// no two clocks are ever compared.
const (
	leaseRenew   = time.Second
	leaseLapse   = 3 * time.Second        // after the last renewal the holder stops
	leaseTTL     = 4 * time.Second        // after the last change that was seen another takes it
	leaseLook    = 400 * time.Millisecond // how often those who wait look
	leaseTimeout = time.Second
)

// Leases let one of many instances do what only one may do at a time. It is safe for concurrent use.
type Leases struct {
	kv     jetstream.KeyValue
	holder string
	logger *slog.Logger
}

// OpenLeases returns the leases of an instance, whose bucket is on the given number of servers. Zero replicas means one. The name
// tells people which instance holds a lease. ErrBucket when the bucket exists with another set-up.
func OpenLeases(ctx context.Context, js jetstream.JetStream, replicas int, instance string, logger *slog.Logger) (*Leases, error) {
	kv, err := openBucket(ctx, js, jetstream.KeyValueConfig{
		Bucket: leaseBucket, Description: "Which instance does what only one may. Written by Rollcall alone.", Replicas: replicas,
	})
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	// No two starts of an instance are the same holder: what the one before was doing it may do still.
	return &Leases{kv: kv, holder: instance + "/" + rand.Text()[:8], logger: logger}, nil
}

// Hold does work whenever this instance holds a lease, until ctx ends; then it gives the lease back, when work has returned. The
// context of work ends when the lease is lost, and work has to return soon after: it must not rely on the lease for what must
// never happen twice. When work returns before its context ends, the lease is given back and Hold returns its error.
func (l *Leases) Hold(ctx context.Context, name string, work func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		revision, err := l.acquire(ctx, name)
		if err != nil {
			break // ctx has ended
		}
		l.logger.Info("this instance leads", "lease", name)
		lost, err := l.lead(ctx, name, revision, work)
		if !lost {
			return err
		}
		l.logger.Warn("this instance leads no more; waiting to", "lease", name)
	}
	return nil
}

// acquire waits for the lease and returns the revision that it is held at.
func (l *Leases) acquire(ctx context.Context, name string) (uint64, error) {
	var seen uint64 // revision
	var at time.Time
	tick := time.NewTicker(leaseLook)
	defer tick.Stop()
	for {
		revision, free, err := l.look(ctx, name)
		if err == nil && (at.IsZero() || revision != seen) {
			seen, at = revision, time.Now()
		}
		if lapsed := time.Since(at) >= leaseTTL; err == nil && (free || lapsed) {
			take := l.write
			if revision == 0 && lapsed { // somebody has deleted the key: whoever held the lease has stopped by now
				take = l.recreate
			}
			if mine, err := take(ctx, name, l.holder, revision); err == nil {
				return mine, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// look returns the revision of a lease and whether nobody holds it.
func (l *Leases) look(ctx context.Context, name string) (revision uint64, free bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	e, err := l.kv.Get(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, true, nil
	case err != nil:
		return 0, false, err
	}
	return e.Revision(), len(e.Value()) == 0, nil
}

// write changes a lease that is at a revision, and returns its new one.
func (l *Leases) write(ctx context.Context, name, holder string, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	return l.kv.Update(ctx, name, []byte(holder), revision)
}

// recreate takes a lease whose key was deleted.
func (l *Leases) recreate(ctx context.Context, name, holder string, _ uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	return l.kv.Create(ctx, name, []byte(holder))
}

// lead does work while it renews the lease, and tells whether it was lost.
func (l *Leases) lead(ctx context.Context, name string, revision uint64, work func(context.Context) error) (lost bool, err error) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		err = work(working)
	})
	revision, lost = l.renew(context.WithoutCancel(ctx), name, revision, done)
	stop()
	wg.Wait()
	if lost && ctx.Err() == nil {
		return true, nil
	}
	if _, werr := l.write(context.WithoutCancel(ctx), name, "", revision); werr != nil && !lost {
		l.logger.Warn("the lease is not given back and lapses", "lease", name, "error", werr)
	}
	return false, err
}

// renew renews the lease until done is closed or it is lost, and returns its latest revision.
func (l *Leases) renew(ctx context.Context, name string, revision uint64, done <-chan struct{}) (latest uint64, lost bool) {
	lapse := time.Now().Add(leaseLapse)
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return revision, false
		case <-tick.C:
		}
		began := time.Now()
		next, err := l.write(ctx, name, l.holder, revision)
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			next, err = l.mine(ctx, name, err) // an earlier write may have arrived after all
			if errors.Is(err, errTaken) {
				return revision, true
			}
		}
		switch {
		case err == nil:
			revision, lapse = next, began.Add(leaseLapse)
		case time.Now().After(lapse.Add(-leaseTimeout)):
			l.logger.Warn("the lease cannot be renewed", "lease", name, "error", err)
			return revision, true
		}
	}
}

// errTaken means that another instance holds the lease.
var errTaken = errors.New("another instance holds the lease")

// mine returns the revision of a lease that this instance holds, errTaken when another does, and cause when that is not known.
func (l *Leases) mine(ctx context.Context, name string, cause error) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	e, err := l.kv.Get(ctx, name)
	switch {
	case err != nil:
		return 0, cause
	case string(e.Value()) == l.holder:
		return e.Revision(), nil
	case e.Revision() == 0 || len(e.Value()) == 0:
		return 0, cause // an older state, from before the lease was taken
	}
	return 0, errTaken
}

// Holder returns which instance holds a lease, empty when none does. In a cluster it may be an older one for a moment.
func (l *Leases) Holder(ctx context.Context, name string) (string, error) {
	e, err := l.kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at lease %s: %w", name, err)
	}
	instance, _, _ := strings.Cut(string(e.Value()), "/")
	return instance, nil
}
