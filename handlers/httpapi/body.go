package httpapi

import (
	"errors"

	"rollcall/domain"
)

// setter takes the value of one member of a body.
type setter func(value []byte) error

// decodeObject reads a JSON object whose names all have a setter. An error of
// a setter refuses its field, or the fields that it names itself.
func decodeObject(b []byte, thing string, setters map[string]setter) error {
	members, err := parseObject(b)
	if err != nil {
		return err
	}
	var bad fieldChecks
	for _, m := range members {
		set, ok := setters[m.name]
		if !ok {
			bad.add(m.name, domain.CodeUnknownField, "there is no such field")
			continue
		}
		err := set(m.value)
		var r *domain.Rejection
		switch {
		case errors.As(err, &r):
			bad = append(bad, r.Fields...)
		case err != nil:
			bad.add(m.name, domain.CodeBadValue, "%s", err)
		}
	}
	return bad.err(thing)
}

// setString takes a string; null is as if the name were absent.
func setString[T ~string](to *T) setter {
	return func(value []byte) error {
		if isNull(value) {
			return nil
		}
		s, err := parseString(value)
		*to = T(s)
		return err
	}
}

// setInt takes a number; null is as if the name were absent.
func setInt(to **int) setter {
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

// setStrings takes an array of strings; null is as if the name were absent.
func setStrings[T ~string](to *[]T, field string, most int) setter {
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

// refused refuses a field of an object with a code.
func refused(field string, code domain.Code, detail string) setter {
	return func([]byte) error {
		return &domain.Rejection{Code: code, Fields: []domain.FieldError{{Field: field, Code: code, Detail: detail}}}
	}
}
