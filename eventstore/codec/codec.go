// Package codec turns domain events into envelopes of the log and back, in
// every version that was ever written.
//
// It owns the JSON of events and which part of it is sealed. It must never
// change how a version that has been written is read: a new form of an
// event is a new version with a decoder of its own, and the golden files keep the old ones honest.
package codec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Types of events in the version that is written today.
const (
	TypeAppCreated        = "app.created.v1"
	TypeAppEdited         = "app.edited.v1"
	TypeAdminLimitSet     = "admin_limit.set.v1"
	TypeAdminSeatTaken    = "admin_seat.taken.v1"
	TypeAdminSeatReleased = "admin_seat.released.v1"
	TypeAccountCreated    = "account.created.v1"
	TypeAccountEdited     = "account.edited.v1"
	TypeAccountDeleted    = "account.deleted.v1"
	TypeAccountErased     = "account.erased.v1"
)

// ErrUnknownType means that an event has a type that this version of the
// program does not know. Upgrade the program.
var ErrUnknownType = errors.New("unknown type of event")

// Sealer seals personal data with a key of its own for each account. Unseal returns
// an error that is eventstore.ErrKeyDestroyed when the key is no more.
type Sealer interface {
	Seal(ctx context.Context, keyID string, plaintext, aad []byte) ([]byte, error)
	Unseal(ctx context.Context, keyID string, sealed, aad []byte) ([]byte, error)
}

// Codec encodes and decodes events. It is safe for concurrent use.
type Codec struct {
	sealer Sealer
}

// New returns a codec that seals personal data with s.
func New(s Sealer) *Codec { return &Codec{sealer: s} }

// Meta is what an envelope tells about the command that led to its event.
type Meta struct {
	EventID       string // ULID
	Actor         string
	CommandID     string
	CausationID   string
	CorrelationID string
	TraceParent   string
}

// Encode returns the envelope of an event. The personal data of an account is
// sealed with the key keyID, which the events of an account name, its deletion
// and erasure too; it is ignored for other events.
func (c *Codec) Encode(ctx context.Context, m Meta, keyID string, event domain.Event) (eventstore.Envelope, error) {
	env := eventstore.Envelope{
		ID: m.EventID, Actor: m.Actor, CommandID: m.CommandID,
		CausationID: m.CausationID, CorrelationID: m.CorrelationID, TraceParent: m.TraceParent,
	}
	var data any
	switch e := event.(type) {
	case domain.AppCreated:
		env.Type, env.Aggregate, env.Time = TypeAppCreated, eventstore.App(string(e.App)), e.At
		data = appV1{Name: e.Name, MaxAdmins: e.MaxAdmins}
	case domain.AppEdited:
		env.Type, env.Aggregate, env.Time = TypeAppEdited, eventstore.App(string(e.App)), e.At
		data = appV1{Name: e.Name, MaxAdmins: e.MaxAdmins}
	case domain.AdminLimitSet:
		env.Type, env.Aggregate, env.Time = TypeAdminLimitSet, eventstore.Admins(string(e.App)), e.At
		data = adminLimitV1{Limit: e.Limit}
	case domain.AdminSeatTaken:
		env.Type, env.Aggregate, env.Time = TypeAdminSeatTaken, eventstore.Admins(string(e.App)), e.At
		data = adminSeatV1{UserID: e.UserID}
	case domain.AdminSeatReleased:
		env.Type, env.Aggregate, env.Time = TypeAdminSeatReleased, eventstore.Admins(string(e.App)), e.At
		data = adminSeatV1{UserID: e.UserID}
	case domain.AccountCreated:
		setAccount(&env, TypeAccountCreated, e.App, e.UserID, e.At, keyID)
		set := e.Profile.Set()
		env.Fields = set.Names()
		sealed, err := c.seal(ctx, env, set, e.Profile)
		if err != nil {
			return eventstore.Envelope{}, err
		}
		data = accountV1{UserID: e.UserID, Type: e.Type, Sealed: sealed}
	case domain.AccountEdited:
		setAccount(&env, TypeAccountEdited, e.App, e.UserID, e.At, keyID)
		env.Fields = e.Patch.Fields.Names()
		sealed, err := c.seal(ctx, env, e.Patch.Fields, e.Patch.Values)
		if err != nil {
			return eventstore.Envelope{}, err
		}
		data = accountV1{UserID: e.UserID, Sealed: sealed}
	case domain.AccountDeleted:
		setAccount(&env, TypeAccountDeleted, e.App, e.UserID, e.At, keyID)
		data = accountV1{UserID: e.UserID}
	case domain.AccountErased:
		env.Type, env.Aggregate, env.Time, env.KeyID = TypeAccountErased, eventstore.Erased(string(e.App), string(e.UserID)), e.At, keyID
		data = erasedV1{UserID: e.UserID, Deletion: e.Deletion, DeletedAt: e.DeletedAt.UTC()}
	default:
		return eventstore.Envelope{}, fmt.Errorf("%w: %T", ErrUnknownType, event)
	}
	var err error
	if env.Data, err = json.Marshal(data); err != nil {
		return eventstore.Envelope{}, fmt.Errorf("encode %s: %w", env.Type, err)
	}
	return env, nil
}

func setAccount(env *eventstore.Envelope, typ string, app domain.AppID, id domain.UserID, at time.Time, keyID string) {
	env.Type, env.Aggregate, env.Time, env.KeyID = typ, eventstore.Account(string(app), string(id)), at, keyID
}

// Decode returns the event that an envelope holds. Personal data whose key has
// been destroyed comes back unset, and erased is true; that is not an error.
// Other errors: ErrUnknownType, and what reading or unsealing returns.
func (c *Codec) Decode(ctx context.Context, env eventstore.Envelope) (event domain.Event, erased bool, err error) {
	decode, ok := decoders[env.Type]
	if !ok {
		return nil, false, fmt.Errorf("%w: %q at position %d", ErrUnknownType, env.Type, env.Position)
	}
	event, err = decode(ctx, c, env)
	if errors.Is(err, eventstore.ErrKeyDestroyed) {
		return event, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("decode %s at position %d: %w", env.Type, env.Position, err)
	}
	return event, false, nil
}

// decoder reads one version of one type. With an error that is ErrKeyDestroyed it
// returns what remains of the event.
type decoder func(context.Context, *Codec, eventstore.Envelope) (domain.Event, error)

// decoders has one entry for every version ever written. An entry is never
// removed: an older version is read into the event of today.
var decoders = map[string]decoder{
	TypeAppCreated: plain(func(app domain.AppID, at time.Time, d appV1) domain.Event {
		return domain.AppCreated{App: app, Name: d.Name, MaxAdmins: d.MaxAdmins, At: at}
	}),
	TypeAppEdited: plain(func(app domain.AppID, at time.Time, d appV1) domain.Event {
		return domain.AppEdited{App: app, Name: d.Name, MaxAdmins: d.MaxAdmins, At: at}
	}),
	TypeAdminLimitSet: plain(func(app domain.AppID, at time.Time, d adminLimitV1) domain.Event {
		return domain.AdminLimitSet{App: app, Limit: d.Limit, At: at}
	}),
	TypeAdminSeatTaken: plain(func(app domain.AppID, at time.Time, d adminSeatV1) domain.Event {
		return domain.AdminSeatTaken{App: app, UserID: d.UserID, At: at}
	}),
	TypeAdminSeatReleased: plain(func(app domain.AppID, at time.Time, d adminSeatV1) domain.Event {
		return domain.AdminSeatReleased{App: app, UserID: d.UserID, At: at}
	}),
	TypeAccountDeleted: plain(func(app domain.AppID, at time.Time, d accountV1) domain.Event {
		return domain.AccountDeleted{App: app, UserID: d.UserID, At: at}
	}),
	TypeAccountErased: plain(func(app domain.AppID, at time.Time, d erasedV1) domain.Event {
		return domain.AccountErased{App: app, UserID: d.UserID, Deletion: d.Deletion, DeletedAt: d.DeletedAt, At: at}
	}),
	TypeAccountCreated: decodeCreatedV1,
	TypeAccountEdited:  decodeEditedV1,
}

// plain makes a decoder of data in which nothing is sealed.
func plain[T any](event func(domain.AppID, time.Time, T) domain.Event) decoder {
	return func(_ context.Context, _ *Codec, env eventstore.Envelope) (domain.Event, error) {
		var d T
		if err := json.Unmarshal(env.Data, &d); err != nil {
			return nil, err
		}
		return event(domain.AppID(env.Aggregate.App), env.Time, d), nil
	}
}

func decodeCreatedV1(ctx context.Context, c *Codec, env eventstore.Envelope) (domain.Event, error) {
	var d accountV1
	if err := json.Unmarshal(env.Data, &d); err != nil {
		return nil, err
	}
	p, err := c.unseal(ctx, env, d.Sealed)
	return domain.AccountCreated{App: domain.AppID(env.Aggregate.App), UserID: d.UserID, Type: d.Type, Profile: p, At: env.Time}, err
}

func decodeEditedV1(ctx context.Context, c *Codec, env eventstore.Envelope) (domain.Event, error) {
	var d accountV1
	if err := json.Unmarshal(env.Data, &d); err != nil {
		return nil, err
	}
	var changed domain.Fields
	for _, name := range env.Fields {
		f, ok := domain.FieldNamed(name)
		if !ok {
			return nil, fmt.Errorf("unknown field %q", name)
		}
		changed = changed.With(f)
	}
	p, err := c.unseal(ctx, env, d.Sealed)
	return domain.AccountEdited{
		App: domain.AppID(env.Aggregate.App), UserID: d.UserID,
		Patch: domain.Patch{Fields: changed, Values: p}, At: env.Time,
	}, err
}
