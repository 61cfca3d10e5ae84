package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"rollcall/domain"
)

// member is one name and value of a JSON object. The value is valid JSON.
type member struct {
	name  string
	value []byte
}

// maxMembers bounds the names in an object; no body has as many.
const maxMembers = 100

// parseObject splits a JSON object into its members in their order. It refuses
// what JSON (RFC 8259) or common sense refuses: anything but one object, text
// behind it, names that are given twice, and text that is not Unicode. The
// values share memory with b.
//
// Errors: *domain.Rejection, with code malformed_body where no object can be
// read at all, else validation_failed that names each bad member.
func parseObject(b []byte) ([]member, error) {
	if err := checkSyntax(b); err != nil {
		return nil, err
	}
	b = bytes.TrimSpace(b)
	if b[0] != '{' {
		return nil, Refuse(CodeMalformedBody, "this must be a JSON object, not %s", kindOf(b))
	}
	members := make([]member, 0, 16)
	var bad Checks
	for i := skipSpace(b, 1); b[i] != '}'; {
		end := skipValue(b, i)
		name, err := parseString(b[i:end])
		if err != nil {
			return nil, Refuse(CodeMalformedBody, "a name %s", err)
		}
		i = skipSpace(b, skipSpace(b, end)+1) // behind the colon
		end = skipValue(b, i)
		value := b[i:end]
		if len(members) == maxMembers {
			return nil, Refuse(CodeMalformedBody, "this has more than %d names", maxMembers)
		}
		if slices.ContainsFunc(members, func(m member) bool { return m.name == name }) {
			bad.Add(name, CodeDuplicate, "is given twice")
		}
		members = append(members, member{name, value})
		if i = skipSpace(b, end); b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return members, bad.Err("the object")
}

// checkSyntax tells what is wrong with text that is not JSON.
func checkSyntax(b []byte) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return Refuse(CodeMalformedBody, "there is nothing here; send a JSON object")
	}
	if json.Valid(b) {
		return nil
	}
	var v json.RawMessage
	err := json.Unmarshal(b, &v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return Refuse(CodeMalformedBody, "this is not valid JSON: %s (at byte %d)", syntax, syntax.Offset)
	}
	return Refuse(CodeMalformedBody, "this is not valid JSON")
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// skipValue returns the index behind the value at i, which is known to be
// valid JSON.
func skipValue(b []byte, i int) int {
	depth := 0
	for ; ; i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ' ', '\t', '\n', '\r', ',', ':':
			continue
		default:
			i = skipLiteral(b, i) - 1
		}
		if depth == 0 {
			return i + 1
		}
	}
}

func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipLiteral(b []byte, i int) int {
	for i < len(b) && bytes.IndexByte([]byte(" \t\n\r,:]}"), b[i]) < 0 {
		i++
	}
	return i
}

// kindOf names the kind of a JSON value for people.
func kindOf(value []byte) string {
	switch value[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

func isNull(value []byte) bool { return value[0] == 'n' }

// parseString reads a JSON string. Unlike encoding/json it refuses what is not
// Unicode instead of replacing it.
func parseString(value []byte) (string, error) {
	if value[0] != '"' {
		return "", fmt.Errorf("must be a string, this is %s", kindOf(value))
	}
	if !utf8.Valid(value) {
		return "", errors.New("must be valid UTF-8")
	}
	text := value[1 : len(value)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text), nil
	}
	if !surrogatesPaired(text) {
		return "", errors.New("must be Unicode: it has half of a surrogate pair")
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", errors.New("must be a string")
	}
	return s, nil
}

// surrogatesPaired tells whether each escaped UTF-16 surrogate has its other
// half, see section 8.2 of RFC 8259.
func surrogatesPaired(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if text[i] != 'u' {
			continue
		}
		r := hexRune(text[i+1 : i+5])
		i += 4
		if !utf16.IsSurrogate(r) {
			continue
		}
		if len(text) < i+7 || text[i+1] != '\\' || text[i+2] != 'u' ||
			utf16.DecodeRune(r, hexRune(text[i+3:i+7])) == utf8.RuneError {
			return false
		}
		i += 6
	}
	return true
}

func hexRune(digits []byte) rune {
	n, _ := strconv.ParseUint(string(digits), 16, 16)
	return rune(n)
}

// parseNumber reads a JSON number as an unsigned 32-bit number.
func parseNumber(value []byte) (uint32, error) {
	if c := value[0]; c != '-' && (c < '0' || c > '9') {
		return 0, fmt.Errorf("must be a number, this is %s", kindOf(value))
	}
	n, err := strconv.ParseUint(string(value), 10, 32)
	if err != nil {
		return 0, errors.New("must be a whole number from 0 to 4294967295")
	}
	return uint32(n), nil
}

// parseStrings reads a JSON array of strings. The error names the element.
func parseStrings(field string, value []byte, most int) ([]string, error) {
	if value[0] != '[' {
		return nil, Invalid("the object", field, domain.CodeBadValue, "must be an array of strings, this is %s", kindOf(value))
	}
	var list []string
	for i := skipSpace(value, 1); value[i] != ']'; {
		if len(list) == most {
			return nil, Invalid("the object", field, domain.CodeTooLong, "at most %d", most)
		}
		end := skipValue(value, i)
		s, err := parseString(value[i:end])
		if err != nil {
			return nil, Invalid("the object", fmt.Sprintf("%s[%d]", field, len(list)), domain.CodeBadValue, "%s", err)
		}
		list = append(list, s)
		if i = skipSpace(value, end); value[i] == ',' {
			i = skipSpace(value, i+1)
		}
	}
	return list, nil
}
