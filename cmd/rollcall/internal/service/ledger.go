package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"rollcall/eventstore"
	"rollcall/eventstore/keyring"
	"rollcall/eventstore/ledger"
	"rollcall/handlers/messaging"
	"rollcall/projections"
)

func (c Config) ledgerFolder() string  { return filepath.Join(c.Data, "ledger") }
func (c Config) ledgerKeyFile() string { return filepath.Join(c.Data, "ledger.key") }

// ledgerKey returns the key that checkpoints are signed with: the one that is given, or of the file ledger.key, or else, where instances
// share a cluster, one that they derive alike from their master key, and on one machine a new one, unless another has signed before: that is
// what latest tells, the latest checkpoint, nil for none.
func (c Config) ledgerKey(master keyring.MasterKey, latest []byte) (ledger.Key, error) {
	if c.LedgerKey != "" {
		key, err := ledger.ParseKey(c.LedgerKey)
		if err != nil {
			return key, fmt.Errorf("ROLLCALL_LEDGER_KEY: %w", err)
		}
		return key, nil
	}
	key, err := ledger.LoadKey(c.ledgerKeyFile())
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return key, err
	case !c.clustered() && latest != nil:
		origin, _, _ := bytes.Cut(latest, []byte("\n"))
		return key, fmt.Errorf("%s is missing, and the log was signed by it, as %s: put it back from its backup; to go on under a new key, which every auditor has to be told, "+
			"make one with rollcall audit key --new and put it there", c.ledgerKeyFile(), origin)
	case !c.clustered():
		return ledger.LoadOrCreateKey(c.ledgerKeyFile())
	}
	const seedBytes = 32
	seed, err := master.Derive("rollcall ledger checkpoints", seedBytes)
	if err != nil {
		return ledger.Key{}, err
	}
	return ledger.DeriveKey(seed)
}

// openLedger opens the ledger, compares the end of the log with it, and has it follow the log.
func (s *Service) openLedger(ctx context.Context) error {
	checkpoints, err := patiently(ctx, func(ctx context.Context) (*messaging.Checkpoints, error) {
		return messaging.OpenCheckpoints(ctx, s.js, s.cfg.Replicas)
	})
	if err != nil {
		return err
	}
	latest, err := patiently(ctx, func(ctx context.Context) ([]byte, error) {
		latest, _, err := checkpoints.Latest(ctx)
		return latest, err
	})
	if err != nil {
		return err
	}
	key, err := s.cfg.ledgerKey(s.masters.current, latest)
	if err != nil {
		return err
	}
	storage, err := s.openLedgerStorage(ctx)
	if err != nil {
		return err
	}
	s.ledger = ledger.New(storage, checkpoints, key, s.store, ledger.Options{Logger: s.logger})
	if err := s.restoreLedger(ctx); err != nil {
		return err
	}
	err = s.checkTwice(ctx, func(ctx context.Context) error {
		_, err := patiently(ctx, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, s.ledger.CheckTail(ctx, ledger.DefaultTail)
		})
		return err
	})
	switch {
	case errors.Is(err, ledger.ErrCheckpoint):
		s.warn("ledger_key", "the latest checkpoint of the ledger cannot be verified by the key in use, %s: %v; put the key back, or tell the auditors of the new one", key.Public(), err)
	case errors.Is(err, ledger.ErrBroken) && !s.cfg.clustered():
		return fmt.Errorf("%w (it is the folder %s)", err, s.cfg.ledgerFolder())
	case err != nil:
		return err
	}
	lead := func(ctx context.Context, work func(context.Context) error) error {
		return s.asOne(ledger.Name, func(ctx context.Context) error { return s.ledger.Lead(ctx, work) })(ctx)
	}
	s.followFrom(s.ledger, followingLedger{s.ledger}, projections.WithLead(lead))
	s.metrics.registry.MustRegister(newLedgerCollector(s))
	return nil
}

// restoreLedger has a ledger that is behind what was signed be built again, however long that takes.
func (s *Service) restoreLedger(ctx context.Context) error {
	for began := time.Now(); ; sleep(ctx, startRetry) {
		err := s.ledger.Restore(ctx)
		if !unavailable(err) || time.Since(began) > startPatience || ctx.Err() != nil {
			return err
		}
	}
}

// openLedgerStorage opens where the tree is kept: beside the log, in the data folder or on the cluster.
func (s *Service) openLedgerStorage(ctx context.Context) (ledger.Storage, error) {
	if s.cfg.clustered() {
		return patiently(ctx, func(ctx context.Context) (*ledger.Stream, error) {
			return ledger.OpenStream(ctx, s.js, s.cfg.Replicas)
		})
	}
	files, err := ledger.OpenFiles(s.cfg.ledgerFolder())
	if err != nil {
		return nil, err
	}
	s.closing("the ledger", files.Close)
	return files, nil
}

// followingLedger is the ledger as a projection.
type followingLedger struct{ *ledger.Ledger }

// Apply tells the errors of the ledger as those of a projection.
func (l followingLedger) Apply(ctx context.Context, from eventstore.Position, events []eventstore.Envelope) error {
	err := l.Ledger.Apply(ctx, from, events)
	switch {
	case errors.Is(err, ledger.ErrFenced):
		return fmt.Errorf("%w: %w", projections.ErrFenced, err)
	case errors.Is(err, ledger.ErrBroken):
		return fmt.Errorf("%w: %w", projections.ErrBroken, err)
	}
	return err
}
