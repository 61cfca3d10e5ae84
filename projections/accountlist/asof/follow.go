package asof

import (
	"errors"
	"fmt"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// follow hears of the accounts of a list that are deleted, until the list is to go.
func (s *Lists) follow(e *list, from eventstore.Position) {
	for {
		err := s.hear(e, &from)
		if e.ctx.Err() != nil {
			return
		}
		logger := s.opts.Logger.With("app", e.app, "position", e.position, "error", err)
		if !errors.Is(err, eventstore.ErrUnavailable) {
			logger.Error("a list as of an earlier position is thrown away, for it cannot be known which of its accounts are deleted")
			s.drop(e)
			return
		}
		logger.Warn("deletions are heard of in a moment by a list as of an earlier position")
		sleep(e.ctx, retryAfter)
	}
}

// atOnce is how many events are looked at at a time.
const atOnce = 256

// hear overwrites what deleted accounts held as soon as they are, until it cannot hear of them. It moves from along.
func (s *Lists) hear(e *list, from *eventstore.Position) error {
	sub, err := s.log.SubscribeApp(e.ctx, string(e.app), *from)
	if err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	defer sub.Close()
	for {
		events, err := sub.Next(e.ctx, atOnce)
		if err != nil {
			return fmt.Errorf("follow the log: %w", err)
		}
		var deletions []Deletion
		for _, env := range events {
			d, ok, err := s.deletion(e, env)
			if err != nil {
				return err
			}
			if ok {
				deletions = append(deletions, d)
			}
		}
		if len(deletions) > 0 {
			if err := e.wipe(e.ctx, deletions); err != nil {
				return fmt.Errorf("overwrite deleted accounts: %w", err)
			}
		}
		*from = events[len(events)-1].Position + 1
	}
}

// deletion returns the account that an event says is deleted, or erased: what it held may have been read until then.
func (s *Lists) deletion(e *list, env eventstore.Envelope) (d Deletion, ok bool, err error) {
	switch env.Type {
	case codec.TypeAccountDeleted:
		return Deletion{User: domain.UserID(env.Aggregate.Name), Position: env.Position}, true, nil
	case codec.TypeAccountErased:
		event, _, err := s.codec.Decode(e.ctx, env)
		if err != nil {
			return d, false, fmt.Errorf("read what is erased: %w", err)
		}
		erased, ok := event.(domain.AccountErased)
		return Deletion{User: erased.UserID, Position: eventstore.Position(erased.Deletion)}, ok, nil
	}
	return d, false, nil
}
