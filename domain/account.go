package domain

import "time"

// Profile is what an edit of an account may change. A zero value is unset.
type Profile struct {
	Nickname        string
	FaceURL         string
	Gender          Gender
	Birthday        uint32 // YYYYMMDD, zero for none
	Location        string
	SelfSignature   string
	AllowType       AllowType
	Language        Number
	MsgSettings     Number // bit 0: do not receive
	AdminForbidType AdminForbidType
	Level           Number
	Role            Number
}

// Account is the state of one account. The zero value is an account that does
// not exist.
type Account struct {
	App       AppID
	UserID    UserID
	Type      AccountType
	Profile   Profile
	CreatedAt time.Time
	UpdatedAt time.Time
	Revision  uint64 // position of the latest event, also after deletion
}

// Exists tells whether the account has been created and not deleted since.
func (a Account) Exists() bool { return a.UserID != "" }

// Value is the value of one field. Which member holds it is told by the
// field's Kind.
type Value struct {
	Text   string
	Number uint64
	Time   time.Time
	Set    bool
}

func text[T ~string](s T) Value { return Value{Text: string(s), Set: s != ""} }
func number(n Number) Value     { return Value{Number: uint64(n.Value), Set: n.Set} }
func instant(t time.Time) Value { return Value{Time: t, Set: !t.IsZero()} }
func positive(n uint64) Value   { return Value{Number: n, Set: n != 0} }

// Value returns the value of a field.
func (a Account) Value(f Field) Value {
	p := &a.Profile
	switch f {
	case FieldApp:
		return text(a.App)
	case FieldUserID:
		return text(a.UserID)
	case FieldType:
		return text(a.Type)
	case FieldNickname:
		return text(p.Nickname)
	case FieldFaceURL:
		return text(p.FaceURL)
	case FieldGender:
		return text(p.Gender)
	case FieldBirthday:
		return positive(uint64(p.Birthday))
	case FieldLocation:
		return text(p.Location)
	case FieldSelfSignature:
		return text(p.SelfSignature)
	case FieldAllowType:
		return text(p.AllowType)
	case FieldLanguage:
		return number(p.Language)
	case FieldMsgSettings:
		return number(p.MsgSettings)
	case FieldAdminForbidType:
		return text(p.AdminForbidType)
	case FieldLevel:
		return number(p.Level)
	case FieldRole:
		return number(p.Role)
	case FieldCreatedAt:
		return instant(a.CreatedAt)
	case FieldUpdatedAt:
		return instant(a.UpdatedAt)
	case FieldRevision:
		return positive(a.Revision)
	}
	return Value{}
}

// take copies the given fields from q. Fields that are not of the profile are
// left alone.
func (p *Profile) take(fields Fields, q Profile) {
	for f := range fields.All() {
		switch f {
		case FieldNickname:
			p.Nickname = q.Nickname
		case FieldFaceURL:
			p.FaceURL = q.FaceURL
		case FieldGender:
			p.Gender = q.Gender
		case FieldBirthday:
			p.Birthday = q.Birthday
		case FieldLocation:
			p.Location = q.Location
		case FieldSelfSignature:
			p.SelfSignature = q.SelfSignature
		case FieldAllowType:
			p.AllowType = q.AllowType
		case FieldLanguage:
			p.Language = q.Language
		case FieldMsgSettings:
			p.MsgSettings = q.MsgSettings
		case FieldAdminForbidType:
			p.AdminForbidType = q.AdminForbidType
		case FieldLevel:
			p.Level = q.Level
		case FieldRole:
			p.Role = q.Role
		}
	}
}

// Set returns the fields of the profile that are set.
func (p Profile) Set() Fields { return p.diff(Profile{}) }

// diff returns the fields in which p and q differ.
func (p Profile) diff(q Profile) Fields {
	a, b := Account{Profile: p}, Account{Profile: q}
	var s Fields
	for f := range ProfileFields.All() {
		if a.Value(f) != b.Value(f) {
			s = s.With(f)
		}
	}
	return s
}

// Patch is a change of a profile: the named fields take their value from
// Values, where a zero value unsets them.
type Patch struct {
	Fields Fields
	Values Profile
}

func (c *checks) profile(p Profile) {
	c.text("nickname", p.Nickname, MaxTextBytes)
	c.webURL("face_url", p.FaceURL)
	oneOf(c, "gender", p.Gender, GenderUnknown, GenderFemale, GenderMale)
	c.date("birthday", p.Birthday)
	c.text("location", p.Location, MaxLocationBytes)
	c.text("self_signature", p.SelfSignature, MaxTextBytes)
	oneOf(c, "allow_type", p.AllowType, AllowNeedConfirm, AllowAny, AllowDenyAny)
	oneOf(c, "admin_forbid_type", p.AdminForbidType, ForbidNone, ForbidSendOut)
}
