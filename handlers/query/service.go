// Package query answers questions about accounts and applications from a read
// model, no staler than the caller allows.
//
// It owns the use cases that read. It must never write anything.
package query

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"rollcall/domain"
)

// ErrNotCaughtUp means that the read model did not reach the position that a
// read asked for in time. The same read may succeed a little later.
var ErrNotCaughtUp = errors.New("the account list has not reached the position asked for")

// ErrUnavailable means that the read model cannot be reached. The same read may succeed a little later.
var ErrUnavailable = errors.New("the account list cannot be reached")

// ErrHalted means, together with ErrNotCaughtUp, that the read model goes no further until an operator has seen to it.
var ErrHalted = errors.New("the account list has halted")

// UnreadyError is the ErrNotCaughtUp of a list as of an earlier position that is not there yet. What it says is for people.
type UnreadyError struct{ Err error }

func (e *UnreadyError) Error() string { return e.Err.Error() }

// Unwrap returns ErrNotCaughtUp and the cause.
func (e *UnreadyError) Unwrap() []error { return []error{ErrNotCaughtUp, e.Err} }

// Past shows lists as of earlier positions.
type Past interface {
	// Page returns a page of the list as of the position l.AsOf, which the log has reached.
	Page(ctx context.Context, l domain.Listing) (domain.Page, error)
}

// Reader is the read model. The position it returns is the one it shows.
type Reader interface {
	Page(ctx context.Context, l domain.Listing) (domain.Page, error)
	Account(ctx context.Context, app domain.AppID, id domain.UserID) (domain.Account, uint64, error)
	App(ctx context.Context, app domain.AppID) (domain.App, uint64, error)
	Apps(ctx context.Context) ([]domain.App, uint64, error)
}

// Options are optional settings of a Service. The zero value is useful.
type Options struct {
	// Wait bounds how long a read waits for the position that it asks for, 5 s by
	// default.
	Wait time.Duration
	// OwnWrites bounds how long a read that asks for no position waits for what this instance has
	// acknowledged, 1 s by default. After that it answers with what there is.
	OwnWrites time.Duration
	// Past shows lists as of earlier positions. They cannot be had when nil.
	Past Past
	// Unready tells whether an error of the past means that the same read succeeds later. None does by default.
	Unready func(error) bool
	// Passes tells whether an error of the reader means that it cannot be reached for now. None does by default.
	Passes func(error) bool
	// Halts tells whether an error of waiting means that the reader has halted before the position. None does by default.
	Halts func(error) bool
}

// Service answers reads. It is safe for concurrent use.
type Service struct {
	reader  Reader
	waitFor func(ctx context.Context, position uint64) error
	opts    Options
	written atomic.Uint64
}

// New returns a service that reads from reader. waitFor returns once the
// reader has reached a position, or with an error when ctx ends or it never will.
func New(reader Reader, waitFor func(ctx context.Context, position uint64) error, opts Options) *Service {
	if opts.Wait == 0 {
		opts.Wait = 5 * time.Second
	}
	if opts.OwnWrites == 0 {
		opts.OwnWrites = time.Second
	}
	if opts.Passes == nil {
		opts.Passes = func(error) bool { return false }
	}
	if opts.Halts == nil {
		opts.Halts = func(error) bool { return false }
	}
	if opts.Unready == nil {
		opts.Unready = func(error) bool { return false }
	}
	return &Service{reader: reader, waitFor: waitFor, opts: opts}
}

// Wrote tells the service of a position that this instance has acknowledged,
// so that whoever wrote it here reads it here.
func (s *Service) Wrote(position uint64) {
	for {
		old := s.written.Load()
		if position <= old || s.written.CompareAndSwap(old, position) {
			return
		}
	}
}

// List returns a page of accounts at the position minimum or later, or with l.AsOf at that position, whatever the minimum. Errors:
// *domain.Rejection, ErrNotCaughtUp, ErrUnavailable, and those of the read model.
func (s *Service) List(ctx context.Context, minimum uint64, l domain.Listing) (domain.Page, error) {
	l, err := l.Normalize()
	if err != nil {
		return domain.Page{}, err
	}
	if l.AsOf != 0 {
		return s.past(ctx, l)
	}
	if err := s.catchUp(ctx, minimum); err != nil {
		return domain.Page{}, err
	}
	page, err := s.reader.Page(ctx, l)
	return page, s.told(err)
}

// past returns a page of a list as it was. What the log says of a position never changes, so that there is nothing to wait for but the list.
func (s *Service) past(ctx context.Context, l domain.Listing) (domain.Page, error) {
	if s.opts.Past == nil {
		const detail = "lists as of earlier positions are not served here"
		return domain.Page{}, &domain.Rejection{Code: domain.CodeInvalid, Detail: detail, Fields: []domain.FieldError{{Field: "as_of", Code: domain.CodeBadValue, Detail: detail}}}
	}
	page, err := s.opts.Past.Page(ctx, l)
	if err != nil && s.opts.Unready(err) {
		return domain.Page{}, &UnreadyError{err}
	}
	return page, err
}

// Account returns one account and the position that it is shown at, which is minimum or later. Errors:
// *domain.Rejection, ErrNotCaughtUp, ErrUnavailable, and those of the read model.
func (s *Service) Account(ctx context.Context, minimum uint64, app domain.AppID, id domain.UserID) (domain.Account, uint64, error) {
	if err := s.catchUp(ctx, minimum); err != nil {
		return domain.Account{}, 0, err
	}
	a, position, err := s.reader.Account(ctx, app, id)
	return a, position, s.told(err)
}

// App returns one application, with errors as of Account.
func (s *Service) App(ctx context.Context, minimum uint64, app domain.AppID) (domain.App, uint64, error) {
	if err := s.catchUp(ctx, minimum); err != nil {
		return domain.App{}, 0, err
	}
	a, position, err := s.reader.App(ctx, app)
	return a, position, s.told(err)
}

// Apps returns all applications, with errors as of Account.
func (s *Service) Apps(ctx context.Context, minimum uint64) ([]domain.App, uint64, error) {
	if err := s.catchUp(ctx, minimum); err != nil {
		return nil, 0, err
	}
	apps, position, err := s.reader.Apps(ctx)
	return apps, position, s.told(err)
}

// told returns an error of the reader as callers are told it.
func (s *Service) told(err error) error {
	if err != nil && s.opts.Passes(err) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// catchUp waits for the position that is asked for, else for what this
// instance wrote.
func (s *Service) catchUp(ctx context.Context, minimum uint64) error {
	if minimum == 0 {
		wctx, cancel := context.WithTimeout(ctx, s.opts.OwnWrites)
		defer cancel()
		_ = s.waitFor(wctx, s.written.Load()) // a late or halted list still answers, and says at which position
		return ctx.Err()
	}
	wctx, cancel := context.WithTimeout(ctx, s.opts.Wait)
	defer cancel()
	if err := s.waitFor(wctx, minimum); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.opts.Halts(err) {
			err = fmt.Errorf("%w: %w", ErrHalted, err)
		}
		return fmt.Errorf("%w: position %d: %w", ErrNotCaughtUp, minimum, err)
	}
	return nil
}
