package wire

import (
	"errors"
	"strconv"
	"strings"

	"rollcall/domain"
)

// AccountBody is an account as a body or a row tells it.
type AccountBody struct {
	UserID domain.UserID
	Type   domain.AccountType
	Named  domain.Fields // all that are named, also those with null
	Patch  domain.Patch
}

// readOnlyFields are given by the service.
var readOnlyFields = domain.FieldsOf(domain.FieldApp, domain.FieldCreatedAt, domain.FieldUpdatedAt, domain.FieldRevision)

// DecodeAccount reads an account from a JSON object. It checks the shape of
// values, that each is of its kind; their bounds are the domain's to check. The values of
// read-only fields are not looked at.
//
// Errors: *domain.Rejection, with CodeMalformedBody where no object can be read at all, else
// validation_failed that names each bad field.
func DecodeAccount(b []byte) (AccountBody, error) {
	members, err := parseObject(b)
	if err != nil {
		return AccountBody{}, err
	}
	var body AccountBody
	var bad Checks
	for _, m := range members {
		f, ok := domain.FieldNamed(m.name)
		if !ok {
			bad.Add(m.name, domain.CodeUnknownField, "an account has no such field")
			continue
		}
		body.Named = body.Named.With(f)
		if readOnlyFields.Has(f) {
			continue
		}
		if err := body.setJSON(f, m.value); err != nil {
			bad.Add(m.name, domain.CodeBadValue, "%s", err)
		}
	}
	return body, bad.Err("the account")
}

// setJSON takes the value of a field. Null unsets it.
func (a *AccountBody) setJSON(f domain.Field, value []byte) error {
	if domain.ProfileFields.Has(f) {
		a.Patch.Fields = a.Patch.Fields.With(f)
	}
	if isNull(value) {
		return nil
	}
	if f.Kind() == domain.KindNumber {
		n, err := parseNumber(value)
		if err != nil {
			return err
		}
		return a.setNumber(f, n)
	}
	s, err := parseString(value)
	if err != nil {
		return err
	}
	return a.setText(f, s)
}

// SetCell takes the value of a field from a cell of a table, where an empty
// cell says nothing about the field.
func (a *AccountBody) SetCell(f domain.Field, cell string) error {
	if cell == "" || readOnlyFields.Has(f) {
		return nil
	}
	a.Named = a.Named.With(f)
	if domain.ProfileFields.Has(f) {
		a.Patch.Fields = a.Patch.Fields.With(f)
	}
	if f.Kind() == domain.KindNumber {
		n, err := strconv.ParseUint(cell, 10, 32)
		if err != nil {
			return errors.New("must be a whole number from 0 to 4294967295")
		}
		return a.setNumber(f, uint32(n))
	}
	return a.setText(f, cell)
}

func (a *AccountBody) setText(f domain.Field, s string) error {
	p := &a.Patch.Values
	switch f {
	case domain.FieldUserID:
		a.UserID = domain.UserID(s)
	case domain.FieldType:
		a.Type = domain.AccountType(s)
		return notEmpty(s)
	case domain.FieldNickname:
		p.Nickname = s
	case domain.FieldFaceURL:
		p.FaceURL = s
	case domain.FieldGender:
		p.Gender = domain.Gender(s)
		return notEmpty(s)
	case domain.FieldLocation:
		p.Location = s
	case domain.FieldSelfSignature:
		p.SelfSignature = s
	case domain.FieldAllowType:
		p.AllowType = domain.AllowType(s)
		return notEmpty(s)
	case domain.FieldAdminForbidType:
		p.AdminForbidType = domain.AdminForbidType(s)
		return notEmpty(s)
	}
	return nil
}

// notEmpty refuses an empty text where the domain would take it as unset.
func notEmpty(s string) error {
	if s == "" {
		return errors.New("must not be empty; null unsets it")
	}
	return nil
}

func (a *AccountBody) setNumber(f domain.Field, n uint32) error {
	p := &a.Patch.Values
	switch f {
	case domain.FieldBirthday:
		if n == 0 {
			return errors.New("must be a real date written YYYYMMDD; null unsets it")
		}
		p.Birthday = n
	case domain.FieldLanguage:
		p.Language = domain.Num(n)
	case domain.FieldMsgSettings:
		p.MsgSettings = domain.Num(n)
	case domain.FieldLevel:
		p.Level = domain.Num(n)
	case domain.FieldRole:
		p.Role = domain.Num(n)
	}
	return nil
}

// RefuseReadOnly refuses a new account that names what the service gives.
func (a *AccountBody) RefuseReadOnly() error {
	var bad Checks
	for f := range (a.Named & readOnlyFields).All() {
		bad.Add(f.String(), CodeReadOnly, "is given by Rollcall; leave it out")
	}
	return bad.Err("the account")
}

// RefuseImmutable refuses an edit that names what never changes or is given by
// the service, but for the fields that tell which account it is about.
func (a *AccountBody) RefuseImmutable(but ...domain.Field) error {
	fixed := a.Named &^ domain.ProfileFields &^ domain.FieldsOf(but...)
	if fixed == 0 {
		return nil
	}
	r := &domain.Rejection{
		Code:   domain.CodeImmutable,
		Detail: "an edit cannot change " + strings.Join(fixed.Names(), ", ") + "; leave it out",
	}
	for f := range fixed.All() {
		r.Fields = append(r.Fields, domain.FieldError{Field: f.String(), Code: domain.CodeImmutable, Detail: "cannot be changed"})
	}
	return r
}
