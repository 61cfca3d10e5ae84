package command

import (
	"context"
	"hash/maphash"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"rollcall/domain"
	"rollcall/eventstore"
)

const (
	// maxSnapshots bounds the aggregates whose state is remembered.
	maxSnapshots = 8192
	// maxSeen bounds the commands of an aggregate that is remembered: each adds 8 bytes. One with more
	// is loaded from the log each time.
	maxSeen = 2048
	// rememberFor is how long an account is remembered that no command was executed on here: another instance may have deleted it.
	rememberFor = time.Minute
)

// snapshot is the state of one aggregate at a revision. It is never changed.
type snapshot struct {
	state    domain.State // only the part that is the aggregate's
	revision eventstore.Revision
	keyID    string   // the key of an account
	seen     []uint64 // hashes of the ids of the commands that led here
	kept     time.Time
}

// snapshots remembers the aggregates used last, so that a command on one of
// them reads and unseals nothing. What it remembers is acted on under a guard, or after asking the
// leader of the log, so other writers do no harm. It is safe for concurrent use.
type snapshots struct {
	seed   maphash.Seed
	recent *lru.Cache[eventstore.AggregateID, snapshot]
}

func newSnapshots() *snapshots {
	recent, err := lru.New[eventstore.AggregateID, snapshot](maxSnapshots)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &snapshots{seed: maphash.MakeSeed(), recent: recent}
}

// get returns what is remembered of an aggregate. suspect means that the command may
// have been executed on it before, and that the log must be asked.
func (s *snapshots) get(id eventstore.AggregateID, commandID string) (snap snapshot, known, suspect bool) {
	snap, known = s.recent.Get(id)
	suspect = known && slices.Contains(snap.seen, maphash.String(s.seed, commandID))
	return snap, known, suspect
}

func (s *snapshots) put(id eventstore.AggregateID, snap snapshot) {
	if len(snap.seen) > maxSeen {
		s.recent.Remove(id)
		return
	}
	if id.Kind == eventstore.KindAccount && !snap.state.Account.Exists() {
		s.recent.Remove(id) // a deleted account is not kept in memory
		return
	}
	snap.kept = time.Now()
	s.recent.Add(id, snap)
}

// forget forgets the accounts that were kept last before a time.
func (s *snapshots) forget(before time.Time) {
	for _, id := range s.recent.Keys() {
		if snap, ok := s.recent.Peek(id); ok && id.Kind == eventstore.KindAccount && snap.kept.Before(before) {
			s.recent.Remove(id) // of one that was kept again in between, a command reads the log
		}
	}
}

// Run forgets, until ctx ends, the accounts on which no command was executed for a while, so that what a deleted account held is not
// in the memory of an instance that did not delete it. It returns nil. Without it, accounts are remembered until others take their place.
func (s *Service) Run(ctx context.Context) error {
	again := time.NewTicker(rememberFor / 4)
	defer again.Stop()
	for {
		select {
		case now := <-again.C:
			s.snapshots.forget(now.Add(-rememberFor))
		case <-ctx.Done():
			return nil
		}
	}
}

// after returns the snapshot that an event makes of snap.
func (s *snapshots) after(snap snapshot, env eventstore.Envelope, e domain.Event) snapshot {
	snap.state = domain.Evolve(snap.state, e, uint64(env.Position))
	snap.revision = env.Position
	if env.KeyID != "" {
		snap.keyID = env.KeyID
	}
	if h := maphash.String(s.seed, env.CommandID); !slices.Contains(snap.seen, h) {
		snap.seen = append(slices.Clip(snap.seen), h)
	}
	return snap
}
