package wire

import (
	"time"

	"rollcall/domain"
)

// Account is an account as JSON, its fields in the order of contract.md. An
// optional field that is unset is absent.
type Account struct {
	App             domain.AppID           `json:"app"`
	UserID          domain.UserID          `json:"user_id"`
	Type            domain.AccountType     `json:"type"`
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
	CreatedAt       time.Time              `json:"created_at"`
	UpdatedAt       time.Time              `json:"updated_at"`
	Revision        uint64                 `json:"revision"`
}

// AccountOf shows an account.
func AccountOf(a domain.Account) Account {
	p := a.Profile
	return Account{
		App: a.App, UserID: a.UserID, Type: a.Type,
		Nickname: p.Nickname, FaceURL: p.FaceURL, Gender: p.Gender, Birthday: p.Birthday,
		Location: p.Location, SelfSignature: p.SelfSignature, AllowType: p.AllowType,
		Language: optional(p.Language), MsgSettings: optional(p.MsgSettings),
		AdminForbidType: p.AdminForbidType, Level: optional(p.Level), Role: optional(p.Role),
		CreatedAt: a.CreatedAt.UTC(), UpdatedAt: a.UpdatedAt.UTC(), Revision: a.Revision,
	}
}

func optional(n domain.Number) *uint32 {
	if !n.Set {
		return nil
	}
	return &n.Value
}
