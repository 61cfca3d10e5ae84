package codec

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// The data of events, version 1. These types are history: they never change.

type appV1 struct {
	Name      string `json:"name,omitempty"`
	MaxAdmins int    `json:"max_admins"`
}

type adminLimitV1 struct {
	Limit int `json:"limit"`
}

type adminSeatV1 struct {
	UserID domain.UserID `json:"user_id"`
}

// accountV1 is the data of all events of an account. Sealed is a profileV1 under
// the account's key; a field that the envelope names and the profile lacks was unset.
type accountV1 struct {
	UserID domain.UserID      `json:"user_id"`
	Type   domain.AccountType `json:"type,omitempty"`
	Sealed []byte             `json:"sealed,omitempty"`
}

type erasedV1 struct {
	UserID    domain.UserID `json:"user_id"`
	Deletion  uint64        `json:"deletion"`
	DeletedAt time.Time     `json:"deleted_at"`
}

type profileV1 struct {
	Nickname        string                 `json:"nickname,omitempty"`
	FaceURL         string                 `json:"face_url,omitempty"`
	Gender          domain.Gender          `json:"gender,omitempty"`
	Birthday        uint32                 `json:"birthday,omitempty"`
	Location        string                 `json:"location,omitempty"`
	SelfSignature   string                 `json:"self_signature,omitempty"`
	AllowType       domain.AllowType       `json:"allow_type,omitempty"`
	Language        *uint32                `json:"language,omitempty"`
	MsgSettings     *uint32                `json:"msg_settings,omitempty"`
	AdminForbidType domain.AdminForbidType `json:"admin_forbid_type,omitempty"`
	Level           *uint32                `json:"level,omitempty"`
	Role            *uint32                `json:"role,omitempty"`
}

func fromNumber(n domain.Number) *uint32 {
	if !n.Set {
		return nil
	}
	return &n.Value
}

func toNumber(v *uint32) domain.Number {
	if v == nil {
		return domain.Number{}
	}
	return domain.Num(*v)
}

// aad binds sealed data to the place it belongs to, so that it cannot be moved
// to another event.
func aad(env eventstore.Envelope) []byte {
	return []byte(env.Type + "\n" + env.Aggregate.Subject() + "\n" + env.ID)
}

// seal returns the set fields of a profile, sealed; nothing for an empty one.
func (c *Codec) seal(ctx context.Context, env eventstore.Envelope, fields domain.Fields, p domain.Profile) ([]byte, error) {
	if env.KeyID == "" {
		return nil, fmt.Errorf("%w: %s needs a key", eventstore.ErrInvalid, env.Type)
	}
	if fields == 0 {
		return nil, nil
	}
	b, err := json.Marshal(profileV1{
		Nickname: p.Nickname, FaceURL: p.FaceURL, Gender: p.Gender, Birthday: p.Birthday,
		Location: p.Location, SelfSignature: p.SelfSignature, AllowType: p.AllowType,
		Language: fromNumber(p.Language), MsgSettings: fromNumber(p.MsgSettings),
		AdminForbidType: p.AdminForbidType, Level: fromNumber(p.Level), Role: fromNumber(p.Role),
	})
	if err != nil {
		return nil, fmt.Errorf("encode profile: %w", err)
	}
	sealed, err := c.sealer.Seal(ctx, env.KeyID, b, aad(env))
	if err != nil {
		return nil, fmt.Errorf("seal %s of %s: %w", env.Type, env.Aggregate, err)
	}
	return sealed, nil
}

func (c *Codec) unseal(ctx context.Context, env eventstore.Envelope, sealed []byte) (domain.Profile, error) {
	if len(sealed) == 0 {
		return domain.Profile{}, nil
	}
	b, err := c.sealer.Unseal(ctx, env.KeyID, sealed, aad(env))
	if err != nil {
		return domain.Profile{}, err
	}
	var p profileV1
	if err := json.Unmarshal(b, &p); err != nil {
		return domain.Profile{}, err
	}
	return domain.Profile{
		Nickname: p.Nickname, FaceURL: p.FaceURL, Gender: p.Gender, Birthday: p.Birthday,
		Location: p.Location, SelfSignature: p.SelfSignature, AllowType: p.AllowType,
		Language: toNumber(p.Language), MsgSettings: toNumber(p.MsgSettings),
		AdminForbidType: p.AdminForbidType, Level: toNumber(p.Level), Role: toNumber(p.Role),
	}, nil
}
