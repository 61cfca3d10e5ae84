package service

import (
	"context"
	"sync/atomic"
	"time"

	"rollcall/eventstore/jetstream"
	"rollcall/handlers/access"
)

// authTimeout bounds how long a NATS client waits to be told whether it may connect.
const authTimeout = 5 * time.Second

// gate lets NATS clients in by their token. It lets nobody in until it is opened, for the
// server runs before tokens are known.
type gate struct {
	tokens atomic.Pointer[access.Service]
}

func (g *gate) open(s *access.Service) { g.tokens.Store(s) }

// authenticate lets operators hear what is published under accounts. A token is given alone or as the
// password of the user "token". Nobody may publish, see jetstream.Permissions. The other roles have
// no rights on NATS.
func (g *gate) authenticate(user, password string) (jetstream.Permissions, bool) {
	tokens := g.tokens.Load()
	if tokens == nil || user != "" && user != "token" {
		return jetstream.Permissions{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), authTimeout)
	defer cancel()
	who, err := tokens.Authenticate(ctx, password)
	if err != nil || !who.May(access.Operate, "") {
		return jetstream.Permissions{}, false
	}
	return jetstream.Permissions{Subscribe: []string{"accounts.>"}}, true
}
