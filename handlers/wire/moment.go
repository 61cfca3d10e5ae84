package wire

import (
	"strconv"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/audit"
)

// MomentOf reads a time or a position from the parameter of a query with that name. An empty text is no moment. What is neither is a
// *domain.Rejection that names the parameter.
func MomentOf(name, text string) (audit.Moment, error) {
	if text == "" {
		return audit.Moment{}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
		return audit.Moment{Position: eventstore.Position(n)}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 {
		return audit.Moment{}, Invalid("the query", name, domain.CodeBadValue, "must be a position, 1 or more, or a time as in 2026-01-31T12:00:00Z")
	}
	return audit.Moment{Time: t}, nil
}
