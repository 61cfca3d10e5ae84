package audit

import (
	"context"
	"fmt"
	"slices"

	"rollcall/eventstore"
)

// Bounds of what Newest looks through.
const (
	firstWindow = 256    // positions, of the first look back
	lastWindow  = 16_384 // positions, of a further one
	maxLooked   = 32_768 // positions, of all looks together
)

// Stretch is a part of the events of a query, the newest first.
type Stretch struct {
	Events []eventstore.Envelope
	// Before is what to give to go on with what is older, zero when there is nothing.
	Before eventstore.Position
}

// Newest returns the latest events of a query before a position, at most limit; before is zero for the latest of all. It looks through a
// bounded part of the log, so that it answers at once however long the log is: a stretch may hold fewer than limit, even none, though there
// are older ones. Rejections: as Events.
func (s *Service) Newest(ctx context.Context, q Query, before eventstore.Position, limit int) (Stretch, error) {
	from, until, err := s.bounds(ctx, q)
	if err != nil {
		return Stretch{}, err
	}
	if before > 0 {
		until = min(until, before-1)
	}
	var found Stretch
	window := eventstore.Position(firstWindow)
	if q.UserID != "" { // whose events are found by the id
		window = until
	}
	for looked := eventstore.Position(0); until >= from; window = min(4*window, lastWindow) {
		if limit <= len(found.Events) || looked >= maxLooked {
			found.Before = until + 1
			return found, nil
		}
		begin := from
		if until-from >= window {
			begin = until - window + 1
		}
		if err := s.look(ctx, q, begin, until, limit, &found); err != nil {
			return Stretch{}, fmt.Errorf("read the events from position %d to %d: %w", begin, until, err)
		}
		if q.UserID == "" {
			looked += until - begin + 1
		}
		if found.Before > 0 {
			return found, nil
		}
		until = begin - 1
	}
	return found, nil
}

// look adds the events of a window, the newest first, and tells where it had to leave some.
func (s *Service) look(ctx context.Context, q Query, from, until eventstore.Position, limit int, found *Stretch) error {
	room := limit - len(found.Events)
	var all []eventstore.Envelope // the last of them, at most one more than there is room for
	for e, err := range s.past(ctx, q, from, until) {
		if err != nil {
			return err
		}
		if !q.takes(e) {
			continue
		}
		if all = append(all, e); len(all) > room+1 {
			all = all[1:]
		}
	}
	slices.Reverse(all)
	if len(all) > room {
		found.Before = all[room-1].Position
		all = all[:room]
	}
	found.Events = append(found.Events, all...)
	return nil
}
