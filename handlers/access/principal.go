package access

import (
	"errors"
	"fmt"
)

// ErrForbidden means that a principal is known but may not do what it asks for.
var ErrForbidden = errors.New("forbidden")

// Principal is who gives a request. The zero value may do nothing.
type Principal struct {
	TokenID string
	Name    string // the name of the token, for people
	Role    Role
	App     string // the application it is bound to, empty for an operator
}

// May tells whether the principal may take an action in an application. For an
// action that belongs to no application app is empty, which only operators may.
func (p Principal) May(action Action, app string) bool {
	if p.Role == Operator {
		return p.App == "" && p.Role.may(action)
	}
	return p.App != "" && p.App == app && p.Role.may(action)
}

// Authorize returns nil when the principal may take an action in an
// application, and otherwise an error that is ErrForbidden and says why.
func (p Principal) Authorize(action Action, app string) error {
	switch {
	case p.May(action, app):
		return nil
	case p.Role == "":
		return fmt.Errorf("%w: nobody is signed in", ErrForbidden)
	case !p.Role.may(action):
		return fmt.Errorf("%w: a token with the role %s may not %s; use one with another role", ErrForbidden, p.Role, action)
	case app == "":
		return fmt.Errorf("%w: this token is bound to application %s; use an operator's", ErrForbidden, p.App)
	default:
		return fmt.Errorf("%w: this token is bound to application %s, not %s", ErrForbidden, p.App, app)
	}
}

// Actor names the principal in events and logs: the name of its token for people and, since names
// are given freely, its id: "dashboard/01JD…". The token that the service was started with is
// "operator".
func (p Principal) Actor() string {
	if p.TokenID == operatorID {
		return operatorID
	}
	return p.Name + "/" + p.TokenID
}
