package service

import (
	"context"
	"time"
)

const (
	maxEnded       = 256 // revoked tokens whose consumers wait to be removed
	removeTimeout  = 10 * time.Second
	removeAttempts = 3
)

// revoked has the consumers of a revoked token removed. It does not wait for that: nobody reads by them any more.
func (s *Service) revoked(tokenID string) {
	select {
	case s.ended <- tokenID:
	default:
		s.logger.Warn("too many tokens were revoked at once; consumers of this one are removed in a week", "token", tokenID)
	}
}

// removeConsumers removes the consumers of revoked tokens until ctx ends. One that cannot be removed goes by itself when nobody has read by it for a while.
func (s *Service) removeConsumers(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case tokenID := <-s.ended:
			s.removeConsumersOf(ctx, tokenID)
		}
	}
}

func (s *Service) removeConsumersOf(ctx context.Context, tokenID string) {
	var err error
	for range removeAttempts {
		attempt, cancel := context.WithTimeout(ctx, removeTimeout)
		err = s.consumers.Remove(attempt, tokenID)
		cancel()
		if err == nil || ctx.Err() != nil {
			return
		}
	}
	s.logger.Warn("consumers of a revoked token are not removed; nobody can read by them, and they are gone in a week", "token", tokenID, "error", err)
}
