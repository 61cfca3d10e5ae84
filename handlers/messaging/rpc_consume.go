package messaging

import (
	"context"
	"encoding/json"
	"errors"

	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/wire"
)

// consume makes a consumer by which an auditor reads the log.
func (r *RPC) consume(ctx context.Context, who access.Principal, in request) (answerTo, error) {
	var o ConsumerOrder
	err := wire.DecodeObject(in.data, "the request", map[string]wire.Setter{
		"name":    wire.SetString(&o.Name),
		"user_id": wire.SetString(&o.UserID),
		"from":    setMoment(&o.From),
		"anew": func(v []byte) error {
			if json.Unmarshal(v, &o.Anew) != nil {
				return errors.New("must be true or false")
			}
			return nil
		},
	})
	if err != nil {
		return answerTo{}, err
	}
	name, last, err := r.Consumers.Open(ctx, who.TokenID, in.app, o)
	if err != nil {
		return answerTo{}, err
	}
	if _, err := r.Identify(in.header); err != nil { // it may have been made after what its token had was removed
		err = errors.Join(wire.Refuse(wire.CodeUnauthenticated, "the token has been revoked"), r.Consumers.Remove(ctx, who.TokenID))
		return answerTo{}, err
	}
	return answerTo{position: last, body: struct {
		Stream   string `json:"stream"`
		Consumer string `json:"consumer"`
	}{r.Consumers.Stream(), name}}, nil
}

// setMoment takes a position, as a number, or a position or time, as a text; null is as if the name were absent.
func setMoment(to *audit.Moment) wire.Setter {
	return func(v []byte) error {
		var value any
		if err := json.Unmarshal(v, &value); err != nil || value == nil {
			return err
		}
		text, ok := value.(string)
		if !ok {
			text = string(v) // of a number; what else it may be is no moment
		}
		var err error
		if *to, err = wire.MomentOf("from", text); err != nil || to.IsZero() {
			return errors.New("must be a position, 1 or more, or a time as in 2026-01-31T12:00:00Z")
		}
		return nil
	}
}
