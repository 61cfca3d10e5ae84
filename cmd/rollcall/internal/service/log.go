package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
	"rollcall/handlers/access"
	"rollcall/handlers/messaging"
	"rollcall/projections"
)

// startLog opens the log, on a server in the process or on a cluster, and what else is kept beside it.
func (s *Service) startLog(ctx context.Context) error {
	gate := &gate{}
	open := s.startEmbedded
	if s.cfg.clustered() {
		open = s.connectCluster
	}
	if err := open(ctx, gate); err != nil {
		return err
	}
	var err error
	s.keys, err = patiently(ctx, func(ctx context.Context) (*keyring.Keyring, error) {
		return keyring.Open(ctx, s.js, s.masters.current, keyring.Options{
			Replicas: s.cfg.Replicas, Old: s.masters.old, Next: s.masters.next, Logger: s.logger,
		})
	})
	if err != nil {
		return err
	}
	s.closing("the keys", func() error { s.keys.Close(); return nil })
	s.codec = codec.New(s.keys)
	tokens, err := patiently(ctx, func(ctx context.Context) (*messaging.Tokens, error) {
		return messaging.OpenTokens(ctx, s.js, s.cfg.Replicas)
	})
	if err != nil {
		return err
	}
	s.consumers = messaging.NewLogConsumers(s.js, jetstream.DefaultStream)
	s.tokens = access.New(tokens, s.operatorToken, access.Options{Logger: s.logger, Revoked: func(tokenID string) {
		s.throwOut(tokenID)
		s.revoked(tokenID)
	}})
	gate.open(s.tokens)
	return nil
}

// startEmbedded starts a server in the process and opens the log on it.
func (s *Service) startEmbedded(ctx context.Context, gate *gate) error {
	hasLog, err := s.cfg.hasLog()
	if err != nil {
		return err
	}
	// Before there is a log, so that no log is ever without its key.
	if s.masters, err = s.cfg.masterKeys(ctx, hasLog); err != nil {
		return err
	}
	server, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{
		Dir: s.cfg.logFolder(), Listen: s.cfg.NATSListen, Logger: s.logger.With("part", "log"), Authenticate: gate.authenticate,
	})
	if err != nil {
		return err
	}
	s.door = server.Door
	s.closing("the log", server.Stop)
	// The folder is this process's alone from here on.
	if s.operatorToken, err = s.cfg.operatorToken(); err != nil {
		return err
	}
	if s.conn, err = server.Connect(); err != nil {
		return err
	}
	s.closing("the connection", closeConnection(s.conn))
	s.doorConn = s.conn
	if s.js, err = natsjs.New(s.conn); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if s.store, err = server.Open(ctx, s.conn, jetstream.Config{Logger: s.logger, Observe: s.metrics.committed}); err != nil {
		return err
	}
	s.closing("the store", func() error { s.store.Close(); return nil })
	return nil
}

// closeConnection returns what closes a connection. What was sent last, such as that an export goes back to its queue, is
// heard before the server stops.
func closeConnection(nc *nats.Conn) func() error {
	return func() error {
		var err error
		if nc.IsConnected() {
			err = nc.FlushTimeout(closeTimeout)
		}
		nc.Close()
		return err
	}
}

// connectCluster connects to a cluster, opens the log on it, and starts the door by which NATS clients come in.
func (s *Service) connectCluster(ctx context.Context, gate *gate) (err error) {
	if s.operatorToken, err = s.cfg.operatorToken(); err != nil {
		return err
	}
	logger := s.logger.With("part", "log")
	if s.conn, err = s.cfg.NATS.Connect(ctx, logger); err != nil {
		return err
	}
	s.closing("the connection", closeConnection(s.conn))
	if s.js, err = natsjs.New(s.conn); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if s.masters, err = s.cfg.masterKeys(ctx, true); err != nil {
		return err
	}
	s.store, err = patiently(ctx, func(ctx context.Context) (*jetstream.Store, error) {
		return jetstream.Open(ctx, s.conn, jetstream.Config{Replicas: s.cfg.Replicas, Logger: s.logger, Observe: s.metrics.committed})
	})
	if err != nil {
		return err
	}
	s.closing("the store", func() error { s.store.Close(); return nil })
	s.askDurability(ctx)
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the name of this machine: %w", err)
	}
	instance := fmt.Sprintf("%s:%d", host, os.Getpid())
	s.leases, err = patiently(ctx, func(ctx context.Context) (*messaging.Leases, error) {
		return messaging.OpenLeases(ctx, s.js, s.cfg.Replicas, instance, s.logger)
	})
	if err != nil {
		return err
	}
	return s.openDoor(logger, gate)
}

// patiently does a step of a start until it is answered. Servers, and streams that another instance has just made, need a moment to
// agree on a leader; what they are asked before is never answered, however long one waits.
func patiently[T any](ctx context.Context, step func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for patience := startAttempt; ; patience *= 2 {
		attempt, done := context.WithTimeout(ctx, patience)
		result, err := step(attempt)
		unanswered := err != nil && (attempt.Err() != nil || unavailable(err))
		done()
		if !unanswered {
			return result, err
		}
		select {
		case <-time.After(startRetry):
		case <-ctx.Done():
			return result, err
		}
	}
}

// unavailable tells whether an error is of servers that cannot answer for now.
func unavailable(err error) bool {
	var refusal *natsjs.APIError
	return errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, projections.ErrUnavailable) || errors.As(err, &refusal) && refusal.Code == http.StatusServiceUnavailable
}

const (
	startPatience = time.Minute     // for a cluster that starts at the same time
	startAttempt  = 2 * time.Second // the first; each further one is given twice as long, for it may have had much to do
	startRetry    = 250 * time.Millisecond
)

// askDurability finds out whether an acknowledgement of the cluster means that something is on disk, and says so when it does not.
func (s *Service) askDurability(ctx context.Context) {
	told, err := jetstream.AskDurability(ctx, s.conn)
	switch {
	case err != nil:
		s.warn("durability_unknown", "it is not known whether the NATS servers write to disk before they acknowledge: %v", err)
	case len(told.Late) > 0:
		s.warn("durability_late", "these NATS servers acknowledge before they have written to disk, so that a loss of power loses what was acknowledged; set sync_interval: always on %s",
			strings.Join(told.Late, ", "))
	case len(told.Asked) < s.cfg.Replicas:
		s.warn("durability_partly", "%d NATS servers have told that they write to disk before they acknowledge, %d keep the log; see deployments/nats/nats.conf for the import that lets them tell",
			len(told.Asked), s.cfg.Replicas)
	}
	if s.cfg.Replicas < 3 {
		s.warn("few_copies", "the log has %d copies; with fewer than 3 the loss of one server stops the service or loses the log", s.cfg.Replicas)
	}
}

// openDoor starts the server that NATS clients connect to, when they are to.
func (s *Service) openDoor(logger *slog.Logger, gate *gate) (err error) {
	if s.cfg.NATSListen == "" {
		return nil
	}
	if len(s.cfg.Doors.URLs) == 0 {
		s.warn("no_nats_door", "NATS clients cannot connect to this instance: name with --nats-leaf where the cluster takes leaf nodes, or say that there are none with --nats-listen=")
		return nil
	}
	s.door, err = jetstream.StartDoor(jetstream.DoorConfig{
		Listen: s.cfg.NATSListen, Cluster: s.cfg.Doors, Authenticate: gate.authenticate, Logger: logger,
	})
	if err != nil {
		return err
	}
	s.closing("the door", s.door.Stop)
	if s.doorConn, err = s.door.Connect(); err != nil {
		return err
	}
	s.closing("the door's connection", closeConnection(s.doorConn))
	return nil
}

// throwOut ends the NATS connections of a token that has been revoked.
func (s *Service) throwOut(tokenID string) {
	if s.door == nil {
		return
	}
	if err := s.door.ThrowOut(tokenID); err != nil {
		s.logger.Error("a revoked token may still be connected over NATS; restart the service", "token", tokenID, "error", err)
	}
}

// asOne has a part run on one instance at a time, where there may be several.
func (s *Service) asOne(lease string, part func(context.Context) error) func(context.Context) error {
	part = s.metrics.lead(lease, part)
	if s.leases == nil {
		return part
	}
	return func(ctx context.Context) error { return s.leases.Hold(ctx, lease, part) }
}
