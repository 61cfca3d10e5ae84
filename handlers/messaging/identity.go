package messaging

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"rollcall/handlers/access"
)

// requestInfoHeader holds what the server tells of the client whose request came from another NATS account. The
// server sets it itself, whatever the client sent under that name.
const requestInfoHeader = "Nats-Request-Info"

// RequestInfo is what the server tells of who sent a request.
type RequestInfo struct {
	Account string `json:"acc"`
	User    string `json:"user"` // only where the import of the account shares it
}

// IdentifyBy returns an Identify that finds out the token's id from what the server tells, and with it who it is.
func IdentifyBy(tokenID func(RequestInfo) (string, bool), current func(tokenID string) (access.Principal, error)) Identify {
	return func(h nats.Header) (access.Principal, error) {
		var info RequestInfo
		if err := json.Unmarshal([]byte(h.Get(requestInfoHeader)), &info); err != nil {
			return access.Principal{}, fmt.Errorf("%w: the server does not tell who sent it", access.ErrUnauthenticated)
		}
		id, ok := tokenID(info)
		if !ok {
			return access.Principal{}, fmt.Errorf("%w: it came from NATS account %q", access.ErrUnauthenticated, info.Account)
		}
		return current(id)
	}
}
