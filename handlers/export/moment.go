package export

import (
	"context"
	"fmt"
	"time"

	"rollcall/domain"
)

// resolve finds the position of a moment in a log with an end: of a time, that of the last event recorded at or before it.
func (s *Service) resolve(ctx context.Context, m Moment, last uint64) (Moment, error) {
	switch {
	case m.IsZero():
		return m, nil
	case m.Time.IsZero() && m.Position > last:
		return m, &domain.Rejection{Code: CodeAhead, Detail: fmt.Sprintf("the log ends at position %d; %d is yet to come", last, m.Position)}
	case m.Time.IsZero():
		return m, nil
	case m.Time.After(s.cfg.Now()):
		return m, &domain.Rejection{Code: CodeAhead, Detail: fmt.Sprintf("%s is yet to come", m.Time.UTC().Format(time.RFC3339Nano))}
	}
	at, err := s.cfg.Log.PositionAt(ctx, m.Time)
	if err != nil {
		return m, fmt.Errorf("order export: turn a time into a position: %w", err)
	}
	if m.Position = uint64(at); m.Position == 0 {
		detail := "the log begins after " + m.Time.UTC().Format(time.RFC3339Nano)
		return m, &domain.Rejection{Code: domain.CodeInvalid, Detail: detail, Fields: []domain.FieldError{{Field: "as_of", Code: domain.CodeBadValue, Detail: detail}}}
	}
	return m, nil
}
