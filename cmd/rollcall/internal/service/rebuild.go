package service

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/handlers/httpapi"
	"rollcall/handlers/query"
	"rollcall/handlers/wire"
	"rollcall/projections"
	"rollcall/projections/accountlist/postgres"
)

// rebuilds builds lists beside the live one, compares them with it and has them take its place. One instance does so at a time;
// all see how far it is.
type rebuilds struct {
	db     *postgres.DB
	codec  *codec.Codec
	store  buildLog
	logger *slog.Logger
	hurry  chan struct{} // told that there is something to build
}

// buildLog is the log that a list is built from.
type buildLog interface {
	projections.Log
	Read(ctx context.Context, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error]
}

const (
	rebuildLook  = 2 * time.Second       // how often an instance looks for lists to build that another has ordered
	promoteRetry = 10 * time.Millisecond // between two tries to find both lists at one position
	rebuildRetry = 5 * time.Second       // after trouble
	compareTries = 3000                  // half a minute, in which the live list comes by
	differTries  = 3                     // comparisons at different positions, before a difference is believed
	renewAfter   = 7 * 24 * time.Hour    // age of a list that accounts were deleted from, at which it is built anew: its files may hold bytes of them
	keepRetired  = 24 * time.Hour        // how long a list that is not live is kept to go back to: nothing is erased from it
)

// Rebuild orders a new list, or that one which is not live is brought up to date, when the number is not zero. It returns its number.
func (r *rebuilds) Rebuild(ctx context.Context, number int64, force bool) (int64, error) {
	err := error(nil)
	switch {
	case number == 0:
		number, err = r.db.Create(ctx)
	case force:
		err = r.db.Replace(ctx, number)
	default:
		err = r.db.Rebuild(ctx, number)
	}
	if err != nil {
		return 0, refusal(number, err)
	}
	r.tell()
	return number, nil
}

// Drop removes a list that is not live.
func (r *rebuilds) Drop(ctx context.Context, number int64) error {
	return refusal(number, r.db.Drop(ctx, number))
}

// Lists returns all lists, the oldest first.
func (r *rebuilds) Lists(ctx context.Context) ([]httpapi.BuiltList, error) {
	all, err := r.db.Generations(ctx)
	if err != nil {
		return nil, refusal(0, err)
	}
	last, err := r.store.Last(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]httpapi.BuiltList, len(all))
	for i, g := range all {
		out[i] = httpapi.BuiltList{
			Number: g.Number, Version: g.Version, State: string(g.State), Note: g.Note, Position: uint64(g.Checkpoint), Last: uint64(last),
			CreatedAt: g.CreatedAt.UTC(), PromotedAt: g.PromotedAt.UTC(),
		}
	}
	return out, nil
}

// refusal turns what the caller is to blame for into a rejection.
func refusal(number int64, err error) error {
	switch {
	case errors.Is(err, postgres.ErrNoGeneration):
		return &domain.Rejection{Code: wire.CodeListNotFound, Detail: fmt.Sprintf("there is no list %d that this version can read", number)}
	case errors.Is(err, postgres.ErrInUse):
		return &domain.Rejection{Code: wire.CodeListInUse, Detail: err.Error()}
	case errors.Is(err, projections.ErrUnavailable):
		return fmt.Errorf("%w: %w", query.ErrUnavailable, err)
	}
	return err
}

// buildLists builds lists whenever this instance is the one that does.
func (s *Service) buildLists(ctx context.Context) error {
	for !s.db.Prepared() {
		sleep(ctx, rebuildLook)
		if ctx.Err() != nil {
			return nil
		}
	}
	return s.db.Leadership("rebuild").Run(ctx, s.rebuilds.run)
}

// run builds whatever is to be built, until ctx ends.
func (r *rebuilds) run(ctx context.Context) error {
	tick := time.NewTicker(rebuildLook)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := r.buildNext(ctx); err != nil && ctx.Err() == nil {
			r.logger.Warn("a list cannot be built; trying again", "error", err)
			sleep(ctx, rebuildRetry)
			continue
		}
		select {
		case <-tick.C:
		case <-r.hurry:
		case <-ctx.Done():
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// buildNext builds the lists that are to be built.
func (r *rebuilds) buildNext(ctx context.Context) error {
	all, err := r.db.Generations(ctx)
	if err != nil {
		return err
	}
	errs := []error{r.renew(ctx, all)}
	promoted := liveOf(all).PromotedAt // when it took the place of the one before
	for _, g := range all {
		switch {
		case !g.Readable:
		case g.State == postgres.Building:
			if err := r.build(ctx, g.Number); err != nil {
				errs = append(errs, fmt.Errorf("build list %d: %w", g.Number, err))
			}
		case g.State != postgres.Live && time.Since(latest(g.CreatedAt, promoted)) > keepRetired:
			r.logger.Info("a list that is not live any more is removed", "list", g.Number)
			errs = append(errs, r.db.Drop(ctx, g.Number))
		}
	}
	return errors.Join(errs...)
}

// renew orders a new list when the live one is old and accounts were deleted from it.
func (r *rebuilds) renew(ctx context.Context, all []postgres.Generation) error {
	for _, g := range all {
		if g.Readable && (g.State == postgres.Building || g.State == postgres.Refused || time.Since(g.CreatedAt) < renewAfter) {
			return nil // one that was built lately is live, or cannot be for a reason that lasts
		}
	}
	if deleted, err := r.db.HoldsDeleted(ctx); err != nil || !deleted {
		return err
	}
	number, err := r.db.Create(ctx)
	if err == nil {
		r.logger.Info("the list is built anew, for accounts were deleted from it", "list", number)
		r.tell()
	}
	return err
}

// tell has whoever builds look for lists at once.
func (r *rebuilds) tell() {
	select {
	case r.hurry <- struct{}{}:
	default:
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// build brings a list up to date, compares it with the live one, and promotes it when they say the same.
func (r *rebuilds) build(ctx context.Context, number int64) error {
	r.logger.Info("a list is being built", "list", number)
	list := r.db.List(number, r.codec)
	if err := r.follow(ctx, list, r.caughtUp); err != nil {
		return r.refuse(ctx, number, err)
	}
	for try := 1; ; try++ {
		different, err := r.compare(ctx, number, list)
		switch {
		case err != nil:
			return r.refuse(ctx, number, err)
		case len(different) > 0 && try == differTries:
			return r.refuse(ctx, number, fmt.Errorf("%w: it differs from the live one in %s; if that one is wrong, promote this one by force", errRefused, some(different)))
		case len(different) > 0: // a key may have been destroyed between the two readings of an event
			sleep(ctx, rebuildRetry)
			continue
		}
		break
	}
	// The live list has moved on since.
	return r.follow(ctx, list, func(ctx context.Context, _ *projections.Runner) error { return r.promote(ctx, number) })
}

// errRefused means that a list is not to become live.
var errRefused = errors.New("the list is refused")

// refuse keeps why a list cannot become live, when that is for good.
func (r *rebuilds) refuse(ctx context.Context, number int64, cause error) error {
	if !errors.Is(cause, errRefused) && !errors.Is(cause, projections.ErrHalted) {
		return cause
	}
	r.logger.Error("a list that was built does not become live", "list", number, "error", cause)
	return r.db.Refuse(ctx, number, cause.Error())
}

// some names a few of many.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// follow feeds a list from the log while f runs.
func (r *rebuilds) follow(ctx context.Context, list *postgres.List, f func(context.Context, *projections.Runner) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	runner := projections.NewRunner(r.store, list, projections.WithLogger(r.logger))
	var feed sync.WaitGroup
	var halted error
	feed.Go(func() {
		defer cancel()
		halted = runner.Run(ctx)
	})
	err := f(ctx, runner)
	cancel()
	feed.Wait()
	if halted != nil {
		return halted
	}
	return err
}

// caughtUp returns when a runner has come to the end that the log had when it was nearly there.
func (r *rebuilds) caughtUp(ctx context.Context, runner *projections.Runner) error {
	for range 2 {
		last, err := r.store.Last(ctx)
		if err != nil {
			return err
		}
		if err := runner.WaitFor(ctx, last); err != nil {
			return err
		}
	}
	return nil
}

// compare compares a list that nobody feeds with the live one.
func (r *rebuilds) compare(ctx context.Context, number int64, list *postgres.List) (different []string, err error) {
	stood, err := r.live(ctx)
	if err != nil {
		return nil, err
	}
	for range compareTries {
		different, err = r.db.Compare(ctx, number, func(ctx context.Context, from, until eventstore.Position) error {
			return r.apply(ctx, list, from, until)
		})
		if !errors.Is(err, postgres.ErrAhead) && !errors.Is(err, postgres.ErrMoved) {
			return different, err
		}
		sleep(ctx, promoteRetry) // the live list is about to come by
	}
	if at, lerr := r.live(ctx); lerr == nil && at == stood && errors.Is(err, postgres.ErrAhead) {
		err = fmt.Errorf("%w: the live one stands still at position %d, before it; if that one has halted, promote this one by force", errRefused, at)
	}
	return nil, err
}

// live returns what the live list shows.
func (r *rebuilds) live(ctx context.Context) (eventstore.Position, error) {
	all, err := r.db.Generations(ctx)
	return liveOf(all).Checkpoint, err
}

// liveOf returns the live list among all, the zero value when there is none.
func liveOf(all []postgres.Generation) postgres.Generation {
	for _, g := range all {
		if g.Readable && g.State == postgres.Live {
			return g
		}
	}
	return postgres.Generation{}
}

// apply applies the events behind a position up to another.
func (r *rebuilds) apply(ctx context.Context, list *postgres.List, from, until eventstore.Position) error {
	const most = 8192
	batch := make([]eventstore.Envelope, 0, min(most, int(until-from)))
	for e, err := range r.store.Read(ctx, from+1, until) {
		if err != nil {
			return err
		}
		if batch = append(batch, e); len(batch) < most && e.Position < until {
			continue
		}
		if err := list.Apply(ctx, from, batch); err != nil {
			return err
		}
		from, batch = e.Position, batch[:0]
	}
	return nil
}

// promote makes a list live as soon as it shows as much as the live one.
func (r *rebuilds) promote(ctx context.Context, number int64) error {
	for {
		err := r.db.Promote(ctx, number)
		if err == nil {
			r.logger.Info("a list has become live", "list", number)
			return nil
		}
		if !errors.Is(err, postgres.ErrBehind) {
			return err
		}
		sleep(ctx, promoteRetry)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
