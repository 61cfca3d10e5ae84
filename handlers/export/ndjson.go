package export

import (
	"strings"
	"unicode/utf8"

	"rollcall/domain"
)

// ndjsonEncoder writes one JSON object a line.
type ndjsonEncoder struct {
	fields []domain.Field
	keys   []string // of each field, as "name":
}

func newNDJSONEncoder(fields []domain.Field) *ndjsonEncoder {
	e := &ndjsonEncoder{fields: fields, keys: make([]string, len(fields))}
	for i, f := range fields {
		e.keys[i] = `"` + f.String() + `":`
	}
	return e
}

func (e *ndjsonEncoder) appendHeader(dst []byte) []byte { return dst }

func (e *ndjsonEncoder) appendAccount(dst []byte, a *domain.Account) []byte {
	dst = append(dst, '{')
	first := true
	for i, f := range e.fields {
		v := a.Value(f)
		if !v.Set {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, e.keys[i]...)
		switch f.Kind() {
		case domain.KindNumber:
			dst = appendNumber(dst, v.Number)
		case domain.KindTime:
			dst = append(appendTime(append(dst, '"'), v.Time), '"')
		default:
			dst = appendJSONString(dst, v.Text)
		}
	}
	return append(dst, "}\n"...)
}

const hexDigits = "0123456789abcdef"

// escaped tells which bytes cannot stand in a JSON string as they are.
var escaped = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// appendJSONString appends a string as JSON with no more escapes than RFC 8259 asks
// for. What is not UTF-8 becomes U+FFFD.
func appendJSONString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if !escaped[c] {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
	}
	return append(append(dst, s[start:]...), '"')
}
