package service

import (
	"context"
	"errors"
	"time"

	"rollcall/domain"
	"rollcall/handlers/erasure"
	"rollcall/handlers/query"
	"rollcall/projections"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/asof"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/sqlite"
)

// openList opens the account list: a file of this instance, or a database that all instances share.
func (s *Service) openList(ctx context.Context) error {
	if s.cfg.DB != "" {
		return s.openDB(ctx)
	}
	list, err := sqlite.Open(ctx, s.cfg.listFile(), s.codec, sqlite.WithLogger(s.logger))
	if err != nil {
		return err
	}
	s.closing("the list", list.Close)
	s.list = list
	s.follow(list)
	return nil
}

// openDB opens the list in PostgreSQL. A server that is away is waited for in the background, while commands are decided.
func (s *Service) openDB(ctx context.Context) (err error) {
	s.db, err = postgres.Connect(ctx, s.cfg.DB, postgres.WithLogger(s.logger.With("part", "list")))
	if err != nil {
		return err
	}
	s.closing("the database", func() error { s.db.Close(); return nil })
	attempt, cancel := context.WithTimeout(ctx, startAttempt)
	defer cancel()
	if err := s.db.Prepare(attempt); err != nil {
		if attempt.Err() == nil && !errors.Is(err, projections.ErrUnavailable) {
			return err
		}
		s.logger.Warn("the account list cannot be reached, which is tried again; reads are answered by 503 until then", "error", err)
	}
	s.list = s.db.Live(s.codec)
	lead := s.db.Leadership(accountlist.Name)
	s.follow(s.list, projections.WithLead(func(ctx context.Context, work func(context.Context) error) error {
		if !s.prepareDB(ctx) {
			return nil
		}
		return lead.Run(ctx, work)
	}))
	s.rebuilds = &rebuilds{db: s.db, codec: s.codec, store: s.store, logger: s.logger, hurry: make(chan struct{}, 1)}
	return nil
}

// openPast makes ready for lists as of earlier positions, which are files of this instance wherever the live list is.
func (s *Service) openPast(context.Context) (err error) {
	s.past, err = asof.New(s.cfg.pastFolder(), s.store, s.codec, asof.Options{Logger: s.logger})
	if err != nil {
		return err
	}
	s.closing("the lists as of earlier positions", s.past.Close)
	return nil
}

// pastForgetter has what deleted accounts held leave the lists as of earlier positions. Those of other instances hear of deletions by the log.
type pastForgetter struct{ lists *asof.Lists }

// Forget implements erasure.Forgetter.
func (f pastForgetter) Forget(ctx context.Context, accounts []erasure.Erased) error {
	deletions := make(map[domain.AppID][]asof.Deletion)
	for _, a := range accounts {
		app := domain.AppID(a.App)
		deletions[app] = append(deletions[app], asof.Deletion{User: domain.UserID(a.UserID), Position: a.Position()})
	}
	var errs []error
	for app, d := range deletions {
		errs = append(errs, f.lists.Forget(ctx, app, d...))
	}
	return errors.Join(errs...)
}

// prepareDB returns when the list in PostgreSQL can be used, and tells whether it can before ctx ends.
func (s *Service) prepareDB(ctx context.Context) bool {
	for !s.db.Prepared() {
		attempt, cancel := context.WithTimeout(ctx, startPatience)
		err := s.db.Prepare(attempt)
		cancel()
		if err == nil {
			s.logger.Info("the account list is there")
			if at, err := s.list.Checkpoint(ctx); err == nil {
				s.began.Store(uint64(at))
			}
			break
		}
		if ctx.Err() != nil {
			return false
		}
		s.logger.Warn("the account list cannot be used, which is tried again", "error", err)
		sleep(ctx, prepareRetry)
	}
	return ctx.Err() == nil
}

const prepareRetry = time.Second

// reads returns what answers reads of the list.
func (s *Service) reads() *query.Service {
	return query.New(s.list, s.waitForList, query.Options{
		Past:    s.past,
		Unready: func(err error) bool { _, ok := errors.AsType[*asof.UnreadyError](err); return ok },
		Passes:  func(err error) bool { return errors.Is(err, projections.ErrUnavailable) },
		Halts:   func(err error) bool { return errors.Is(err, projections.ErrHalted) },
	})
}
