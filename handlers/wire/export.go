package wire

import (
	"errors"
	"fmt"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// DecodeExport reads what is ordered. Its bounds are checked by the use case.
func DecodeExport(app domain.AppID, b []byte) (export.Spec, error) {
	spec := export.Spec{App: app}
	var fields []string
	err := DecodeObject(b, "the export", map[string]Setter{
		"format":      SetString(&spec.Format),
		"compression": SetString(&spec.Compression),
		"user_ids":    SetStrings(&spec.UserIDs, "user_ids", domain.MaxSelectedIDs),
		"filter":      setFilter(&spec.Filter),
		"fields":      SetStrings(&fields, "fields", len(domain.AllFields.Names())),
	})
	if err != nil {
		return spec, err
	}
	var bad Checks
	for i, name := range fields {
		f, ok := domain.FieldNamed(name)
		if !ok {
			bad.Add(fmt.Sprintf("fields[%d]", i), domain.CodeUnknownField, "an account has no field %s", Quoted(name))
		}
		spec.Fields = append(spec.Fields, f)
	}
	return spec, bad.Err("the export")
}

// setFilter takes a filter; null is as if the name were absent.
func setFilter(to *domain.Filter) Setter {
	return func(value []byte) error {
		if isNull(value) {
			return nil
		}
		err := DecodeObject(value, "the filter", map[string]Setter{"type": SetString(&to.Type), "q": SetString(&to.Text)})
		var r *domain.Rejection
		if !errors.As(err, &r) || len(r.Fields) == 0 {
			return asField("filter", err)
		}
		for i := range r.Fields {
			r.Fields[i].Field = "filter." + r.Fields[i].Field
		}
		return r
	}
}

// asField tells what is wrong with the value of a field as a whole.
func asField(field string, err error) error {
	var r *domain.Rejection
	if !errors.As(err, &r) {
		return err
	}
	return Invalid("the object", field, domain.CodeBadValue, "%s", r.Detail)
}
