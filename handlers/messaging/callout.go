package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"rollcall/handlers/access"
)

// calloutSubject is where servers ask, in the account that their configuration names, whether a client may connect.
const calloutSubject = "$SYS.REQ.USER.AUTH"

// Bounds of the questions of servers. A question holds what a client sent to connect, and its certificates.
const (
	maxQuestion          = 64 << 10
	maxQuestionsWaiting  = 4096 // those beyond are not answered, and the server refuses the client
	defaultCalloutLife   = 5 * time.Minute
	defaultCalloutAtOnce = 64
	calloutTimeout       = 2 * time.Second // a server waits about as long
)

// Authenticate tells whose secret it is, as access.Service does. access.ErrUnauthenticated when it is nobody's.
type Authenticate func(ctx context.Context, secret string) (access.Principal, error)

// CalloutConfig tells how a Callout answers. Authenticate and Issuers are needed.
type CalloutConfig struct {
	Authenticate Authenticate
	// Issuers are the seeds of the account keys that answers are signed with: the one whose public key the asking server names.
	// While the servers are moved from one to another, both are here.
	Issuers []string
	// XKey is the seed of the curve key that questions are encrypted for. When set, others are not answered. When empty, those
	// that are encrypted are not.
	XKey string
	// Life is how long a connection lasts: 5 minutes. Then the server ends it, and the client connects anew while its token
	// is good. So it bounds how long a revoked token stays connected. It is rounded up to seconds.
	Life time.Duration
	// Concurrency is how many questions are answered at once: 64.
	Concurrency int
	Now         func() time.Time // time.Now
	Logger      *slog.Logger
}

// Callout lets clients of an external NATS server in by their token. It is the auth callout service of the servers, see
// deployments/nats. Those it lets in are put into the account that AccountOf names, with the permissions of RightsOf.
//
// It must never tell a secret, neither in an answer nor in the log.
type Callout struct {
	cfg     CalloutConfig
	nc      *nats.Conn
	issuers map[string]nkeys.KeyPair // by public key
	xkey    nkeys.KeyPair            // nil when questions are not encrypted

	slots chan struct{}
	work  sync.WaitGroup
	used  sync.Map // accounts that a client has been put into, and issuers that are not here
}

// NewCallout returns a callout service on a connection of a user of the servers' auth_users, once it runs.
func NewCallout(nc *nats.Conn, cfg CalloutConfig) (*Callout, error) {
	if cfg.Authenticate == nil || len(cfg.Issuers) == 0 {
		return nil, errors.New("the auth callout needs Authenticate and Issuers")
	}
	if cfg.Life < 0 {
		return nil, fmt.Errorf("a connection cannot last %s", cfg.Life)
	}
	positive(&cfg.Life, defaultCalloutLife)
	positive(&cfg.Concurrency, defaultCalloutAtOnce)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Callout{cfg: cfg, nc: nc, issuers: make(map[string]nkeys.KeyPair), slots: make(chan struct{}, cfg.Concurrency)}
	for _, seed := range cfg.Issuers {
		pair, public, err := keyOf(seed, nkeys.PrefixByteAccount)
		if err != nil {
			return nil, fmt.Errorf("an issuer of the auth callout: %w; give the seed of an account key, it begins with SA", err)
		}
		c.issuers[public] = pair
	}
	if cfg.XKey != "" {
		var err error
		if c.xkey, _, err = keyOf(cfg.XKey, nkeys.PrefixByteCurve); err != nil {
			return nil, fmt.Errorf("the xkey of the auth callout: %w; give the seed of a curve key, it begins with SX", err)
		}
	}
	c.cfg.Issuers, c.cfg.XKey = nil, "" // kept once
	return c, nil
}

// keyOf returns the key with a seed, and its public form. Its error does not tell the seed.
func keyOf(seed string, kind nkeys.PrefixByte) (nkeys.KeyPair, string, error) {
	errNoSeed := errors.New("what is given is no such seed")
	if prefix, _, err := nkeys.DecodeSeed([]byte(seed)); err != nil || prefix != kind {
		return nil, "", errNoSeed
	}
	var pair nkeys.KeyPair
	var err error
	if kind == nkeys.PrefixByteCurve {
		pair, err = nkeys.FromCurveSeed([]byte(seed))
	} else {
		pair, err = nkeys.FromSeed([]byte(seed))
	}
	if err != nil {
		return nil, "", errNoSeed
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, "", errNoSeed
	}
	return pair, public, nil
}

// Run answers servers until ctx ends, and then finishes the questions that have arrived. Instances share the work.
func (c *Callout) Run(ctx context.Context) error {
	sub, err := c.nc.QueueSubscribe(calloutSubject, rpcService, c.begin)
	if err != nil {
		return fmt.Errorf("answer the auth callout: %w", err)
	}
	if err := sub.SetPendingLimits(maxQuestionsWaiting, maxQuestionsWaiting*maxQuestion/16); err != nil {
		return fmt.Errorf("answer the auth callout: %w", err)
	}
	<-ctx.Done()
	closed := sub.StatusChanged(nats.SubscriptionClosed)
	if err := sub.Drain(); err == nil {
		select {
		case <-closed:
		case <-time.After(defaultTimeout):
		}
	}
	c.work.Wait()
	return nil
}

// begin answers a question in a goroutine, once there is room.
func (c *Callout) begin(m *nats.Msg) {
	c.slots <- struct{}{}
	c.work.Go(func() {
		defer func() { <-c.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), calloutTimeout)
		defer cancel()
		answer, err := c.answer(ctx, m)
		if err == nil {
			err = m.Respond(answer)
		}
		if err != nil { // the server refuses the client when its patience ends
			c.cfg.Logger.Warn("a NATS server asked whether a client may connect and cannot be answered", "error", err)
		}
	})
}
