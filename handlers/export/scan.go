package export

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"rollcall/domain"
)

// scan reads the accounts that a job selects as of one position from a list that has reached it, and goes on. It takes
// short reads, so that it holds nothing up. An account that was touched behind the position is told by its past.
//
// Accounts come by place, those that are named by user id. Those that were deleted behind the position before the scan came to them are left out.
type scan struct {
	list     Accounts
	past     Past
	spec     Spec
	position uint64
	least    uint64       // position that the list has reached
	rows     int          // read at once
	after    domain.Place // go on behind it
}

// piece is a part of what a scan finds.
type piece struct {
	accounts []domain.Account
	last     domain.Place // the scan has got to it
	looked   int64        // accounts that it has gone through for this piece
	total    int64        // accounts that it goes through, about
}

// pieces yields what there is, and reads a little ahead. An error ends it.
func (s *scan) pieces(ctx context.Context) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		ahead := make(chan piece)
		var failed error
		var reader sync.WaitGroup
		reader.Go(func() {
			defer close(ahead)
			failed = s.read(ctx, ahead)
		})
		defer reader.Wait()
		defer cancel()
		for p := range ahead {
			if !yield(p, nil) {
				return
			}
		}
		if failed != nil {
			yield(piece{}, failed)
		}
	}
}

func (s *scan) read(ctx context.Context, out chan<- piece) error {
	for chunk, err := range s.chunks(ctx) {
		if err != nil {
			return err
		}
		p := piece{looked: int64(len(chunk.Accounts)), total: int64(chunk.Total)}
		if n := len(chunk.Accounts); n > 0 {
			p.last = domain.PlaceOf(chunk.Accounts[n-1])
		}
		if p.accounts, err = s.rewind(ctx, chunk.Accounts); err != nil {
			return err
		}
		select {
		case out <- p:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// chunks yields the list.
func (s *scan) chunks(ctx context.Context) iter.Seq2[domain.Chunk, error] {
	named := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(s.spec.UserIDs))), func(id domain.UserID) bool { return id <= s.after.UserID })
	total := len(named)
	return func(yield func(domain.Chunk, error) bool) {
		// The type of an account never changes. All else that a filter asks for may have been different.
		next := domain.Stretch{App: s.spec.App, Type: s.spec.Filter.Type, After: s.after, Limit: s.rows}
		for {
			if s.spec.UserIDs != nil {
				if len(named) == 0 {
					return
				}
				n := min(len(named), s.rows)
				next.UserIDs, named = named[:n], named[n:]
			}
			chunk, err := s.list.Chunk(ctx, next)
			switch {
			case ctx.Err() != nil:
				err = context.Cause(ctx)
			case err != nil:
				err = fmt.Errorf("%w: %w", errList, err)
			case chunk.Position < s.least:
				err = fmt.Errorf("%w: it had reached position %d, and shows position %d", errList, s.least, chunk.Position)
			}
			if s.spec.UserIDs != nil {
				total -= len(next.UserIDs) - len(chunk.Accounts) // which do not exist
				chunk.Total = total
			}
			end := s.spec.UserIDs == nil && len(chunk.Accounts) < next.Limit
			if n := len(chunk.Accounts); n > 0 {
				next.After = domain.PlaceOf(chunk.Accounts[n-1]) // now, for whoever takes the accounts may change them
			}
			if !yield(chunk, err) || err != nil || end {
				return
			}
		}
	}
}

// rewound is how many accounts are looked up in the log at once.
const rewound = 16

// rewind takes accounts back to the position and returns those that the job selects, in the same array.
func (s *scan) rewind(ctx context.Context, accounts []domain.Account) ([]domain.Account, error) {
	if err := s.rewindTouched(ctx, accounts); err != nil {
		return nil, err
	}
	if s.spec.UserIDs != nil {
		return slices.DeleteFunc(accounts, func(a domain.Account) bool { return !a.Exists() }), nil
	}
	return slices.DeleteFunc(accounts, func(a domain.Account) bool { return !a.Exists() || !s.spec.Filter.Matches(a) }), nil
}

// rewindTouched replaces each account that was touched behind the position by what it was, by none where there was none.
func (s *scan) rewindTouched(ctx context.Context, accounts []domain.Account) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var lookups sync.WaitGroup
	slots := make(chan struct{}, rewound)
	for i := range accounts {
		a := &accounts[i]
		if a.Revision <= s.position {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		lookups.Go(func() {
			defer func() { <-slots }()
			was, there, err := s.past.AccountAt(ctx, s.spec.App, a.UserID, a.Revision, s.position)
			if err != nil {
				cancel(fmt.Errorf("%w: %w", errLog, err))
			}
			if *a = was; !there {
				*a = domain.Account{}
			}
		})
	}
	lookups.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
