package service

import (
	"context"
	"errors"
	"fmt"

	"rollcall/handlers/audit"
	"rollcall/projections"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/sqlite"
)

// listPlace is the account list among the places where personal data is kept.
const listPlace = "list"

// standings tells how far each place where personal data is kept has come with erasing that of deleted accounts. Outcomes are no place: they
// hold none.
func (s *Service) standings(ctx context.Context) ([]audit.Standing, error) {
	erased, err := s.reactor.Standing(ctx)
	if err != nil {
		return nil, err
	}
	keys, copies := audit.Standing{Place: audit.Keys, Through: erased.Keys}, audit.Standing{Place: audit.Copies, Through: erased.Done}
	if erased.Stuck {
		copies.Waits = fmt.Sprintf("what was deleted behind position %d cannot be finished for now, such as while the store of exports does not answer; it is repeated, and the log of the service tells why", erased.Done)
		if keys.Through == copies.Through {
			keys.Waits = copies.Waits
		}
	}
	if err := s.lookAtDecided(ctx); err != nil {
		s.logger.DebugContext(ctx, "the queue of commands cannot be looked at", "error", err) // what is known is told
	}
	all := []audit.Standing{keys, copies, s.decided.standing()}
	if list, ok := s.list.(*sqlite.List); ok {
		return append(all, audit.Standing{Place: listPlace, Through: list.Erased()}), nil
	}
	lists, err := s.db.Generations(ctx)
	if errors.Is(err, projections.ErrUnavailable) { // which is no reason to hide what is known of the keys
		return append(all, audit.Standing{Place: listPlace, Waits: "the database does not answer, so that it is not known what is left there"}), nil
	}
	if err != nil {
		return nil, err
	}
	for _, g := range lists {
		all = append(all, standingOf(g))
	}
	return all, nil
}

// standingOf tells how far a list in a database is. One that is not live is as it was when it was written last, and is dropped.
func standingOf(g postgres.Generation) audit.Standing {
	if g.State == postgres.Live && g.Readable {
		at := audit.Standing{Place: listPlace, Through: g.Vacuumed}
		if g.Stained {
			at.Waits = fmt.Sprintf("bytes of deleted rows may be in unused space of the database's files until the list is built anew, by %s, and this one is dropped", g.CreatedAt.Add(renewAfter).UTC().Format("2006-01-02"))
		}
		return at
	}
	return audit.Standing{
		Place: fmt.Sprintf("%s %d", listPlace, g.Number), Through: g.Vacuumed,
		Waits: fmt.Sprintf("it is %s, and keeps what it has until it is dropped; see rollcall projections lists", g.State),
	}
}
