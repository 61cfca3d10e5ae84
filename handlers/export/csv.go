package export

import (
	"strings"

	"rollcall/domain"
)

// Guard returns a cell of text that no spreadsheet runs as a formula: one that begins with a
// character that could start a formula, or with a single quote, gets a
// single quote in front. Unguard restores every cell.
func Guard(cell string) string {
	if needsGuard(cell) {
		return "'" + cell
	}
	return cell
}

// Unguard strips the single quote that Guard put in front of a cell, if any.
func Unguard(cell string) string { return strings.TrimPrefix(cell, "'") }

// needsGuard tells whether a cell begins with =, +, -, @, a tab, a line break, the full-width
// form of one of those signs, or a single quote
// (https://owasp.org/www-community/attacks/CSV_Injection).
func needsGuard(cell string) bool {
	if cell == "" {
		return false
	}
	switch cell[0] {
	case '=', '+', '-', '@', '\t', '\r', '\n', '\'':
		return true
	case 0xef: // the first byte of the full-width forms
		for _, sign := range [...]string{"＝", "＋", "－", "＠"} {
			if strings.HasPrefix(cell, sign) {
				return true
			}
		}
	}
	return false
}

// csvEncoder writes RFC 4180.
type csvEncoder struct {
	fields []domain.Field
}

func newCSVEncoder(fields []domain.Field) *csvEncoder { return &csvEncoder{fields: fields} }

func (c *csvEncoder) appendHeader(dst []byte) []byte {
	for i, f := range c.fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.String()...)
	}
	return append(dst, "\r\n"...)
}

func (c *csvEncoder) appendAccount(dst []byte, a *domain.Account) []byte {
	start := len(dst)
	for i, f := range c.fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		v := a.Value(f)
		if !v.Set {
			continue
		}
		switch f.Kind() {
		case domain.KindNumber:
			dst = appendNumber(dst, v.Number)
		case domain.KindTime:
			dst = appendTime(dst, v.Time)
		default:
			dst = appendCell(dst, v.Text)
		}
	}
	if len(dst) == start {
		// Readers skip an empty line; this is one empty cell.
		dst = append(dst, `""`...)
	}
	return append(dst, "\r\n"...)
}

// appendCell appends a guarded cell, in quotes where it needs them.
func appendCell(dst []byte, s string) []byte {
	guard := needsGuard(s)
	if !needsQuotes(s) {
		if guard {
			dst = append(dst, '\'')
		}
		return append(dst, s...)
	}
	dst = append(dst, '"')
	if guard {
		dst = append(dst, '\'')
	}
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			break
		}
		dst = append(append(dst, s[:i+1]...), '"')
		s = s[i+1:]
	}
	return append(append(dst, s...), '"')
}

func needsQuotes(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case ',', '"', '\r', '\n':
			return true
		}
	}
	return false
}
