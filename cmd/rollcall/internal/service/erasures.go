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

// standings tells how far each place where personal data is kept has come with erasing that of deleted accounts. Exports, outcomes and
// dead letters are no places of their own: they are dealt with before the position of the keys moves.
func (s *Service) standings(ctx context.Context) ([]audit.Standing, error) {
	keys, err := s.reactor.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	all := []audit.Standing{{Place: audit.Keys, Through: keys}}
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
