package domain

import (
	"iter"
	"math/bits"
)

// Field names one field of an account.
type Field uint8

// The fields of an account, in the order in which they are shown.
const (
	FieldApp Field = iota
	FieldUserID
	FieldType
	FieldNickname
	FieldFaceURL
	FieldGender
	FieldBirthday
	FieldLocation
	FieldSelfSignature
	FieldAllowType
	FieldLanguage
	FieldMsgSettings
	FieldAdminForbidType
	FieldLevel
	FieldRole
	FieldCreatedAt
	FieldUpdatedAt
	FieldRevision
	fieldCount
)

// Kind tells how the value of a field is written.
type Kind uint8

// The kinds of values.
const (
	KindText Kind = iota
	KindNumber
	KindTime
)

var fieldTable = [fieldCount]struct {
	name string
	kind Kind
}{
	FieldApp:             {"app", KindText},
	FieldUserID:          {"user_id", KindText},
	FieldType:            {"type", KindText},
	FieldNickname:        {"nickname", KindText},
	FieldFaceURL:         {"face_url", KindText},
	FieldGender:          {"gender", KindText},
	FieldBirthday:        {"birthday", KindNumber},
	FieldLocation:        {"location", KindText},
	FieldSelfSignature:   {"self_signature", KindText},
	FieldAllowType:       {"allow_type", KindText},
	FieldLanguage:        {"language", KindNumber},
	FieldMsgSettings:     {"msg_settings", KindNumber},
	FieldAdminForbidType: {"admin_forbid_type", KindText},
	FieldLevel:           {"level", KindNumber},
	FieldRole:            {"role", KindNumber},
	FieldCreatedAt:       {"created_at", KindTime},
	FieldUpdatedAt:       {"updated_at", KindTime},
	FieldRevision:        {"revision", KindNumber},
}

// String returns the public name of the field.
func (f Field) String() string {
	if f >= fieldCount {
		return "unknown"
	}
	return fieldTable[f].name
}

// Kind tells how the field's value is written.
func (f Field) Kind() Kind {
	if f >= fieldCount {
		return KindText
	}
	return fieldTable[f].kind
}

// FieldNamed returns the field with a public name.
func FieldNamed(name string) (Field, bool) {
	for f := range fieldCount {
		if fieldTable[f].name == name {
			return f, true
		}
	}
	return 0, false
}

// Fields is a set of fields. The zero value is empty.
type Fields uint32

// Sets of fields.
const (
	// AllFields are all fields of an account.
	AllFields Fields = 1<<fieldCount - 1
	// ProfileFields are the fields that an edit may change.
	ProfileFields Fields = 1<<FieldCreatedAt - 1<<FieldNickname
)

// FieldsOf returns the set of the given fields.
func FieldsOf(fields ...Field) Fields {
	var s Fields
	for _, f := range fields {
		s = s.With(f)
	}
	return s
}

// With returns the set with f in it.
func (s Fields) With(f Field) Fields { return s | 1<<f }

// Has tells whether f is in the set.
func (s Fields) Has(f Field) bool { return s&(1<<f) != 0 }

// All yields the fields of the set in their order.
func (s Fields) All() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for rest := s; rest != 0; rest &= rest - 1 {
			if !yield(Field(bits.TrailingZeros32(uint32(rest)))) {
				return
			}
		}
	}
}

// Names returns the public names of the fields in their order.
func (s Fields) Names() []string {
	names := make([]string, 0, bits.OnesCount32(uint32(s)))
	for f := range s.All() {
		names = append(names, f.String())
	}
	return names
}
