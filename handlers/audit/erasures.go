package audit

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// ErasureLog is what erasures are read from, see eventstore.Store.
type ErasureLog interface {
	Revision(ctx context.Context, id eventstore.AggregateID) (eventstore.Revision, error)
	ReadApp(ctx context.Context, app string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error]
	ReadErased(ctx context.Context, app string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error]
	Last(ctx context.Context) (eventstore.Position, error)
}

// Standing is how far one place where personal data is kept has come with erasing it.
type Standing struct {
	Place string // its name
	// Through is the position up to which nothing of an account that was deleted is left there.
	Through eventstore.Position
	Waits   string // what it waits for, for people; empty when there is nothing to say
}

// Places that are among the standings.
const (
	Keys   = "keys"   // those of the accounts: without its key, an account's data in the log is noise
	Copies = "copies" // files of exports and dead letters; when they are removed as well it is recorded that an account is erased
)

// Standings tells the standing of each place. Keys and Copies are among them.
type Standings func(ctx context.Context) ([]Standing, error)

// Erasures tells which deleted accounts are erased and which are not yet. It is safe for concurrent use.
type Erasures struct {
	log       ErasureLog
	decoder   Decoder
	standings Standings
}

// NewErasures returns a service.
func NewErasures(log ErasureLog, decoder Decoder, standings Standings) *Erasures {
	return &Erasures{log: log, decoder: decoder, standings: standings}
}

// Erasure is a deleted account and what became of its data.
type Erasure struct {
	UserID    domain.UserID
	Deletion  eventstore.Position
	DeletedAt time.Time           // as the log took it, like ErasedAt
	Position  eventstore.Position // of the record that it is erased, zero while it is not
	ErasedAt  time.Time           // zero while it is not
	Remains   []string            // the places that may still hold something of it
}

// ErasurePlace is a place in a list of erasures. The zero value is the beginning.
type ErasurePlace struct {
	Done    eventstore.Position // records up to it are in front of the place
	Pending eventstore.Position // and so are pending deletions up to this one
}

// PendingErasures is the place in front of those that are pending.
func PendingErasures() ErasurePlace { return ErasurePlace{Done: math.MaxInt64} }

// ErasurePage is one page of a list of erasures: those that are done in the order of their records, then those that are pending in that
// of their deletions. One that is pending when a page is read, and done when the next is, is on the next unless it was on the first.
type ErasurePage struct {
	Erasures  []Erasure
	More      bool
	Next      ErasurePlace // of the next page, when there is more
	Standings []Standing
	Last      eventstore.Position // that the log had
}

// List returns a page of the erasures of an application, at most limit behind a place. Rejections: domain.CodeAppNotFound.
func (s *Erasures) List(ctx context.Context, app domain.AppID, after ErasurePlace, limit int) (p ErasurePage, err error) {
	if err := checkApp(ctx, s.log, app); err != nil {
		return p, err
	}
	// In this order what is erased meanwhile is told as pending, never left out.
	if p.Standings, err = s.standings(ctx); err != nil {
		return p, fmt.Errorf("ask how far erasure is: %w", err)
	}
	if p.Last, err = s.log.Last(ctx); err != nil {
		return p, fmt.Errorf("look at the end of the log: %w", err)
	}
	if err = s.done(ctx, app, after, limit+1, &p); err == nil && len(p.Erasures) <= limit {
		err = s.pending(ctx, app, after.Pending, limit+1, &p)
	}
	if err != nil {
		return ErasurePage{}, fmt.Errorf("read the erasures of %s: %w", app, err)
	}
	if p.More = len(p.Erasures) > limit; p.More {
		p.Erasures = p.Erasures[:limit]
		if last := p.Erasures[limit-1]; last.Position > 0 {
			p.Next = ErasurePlace{Done: last.Position, Pending: after.Pending}
		} else {
			p.Next = ErasurePlace{Done: p.Last, Pending: last.Deletion}
		}
	}
	return p, nil
}

// done adds what is recorded behind a place, but for what was told to be pending before it.
func (s *Erasures) done(ctx context.Context, app domain.AppID, after ErasurePlace, most int, p *ErasurePage) error {
	for env, err := range s.log.ReadErased(ctx, string(app), after.Done+1, p.Last) {
		if err != nil {
			return err
		}
		e, err := s.recorded(ctx, env)
		if err != nil {
			return err
		}
		if e.Deletion <= after.Pending {
			continue
		}
		e.Remains = remains(p.Standings, e.Deletion)
		if p.Erasures = append(p.Erasures, e); len(p.Erasures) == most {
			break
		}
	}
	return nil
}

// recorded reads a record.
func (s *Erasures) recorded(ctx context.Context, env eventstore.Envelope) (Erasure, error) {
	event, _, err := s.decoder.Decode(ctx, env)
	if err != nil {
		return Erasure{}, err
	}
	e, ok := event.(domain.AccountErased)
	if !ok {
		return Erasure{}, fmt.Errorf("%w: %s at position %d is no record of an erasure", eventstore.ErrDamaged, env.Type, env.Position)
	}
	return Erasure{
		UserID: e.UserID, Deletion: eventstore.Position(e.Deletion), DeletedAt: e.DeletedAt, Position: env.Position, ErasedAt: env.Recorded,
	}, nil
}

// pending adds deletions behind a position that are not recorded as erased. They are behind what the copies have come through.
func (s *Erasures) pending(ctx context.Context, app domain.AppID, after eventstore.Position, most int, p *ErasurePage) error {
	from := through(p.Standings, Copies) + 1
	var waiting []Erasure
	for env, err := range s.log.ReadApp(ctx, string(app), from, p.Last) {
		switch {
		case err != nil:
			return err
		case env.Type == codec.TypeAccountDeleted:
			waiting = append(waiting, Erasure{
				UserID: domain.UserID(env.Aggregate.Name), Deletion: env.Position, DeletedAt: env.Recorded, Remains: remains(p.Standings, env.Position),
			})
		case env.Type == codec.TypeAccountErased:
			e, err := s.recorded(ctx, env)
			if err != nil {
				return err
			}
			waiting = slices.DeleteFunc(waiting, func(w Erasure) bool { return w.Deletion == e.Deletion })
		}
	}
	for _, e := range waiting {
		if e.Deletion > after && len(p.Erasures) < most {
			p.Erasures = append(p.Erasures, e)
		}
	}
	return nil
}

// remains names the places that may hold something of an account that was deleted at a position.
func remains(all []Standing, deletion eventstore.Position) (places []string) {
	for _, s := range all {
		if s.Through < deletion {
			places = append(places, s.Place)
		}
	}
	return places
}

// through returns how far a place has come.
func through(all []Standing, place string) eventstore.Position {
	i := slices.IndexFunc(all, func(s Standing) bool { return s.Place == place })
	if i < 0 {
		return 0
	}
	return all[i].Through
}
