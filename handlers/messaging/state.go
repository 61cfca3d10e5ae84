package messaging

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"rollcall/eventstore/streams"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// stateBucket is the bucket of checkpoints.
const stateBucket = "ROLLCALL_STATE"

// ErrBucket means that a bucket exists but is set up in a way that could lose
// what is put into it.
var ErrBucket = errors.New("the bucket is not set up as it must be")

// State keeps small numbers by name, such as the checkpoint of a reactor. It is
// safe for concurrent use; each name is for one writer.
type State struct {
	js jetstream.JetStream
	kv jetstream.KeyValue
}

// OpenState returns the store of checkpoints, with its bucket on the given
// number of servers. Zero replicas means one. ErrBucket when the bucket exists with
// another set-up.
func OpenState(ctx context.Context, js jetstream.JetStream, replicas int) (*State, error) {
	kv, err := openBucket(ctx, js, jetstream.KeyValueConfig{
		Bucket:      stateBucket,
		Description: "Checkpoints of Rollcall. Written by Rollcall alone.",
		Replicas:    replicas,
	})
	if err != nil {
		return nil, err
	}
	return &State{js: js, kv: kv}, nil
}

// Get returns the number that was put under a name last, zero when there is none. In
// a cluster it may be an older one for a moment.
func (s *State) Get(ctx context.Context, name string) (uint64, error) {
	e, err := s.kv.Get(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("get %s from bucket %s: %w", name, stateBucket, err)
	}
	n, err := strconv.ParseUint(string(e.Value()), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("get %s from bucket %s: %w; delete the key to start from the beginning", name, stateBucket, err)
	}
	return n, nil
}

// Put keeps a number under a name, which has letters, digits and - _ = . only. It returns when
// the server has acknowledged it. After an error it may have been kept or not.
func (s *State) Put(ctx context.Context, name string, n uint64) error {
	if _, err := s.kv.PutString(ctx, name, strconv.FormatUint(n, 10)); err != nil {
		return fmt.Errorf("put %s into bucket %s: %w", name, stateBucket, err)
	}
	return nil
}

// idName is under what the bucket has the id of this Rollcall.
const idName = "id"

// ID returns the id of this Rollcall, a ULID: the same for all instances on one log, and of no other. The first instance makes it; one that
// was restored from a backup, which has no checkpoints, has a new one.
func (s *State) ID(ctx context.Context) (string, error) {
	for {
		id, _, err := lastMessage(ctx, s.js.Conn(), "KV_"+stateBucket, "$KV."+stateBucket+"."+idName)
		if err != nil || len(id) > 0 {
			return string(id), err
		}
		if _, err := s.kv.Create(ctx, idName, []byte(ulid.Make().String())); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
			return "", fmt.Errorf("put %s into bucket %s: %w", idName, stateBucket, err)
		}
	}
}

// openBucket returns a bucket that keeps the latest value of each key on disk
// forever. It creates the bucket where there is none, and never changes one.
func openBucket(ctx context.Context, js jetstream.JetStream, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	cfg.History, cfg.Storage = 1, jetstream.FileStorage
	kv, err := streams.Answered(ctx, func() (jetstream.KeyValue, error) { return js.KeyValue(ctx, cfg.Bucket) })
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = streams.Settled(ctx, func() (jetstream.KeyValue, error) {
			kv, err := js.CreateKeyValue(ctx, cfg)
			if errors.Is(err, jetstream.ErrBucketExists) { // another instance was faster
				kv, err = js.KeyValue(ctx, cfg.Bucket)
			}
			return kv, err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Bucket, err)
	}
	status, err := streams.Settled(ctx, func() (jetstream.KeyValueStatus, error) { return kv.Status(ctx) })
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Bucket, err)
	}
	return kv, checkBucket(status.Config(), cfg)
}

// checkBucket compares what matters of a bucket's set-up and names every difference.
func checkBucket(got, want jetstream.KeyValueConfig) error {
	var wrong []string
	check := func(ok bool, name string, got, want any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", name, got, want))
		}
	}
	check(got.Storage == want.Storage, "storage", got.Storage, want.Storage)
	check(got.TTL == 0, "ttl", got.TTL, "none")
	check(got.MaxBytes <= 0, "max_bytes", got.MaxBytes, "no limit")
	check(got.Replicas >= want.Replicas, "replicas", got.Replicas, want.Replicas)
	check(got.Mirror == nil && len(got.Sources) == 0, "mirror or sources", "set", "none")
	if len(wrong) > 0 {
		return fmt.Errorf("%w: bucket %s: %s; correct stream KV_%s with the nats command line and start again",
			ErrBucket, want.Bucket, strings.Join(wrong, "; "), want.Bucket)
	}
	return nil
}
