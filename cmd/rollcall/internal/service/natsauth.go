package service

import (
	"context"
	"sync/atomic"
	"time"

	"rollcall/eventstore/jetstream"
	"rollcall/handlers/access"
	"rollcall/handlers/messaging"
)

// authTimeout bounds how long a NATS client waits to be told whether it may connect.
const authTimeout = 5 * time.Second

// gate lets NATS clients in by their token. It lets nobody in until it is opened, for the
// server runs before tokens are known.
type gate struct {
	tokens atomic.Pointer[access.Service]
}

func (g *gate) open(s *access.Service) { g.tokens.Store(s) }

// authenticate lets in whoever has a token, as the guest named by the token's id. A token is given alone or as the
// password of the user "token".
func (g *gate) authenticate(user, password string) (jetstream.Guest, bool) {
	tokens := g.tokens.Load()
	if tokens == nil || user != "" && user != "token" {
		return jetstream.Guest{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), authTimeout)
	defer cancel()
	who, err := tokens.Authenticate(ctx, password)
	if err != nil {
		return jetstream.Guest{}, false
	}
	rights := messaging.RightsOf(who)
	guest := jetstream.Guest{Name: who.TokenID, Hears: rights.Hears, Consumers: rights.Consumers}
	for _, l := range rights.Requests {
		guest.Requests = append(guest.Requests, jetstream.Request(l))
	}
	return guest, true
}

// identify tells whose token a request was sent with.
func identify(tokens *access.Service) messaging.Identify {
	return messaging.IdentifyBy(func(i messaging.RequestInfo) (string, bool) { return jetstream.GuestOf(i.Account) }, tokens.Current)
}
