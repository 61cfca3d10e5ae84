package service

import (
	"context"
	"errors"

	"rollcall/eventstore/codec"
	"rollcall/handlers/query"
	"rollcall/projections"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/sqlite"
)

// openList opens the account list: a file of this instance, or a database that all instances share.
func (s *Service) openList(ctx context.Context) error {
	if s.cfg.DB != "" {
		return s.openDB(ctx)
	}
	list, err := sqlite.Open(ctx, s.cfg.listFile(), codec.New(s.keys), sqlite.WithLogger(s.logger))
	if err != nil {
		return err
	}
	s.closing("the list", list.Close)
	s.list = list
	s.follow(list)
	return nil
}

// openDB opens the list in PostgreSQL. A server that starts at the same time is waited for.
func (s *Service) openDB(ctx context.Context) (err error) {
	s.db, err = patiently(ctx, func(ctx context.Context) (*postgres.DB, error) {
		return postgres.Open(ctx, s.cfg.DB, postgres.WithLogger(s.logger.With("part", "list")))
	})
	if err != nil {
		return err
	}
	s.closing("the database", func() error { s.db.Close(); return nil })
	s.list = s.db.Live(codec.New(s.keys))
	s.follow(s.list, projections.WithLead(s.db.Leadership(accountlist.Name).Run))
	s.rebuilds = &rebuilds{db: s.db, codec: codec.New(s.keys), store: s.store, logger: s.logger, hurry: make(chan struct{}, 1)}
	return nil
}

// reads returns what answers reads of the list.
func (s *Service) reads() *query.Service {
	return query.New(s.list, s.waitForList, query.Options{
		Passes: func(err error) bool { return errors.Is(err, projections.ErrUnavailable) },
		Halts:  func(err error) bool { return errors.Is(err, projections.ErrHalted) },
	})
}
