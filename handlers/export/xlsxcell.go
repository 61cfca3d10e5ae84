package export

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rollcall/domain"
)

const (
	// maxSheetNumber is the greatest whole number all of whose digits a spreadsheet keeps.
	maxSheetNumber = 999_999_999_999_999

	msPerDay = int64(24 * time.Hour / time.Millisecond)
)

// cell appends one cell of the row that was begun. What no number or date of a spreadsheet can hold becomes text.
func (e *xlsxEncoder) cell(column int, kind domain.Kind, v domain.Value) {
	switch kind {
	case domain.KindNumber:
		if v.Number > maxSheetNumber {
			e.cellText(column, xlsxTextStyle, strconv.FormatUint(v.Number, 10))
			return
		}
		e.beginCell(column, xlsxNumberStyle, `"><v>`)
		e.buf = append(appendNumber(e.buf, v.Number), `</v></c>`...)
	case domain.KindTime:
		days, ok := sheetDate(v.Time)
		if !ok {
			e.cellText(column, xlsxTextStyle, v.Time.UTC().Format(time.RFC3339Nano))
			return
		}
		e.beginCell(column, xlsxTimeStyle, `"><v>`)
		e.buf = append(strconv.AppendFloat(e.buf, days, 'f', -1, 64), `</v></c>`...)
	default:
		e.cellText(column, xlsxTextStyle, v.Text)
	}
}

func (e *xlsxEncoder) beginCell(column int, style byte, rest string) {
	b := append(append(e.buf, `<c r="`...), e.columns[column]...)
	b = append(append(appendNumber(b, uint64(e.rows)), `" s="`...), style)
	e.buf = append(b, rest...)
}

func (e *xlsxEncoder) cellText(column int, style byte, s string) {
	e.beginCell(column, style, `" t="inlineStr"><is><t xml:space="preserve">`)
	e.buf = append(appendSheetText(e.buf, s), `</t></is></c>`...)
}

// sheetDate returns a time as days since the end of 1899 in UTC (ECMA-376 part 1, 18.17.4.1), to the millisecond, which is what
// spreadsheets keep. False for one before March of 1900, until when they count a day that there was not, or
// behind the year 9999.
func sheetDate(t time.Time) (days float64, ok bool) {
	const first, last = 61, 2958465
	epoch := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	ms := t.UnixMilli() - epoch.UnixMilli()
	days = float64(ms) / float64(msPerDay)
	return days, days >= first && days < last+1
}

// sheetSpecial tells which bytes of text do not stand for themselves in a cell, or may not.
var sheetSpecial = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = c != '\t' && c != '\n'
	}
	t['&'], t['<'], t['>'], t['_'], t[0xef] = true, true, true, true, true
	return t
}()

// appendSheetText appends text as an ST_Xstring (ECMA-376 part 1, 22.9.2.19): characters that XML cannot hold, or that
// its readers change, are written as _xHHHH_, and what looks like that is itself
// escaped. What is not UTF-8 becomes U+FFFD.
func appendSheetText(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	start := 0
	for i := 0; i < len(s); {
		if !sheetSpecial[s[i]] {
			i++
			continue
		}
		replacement, size := sheetEscape(s[i:])
		if replacement != "" {
			dst = append(append(dst, s[start:i]...), replacement...)
			start = i + size
		}
		i += size
	}
	return append(dst, s[start:]...)
}

// sheetEscape returns what is written in place of the character that s begins with, which is of the given size; nothing for
// the character itself.
func sheetEscape(s string) (replacement string, size int) {
	switch c := s[0]; {
	case c == '&':
		return "&amp;", 1
	case c == '<':
		return "&lt;", 1
	case c == '>':
		return "&gt;", 1
	case c == '_' && looksEscaped(s):
		return "_x005F_", 1
	case c < 0x20:
		return "_x00" + string(hexDigits[c>>4]) + strings.ToUpper(string(hexDigits[c&0xf])) + "_", 1
	case strings.HasPrefix(s, "\ufffe"):
		return "_xFFFE_", len("\ufffe")
	case strings.HasPrefix(s, "\uffff"):
		return "_xFFFF_", len("\uffff")
	}
	_, size = utf8.DecodeRuneInString(s)
	return "", size
}

// looksEscaped tells whether s begins like _xHHHH_.
func looksEscaped(s string) bool {
	const length = len("_xHHHH_")
	if len(s) < length || s[1] != 'x' && s[1] != 'X' || s[length-1] != '_' {
		return false
	}
	_, err := strconv.ParseUint(s[2:length-1], 16, 16)
	return err == nil
}
