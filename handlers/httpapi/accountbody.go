package httpapi

import (
	"errors"
	"strconv"
	"strings"

	"rollcall/domain"
)

// accountBody is an account as a body or a row tells it.
type accountBody struct {
	userID domain.UserID
	typ    domain.AccountType
	named  domain.Fields // all that are named, also those with null
	patch  domain.Patch
}

// readOnlyFields are given by the service.
var readOnlyFields = domain.FieldsOf(domain.FieldApp, domain.FieldCreatedAt, domain.FieldUpdatedAt, domain.FieldRevision)

// decodeAccount reads an account from a JSON object. It checks the shape of
// values, that each is of its kind; their bounds are the domain's to check. The values of
// read-only fields are not looked at. Errors are those of parseObject.
func decodeAccount(b []byte) (accountBody, error) {
	members, err := parseObject(b)
	if err != nil {
		return accountBody{}, err
	}
	var body accountBody
	var bad fieldChecks
	for _, m := range members {
		f, ok := domain.FieldNamed(m.name)
		if !ok {
			bad.add(m.name, domain.CodeUnknownField, "an account has no such field")
			continue
		}
		body.named = body.named.With(f)
		if readOnlyFields.Has(f) {
			continue
		}
		if err := body.setJSON(f, m.value); err != nil {
			bad.add(m.name, domain.CodeBadValue, "%s", err)
		}
	}
	return body, bad.err("the account")
}

// setJSON takes the value of a field. Null unsets it.
func (a *accountBody) setJSON(f domain.Field, value []byte) error {
	if domain.ProfileFields.Has(f) {
		a.patch.Fields = a.patch.Fields.With(f)
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

// setCell takes the value of a field from a cell of a table, where an empty
// cell says nothing about the field.
func (a *accountBody) setCell(f domain.Field, cell string) error {
	if cell == "" || readOnlyFields.Has(f) {
		return nil
	}
	a.named = a.named.With(f)
	if domain.ProfileFields.Has(f) {
		a.patch.Fields = a.patch.Fields.With(f)
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

func (a *accountBody) setText(f domain.Field, s string) error {
	p := &a.patch.Values
	switch f {
	case domain.FieldUserID:
		a.userID = domain.UserID(s)
	case domain.FieldType:
		a.typ = domain.AccountType(s)
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

func (a *accountBody) setNumber(f domain.Field, n uint32) error {
	p := &a.patch.Values
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

// refuseReadOnly refuses a new account that names what the service gives.
func (a *accountBody) refuseReadOnly() error {
	var bad fieldChecks
	for f := range (a.named & readOnlyFields).All() {
		bad.add(f.String(), codeReadOnly, "is given by Rollcall; leave it out")
	}
	return bad.err("the account")
}

// refuseImmutable refuses an edit that names what never changes or is given by
// the service.
func (a *accountBody) refuseImmutable() error {
	fixed := a.named &^ domain.ProfileFields
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
