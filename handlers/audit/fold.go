package audit

import (
	"cmp"
	"context"
	"slices"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// fold is an account as its events make it.
type fold struct {
	state domain.State
	gone  bool // what the account held is erased
}

// step takes an event up. It tells what the event did, with the accounts before and after it.
func (f *fold) step(ctx context.Context, decoder Decoder, env eventstore.Envelope) (Entry, error) {
	event, erased, err := decoder.Decode(ctx, env)
	if err != nil {
		return Entry{}, err
	}
	switch event.(type) {
	case domain.AccountCreated:
		f.gone = erased
	case domain.AccountDeleted: // holds nothing itself; what it took away is told unless that is erased
		erased, f.gone = f.gone, false
	default:
		f.gone = f.gone || erased
	}
	before := f.state.Account
	f.state = domain.Evolve(f.state, event, uint64(env.Position))
	return Entry{Event: env, Erased: erased, Changes: changes(env, erased, before, f.state.Account)}, nil
}

// essence is what matters of the events of an account up to a place in its history: the one that created it, the last that set each field, and the
// last of all. What they fold to is what all of them do, and they are few however many there were; nothing else of the past need be kept or unsealed.
// The zero value is of no events.
type essence struct {
	created, last eventstore.Envelope // at position zero when there is none
	set           map[string]eventstore.Envelope
}

// add takes the next event.
func (s *essence) add(e eventstore.Envelope) {
	switch e.Type {
	case codec.TypeAccountErased: // is of an account that was
		return
	case codec.TypeAccountCreated:
		*s = essence{created: e}
	case codec.TypeAccountDeleted:
		*s = essence{}
	default:
		if s.set == nil {
			s.set = make(map[string]eventstore.Envelope)
		}
		for _, name := range e.Fields {
			s.set[name] = e
		}
	}
	s.last = e
}

// fold returns the account that the events made.
func (s *essence) fold(ctx context.Context, decoder Decoder) (f fold, err error) {
	all := []eventstore.Envelope{s.created, s.last}
	for _, e := range s.set {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b eventstore.Envelope) int { return cmp.Compare(a.Position, b.Position) })
	all = slices.CompactFunc(all, func(a, b eventstore.Envelope) bool { return a.Position == b.Position })
	for _, e := range all {
		if e.Position > 0 {
			if _, err := f.step(ctx, decoder, e); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}
