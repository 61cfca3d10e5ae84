package wire

import (
	"errors"

	"rollcall/domain"
)

// Setter takes the value of one member of a body. The value is valid JSON.
type Setter func(value []byte) error

// DecodeObject reads a JSON object whose names all have a Setter. An error of
// a Setter refuses its field, or the fields that it names itself.
//
// Errors: *domain.Rejection, with CodeMalformedBody where no object can be read at all, else
// validation_failed that names each bad field.
func DecodeObject(b []byte, thing string, setters map[string]Setter) error {
	members, err := parseObject(b)
	if err != nil {
		return err
	}
	var bad Checks
	for _, m := range members {
		set, ok := setters[m.name]
		if !ok {
			bad.Add(m.name, domain.CodeUnknownField, "there is no such field")
			continue
		}
		err := set(m.value)
		var r *domain.Rejection
		switch {
		case errors.As(err, &r):
			bad = append(bad, r.Fields...)
		case err != nil:
			bad.Add(m.name, domain.CodeBadValue, "%s", err)
		}
	}
	return bad.Err(thing)
}

// SetString takes a string; null is as if the name were absent.
func SetString[T ~string](to *T) Setter {
	return func(value []byte) error {
		if isNull(value) {
			return nil
		}
		s, err := parseString(value)
		*to = T(s)
		return err
	}
}

// SetInt takes a number; null is as if the name were absent.
func SetInt(to **int) Setter {
	return func(value []byte) error {
		if isNull(value) {
			return nil
		}
		n, err := parseNumber(value)
		i := int(n)
		*to = &i
		return err
	}
}

// SetStrings takes an array of strings; null is as if the name were absent.
func SetStrings[T ~string](to *[]T, field string, most int) Setter {
	return func(value []byte) error {
		if isNull(value) {
			return nil
		}
		list, err := parseStrings(field, value, most)
		*to = make([]T, len(list))
		for i, s := range list {
			(*to)[i] = T(s)
		}
		return err
	}
}

// Refused refuses a field of an object with a code.
func Refused(field string, code domain.Code, detail string) Setter {
	return func([]byte) error {
		return &domain.Rejection{Code: code, Fields: []domain.FieldError{{Field: field, Code: code, Detail: detail}}}
	}
}
