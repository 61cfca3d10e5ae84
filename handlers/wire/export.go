package wire

import (
	"errors"
	"fmt"
	"strconv"
	"time"

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
		"as_of":       setMoment(&spec.AsOf),
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

// setMoment takes a position or a time; null is as if the name were absent.
func setMoment(to *export.Moment) Setter {
	return func(value []byte) (err error) {
		text := string(value)
		switch {
		case isNull(value):
			return nil
		case text[0] == '"':
			if text, err = parseString(value); err != nil {
				return err
			}
		}
		*to, err = ParseMoment("the export", "as_of", text)
		return err
	}
}

// ParseMoment reads a position or a time in a field of a thing.
func ParseMoment(thing, field, text string) (export.Moment, error) {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
		return export.Moment{Position: n}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 {
		return export.Moment{}, Invalid(thing, field, domain.CodeBadValue, "must be a position, 1 or more, or a time as in 2026-01-31T12:00:00Z")
	}
	return export.Moment{Time: t}, nil
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
