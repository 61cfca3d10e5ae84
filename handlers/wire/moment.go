package wire

import (
	"rollcall/eventstore"
	"rollcall/handlers/audit"
)

// MomentOf reads a time or a position from the parameter of a query with that name. An empty text is no moment. What is neither is a
// *domain.Rejection that names the parameter.
func MomentOf(name, text string) (audit.Moment, error) {
	if text == "" {
		return audit.Moment{}, nil
	}
	m, err := ParseMoment("the query", name, text)
	return audit.Moment{Position: eventstore.Position(m.Position), Time: m.Time}, err
}
