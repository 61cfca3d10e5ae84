package messaging

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/access"
)

// tokenBucket is the bucket of tokens.
const tokenBucket = "ROLLCALL_TOKENS"

const (
	// watchAckWait is how soon a record is sent again that got lost between server and
	// client, and watchHeartbeat how often the server tells that it is there, the least that
	// the client allows. Together they bound how long a revocation goes unnoticed.
	watchAckWait   = 500 * time.Millisecond
	watchHeartbeat = 500 * time.Millisecond
	// watchPause is how long a watch waits after a fault before it begins anew.
	watchPause = 200 * time.Millisecond
	// watchTimeout bounds the creation of a watch's consumer.
	watchTimeout = 3 * time.Second
)

// Tokens keeps tokens in a bucket. It implements access.Store.
type Tokens struct {
	js jetstream.JetStream
	kv jetstream.KeyValue
}

// OpenTokens returns the store of tokens, with its bucket on the given number of
// servers. Zero replicas means one. ErrBucket when the bucket exists with another set-up.
func OpenTokens(ctx context.Context, js jetstream.JetStream, replicas int) (*Tokens, error) {
	kv, err := openBucket(ctx, js, jetstream.KeyValueConfig{
		Bucket:      tokenBucket,
		Description: "Tokens of Rollcall, without their secrets. Written by Rollcall alone.",
		Replicas:    replicas,
	})
	if err != nil {
		return nil, err
	}
	return &Tokens{js: js, kv: kv}, nil
}

// Create keeps a new record.
func (t *Tokens) Create(ctx context.Context, r access.Record) error {
	b, err := marshalToken(r)
	if err == nil {
		_, err = t.kv.Create(ctx, r.ID, b)
	}
	if err != nil {
		return fmt.Errorf("create token %s: %w", r.ID, err)
	}
	return nil
}

// Replace keeps a record in place of the one with its id.
func (t *Tokens) Replace(ctx context.Context, r access.Record) error {
	b, err := marshalToken(r)
	if err == nil {
		_, err = t.kv.Put(ctx, r.ID, b)
	}
	if err != nil {
		return fmt.Errorf("replace token %s: %w", r.ID, err)
	}
	return nil
}

// Get returns a record, or access.ErrNoRecord.
func (t *Tokens) Get(ctx context.Context, id string) (access.Record, error) {
	e, err := t.kv.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return access.Record{}, fmt.Errorf("get token %s: %w", id, access.ErrNoRecord)
	}
	if err != nil {
		return access.Record{}, fmt.Errorf("get token %s: %w", id, err)
	}
	return unmarshalToken(e.Value())
}

// Watch yields all records and then those that change. After a fault it yields an
// error, begins anew and yields all records again.
func (t *Tokens) Watch(ctx context.Context) iter.Seq2[[]access.Record, error] {
	return func(yield func([]access.Record, error) bool) {
		for ctx.Err() == nil {
			more, err := t.watch(ctx, yield)
			if !more || ctx.Err() != nil {
				return
			}
			if !yield(nil, fmt.Errorf("watch tokens: %w", err)) {
				return
			}
			pause(ctx, watchPause)
		}
	}
}

// watch yields records until a fault, which it returns, or until yield has had enough.
//
// The consumer is told of each record that has arrived and sends anew what is not told. So a
// record that is lost with a connection needs neither a next one nor a reconnect to be missed. That
// records may then arrive twice or late is nothing to access.Store.
func (t *Tokens) watch(ctx context.Context, yield func([]access.Record, error) bool) (more bool, fault error) {
	ctx, release := whileConnected(ctx, t.js.Conn())
	defer release()
	// The client itself says nothing of a lost connection; the cause does.
	defer func() {
		if cause := context.Cause(ctx); cause != nil {
			fault = cause
		}
	}()
	create, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	consumer, err := t.js.CreateConsumer(create, "KV_"+tokenBucket, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject:     tokenSubject(">"),
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           watchAckWait,
		MaxAckPending:     -1,
		InactiveThreshold: 5 * time.Second,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return true, err
	}
	messages, err := consumer.Messages(
		jetstream.PullHeartbeat(watchHeartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return true, err
	}
	defer messages.Stop()

	all := []access.Record{} // collected until the last that was there at the beginning
	begun := consumer.CachedInfo().NumPending == 0
	if begun && !yield(all, nil) {
		return false, nil
	}
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return true, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return true, err
		}
		record, err := tokenOf(m, meta)
		if err != nil && !yield(nil, err) {
			return false, nil
		}
		if err := m.Ack(); err != nil {
			return true, err
		}
		if all = append(all, record); !begun && meta.NumPending > 0 {
			continue
		}
		if begun = true; !yield(all, nil) {
			return false, nil
		}
		all = nil // what was yielded belongs to the caller
	}
}

// errDisconnected is the cause of a context that whileConnected has ended.
var errDisconnected = errors.New("the connection to the server is lost")

// whileConnected returns a context that ends when the connection is lost the next time, and
// a function that releases what it holds.
func whileConnected(ctx context.Context, nc *nats.Conn) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	lost := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, ok := <-lost; ok {
			cancel(errDisconnected)
		}
	})
	return ctx, func() {
		nc.RemoveStatusListener(lost)
		wg.Wait()
		cancel(nil)
	}
}

// tokenOf returns the record in a message of the bucket. A key that was removed by hand, and a
// value that cannot be read, make a revoked record: what is not known to be good is not good.
func tokenOf(m jetstream.Msg, meta *jetstream.MsgMetadata) (access.Record, error) {
	id := strings.TrimPrefix(m.Subject(), tokenSubject(""))
	revoked := access.Record{Token: access.Token{ID: id, RevokedAt: meta.Timestamp.UTC(), RevokedBy: "unknown"}}
	if m.Headers().Get("KV-Operation") != "" { // DEL or PURGE; a value has none
		return revoked, nil
	}
	r, err := unmarshalToken(m.Data())
	if err == nil && r.ID != id {
		err = fmt.Errorf("its id is %q", r.ID)
	}
	if err != nil {
		return revoked, fmt.Errorf("token %s in bucket %s is taken for revoked: %w", id, tokenBucket, err)
	}
	return r, nil
}

// tokenSubject returns the subject that a key of the bucket is published on.
func tokenSubject(key string) string { return "$KV." + tokenBucket + "." + key }

// pause waits for a time or the end of the context.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// tokenJSON is the form of a record in the bucket. A name is never reused with
// another meaning.
type tokenJSON struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Role      access.Role `json:"role"`
	App       string      `json:"app,omitempty"`
	SHA256    string      `json:"sha256,omitempty"` // of the secret, in hexadecimal; none when revoked
	CreatedAt time.Time   `json:"created_at"`
	CreatedBy string      `json:"created_by"`
	RevokedAt time.Time   `json:"revoked_at,omitzero"`
	RevokedBy string      `json:"revoked_by,omitempty"`
}

func marshalToken(r access.Record) ([]byte, error) {
	j := tokenJSON{
		ID: r.ID, Name: r.Name, Role: r.Role, App: r.App,
		CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy, RevokedAt: r.RevokedAt, RevokedBy: r.RevokedBy,
	}
	if !r.Revoked() {
		j.SHA256 = hex.EncodeToString(r.Hash[:])
	}
	return json.Marshal(j)
}

func unmarshalToken(b []byte) (access.Record, error) {
	var j tokenJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return access.Record{}, fmt.Errorf("read token: %w", err)
	}
	r := access.Record{Token: access.Token{
		ID: j.ID, Name: j.Name, Role: j.Role, App: j.App,
		CreatedAt: j.CreatedAt, CreatedBy: j.CreatedBy, RevokedAt: j.RevokedAt, RevokedBy: j.RevokedBy,
	}}
	if r.Revoked() {
		return r, nil
	}
	hash, err := hex.DecodeString(j.SHA256)
	if err != nil || len(hash) != len(r.Hash) {
		return access.Record{}, fmt.Errorf("read token: sha256 is %d characters of no hash", len(j.SHA256))
	}
	copy(r.Hash[:], hash)
	return r, nil
}
