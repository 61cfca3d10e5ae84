package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"rollcall/domain"
	"rollcall/handlers/erasure"
	"rollcall/handlers/export"
	"rollcall/handlers/export/files"
	"rollcall/handlers/messaging"
)

// openExports opens the socket of the HTTP API, for download URLs begin with its address, and
// the exports.
func (s *Service) openExports(ctx context.Context) (err error) {
	if s.listener, err = listen(s.cfg.Listen); err != nil {
		return err
	}
	s.closing("the listener", func() error { return ignoreClosed(s.listener.Close()) })
	if a, ok := s.listener.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		s.logger.Warn("the API is open to other machines without TLS; put a proxy in front of it", "address", a.String())
	}
	secret, accept, err := s.linkKeys()
	if err != nil {
		return err
	}
	base := s.cfg.PublicURL
	if base == "" {
		base = s.URL()
	}
	id, err := patiently(ctx, s.state.ID)
	if err != nil {
		return err
	}
	if s.files, err = files.Open(ctx, files.Config{URL: s.cfg.exportsURL(), Secret: secret, Accept: accept, BaseURL: base, Owner: id}); err != nil {
		return err
	}
	s.closing("the exports' store", s.files.Close)
	queue, err := patiently(ctx, func(ctx context.Context) (*messaging.Exports, error) {
		return messaging.OpenExports(ctx, s.js, s.cfg.Replicas)
	})
	if err != nil {
		return err
	}
	s.exports, err = export.New(export.Config{
		Events: queue, Queue: queue, Files: s.files, Accounts: s.list, Past: export.NewHistory(s.store, s.codec), Waiter: s.runners[0], Log: s.store, Sealer: s.keys, Logger: s.logger, Observe: s.metrics.attempted,
		Quota: s.cfg.ExportQuota, FileLife: s.cfg.ExportsLife, OnDelete: s.cfg.ExportsOnDelete,
	})
	s.queue = queue
	return err
}

// claimFiles finds out whether the store of exports is another Rollcall's, which would remove the files of this one, and whether it keeps what is deleted. A store that
// cannot be asked now is asked again whose it is before it is used. It is asked once it is known that the log is the one that it was: by
// another one the store would seem to be another's.
func (s *Service) claimFiles(ctx context.Context) error {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.files.Claim(ctx); errors.Is(err, export.ErrStoreTaken) {
		return fmt.Errorf("--exports: %w", err)
	}
	switch keeps, err := s.files.KeepsDeleted(ctx); {
	case err != nil:
		s.logger.Info("it is not known whether the store of exports keeps what is deleted from it", "error", err)
	case keeps:
		s.warn("bucket_versioned", "the bucket of exports has versioning, so that files of exports stay in it when they expire, when a job is cancelled, and when an account that they hold is erased; "+
			"suspend its versioning, and remove the versions that it has, or have a rule of the bucket remove noncurrent versions after a day")
	}
	return nil
}

// exportAckWait is how long after a start a job is taken up again that a stop or a crash interrupted. The server
// forgets at a restart that a message was given back, so that this wait is what counts.
const exportAckWait = 3 * time.Second

// runExports begins to follow exports and to work on them.
func (s *Service) runExports() {
	s.run("the index of exports", s.exports.Run)
	s.run("the check of the exports' store", s.checkFiles)
	s.run("the worker of exports", func(ctx context.Context) error {
		return s.queue.RunExportWorker(ctx, messaging.ExportWorkerConfig{
			Work: s.exports.Work, Concurrency: s.cfg.ExportsAtOnce, AckWait: exportAckWait, Logger: s.logger,
		})
	})
}

// checkFiles tells the operator of a store that cannot be used. Exports wait for it, and nothing else does.
func (s *Service) checkFiles(ctx context.Context) error {
	if err := s.files.Check(ctx); err != nil && ctx.Err() == nil {
		s.logger.Warn("exports wait, for the store of their files cannot be used", "error", err)
	}
	return nil
}

// forgetter has the files removed that may hold a deleted account.
type forgetter struct{ exports *export.Service }

// Forget implements erasure.Forgetter.
func (f forgetter) Forget(ctx context.Context, accounts []erasure.Erased) error {
	deletions := make(map[domain.AppID][]export.Deletion)
	for _, a := range accounts {
		app := domain.AppID(a.App)
		deletions[app] = append(deletions[app], export.Deletion{User: domain.UserID(a.UserID), Position: uint64(a.Position())})
	}
	var errs []error
	for app, d := range deletions {
		errs = append(errs, f.exports.Forget(ctx, app, d...))
	}
	return errors.Join(errs...)
}
