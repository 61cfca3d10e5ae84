package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"rollcall/handlers/export"
)

// printer prints things of one kind as a table, as JSON with a value a line, or as CSV
// with its cells guarded as in an export. Rows of a table are held until flush, for the width of its columns.
type printer[T any] struct {
	w       io.Writer
	format  string
	columns []column[T]

	table tableWriter
	csv   *csv.Writer
}

// column is one column of a table or CSV.
type column[T any] struct {
	name string
	text func(T) string
}

func newPrinter[T any](s *streams, format string, columns []column[T]) *printer[T] {
	p := &printer[T]{w: s.out, format: format, columns: columns}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	switch format {
	case "csv":
		p.csv = csv.NewWriter(s.out)
		_ = p.csv.Write(names) // an error stays in the writer until flush
	case "table":
		p.table.w = s.out
		for i := range names {
			names[i] = strings.ToUpper(names[i])
		}
		p.table.add(names)
	}
	return p
}

// print prints one thing, its JSON as encoding/json writes it.
func (p *printer[T]) print(v T) error {
	if p.format == "json" {
		return writeJSON(p.w, v)
	}
	cells := make([]string, len(p.columns))
	for i, c := range p.columns {
		cells[i] = c.text(v)
	}
	if p.format == "csv" {
		for i, cell := range cells {
			cells[i] = export.Guard(cell) // no spreadsheet runs what a user called itself
		}
		return p.csv.Write(cells)
	}
	p.table.add(cells)
	return nil
}

// flush prints what is held. More may be printed behind it.
func (p *printer[T]) flush() error {
	switch p.format {
	case "csv":
		p.csv.Flush()
		return p.csv.Error()
	case "table":
		return p.table.flush()
	}
	return nil
}

// printAll prints several things.
func printAll[T any](s *streams, format string, columns []column[T], values ...T) error {
	p := newPrinter(s, format, columns)
	for _, v := range values {
		if err := p.print(v); err != nil {
			return err
		}
	}
	return p.flush()
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// tableWriter prints rows with their columns below each other. A column that was wide once stays so.
type tableWriter struct {
	w      io.Writer
	rows   [][]string
	widths []int
}

func (t *tableWriter) add(cells []string) {
	for i, cell := range cells {
		cells[i] = printable(cell)
		if i == len(t.widths) {
			t.widths = append(t.widths, 0)
		}
		t.widths[i] = max(t.widths[i], width(cells[i]))
	}
	t.rows = append(t.rows, cells)
}

func (t *tableWriter) flush() error {
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", t.widths[i]-width(cell)+2))
			}
		}
		if _, err := fmt.Fprintln(t.w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	t.rows = t.rows[:0]
	return nil
}

// printable replaces what a terminal might take for an order.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// width returns how many columns of a terminal a text takes, near enough for a table.
func width(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana),
			r >= 0x3000 && r <= 0x303f, r >= 0xff01 && r <= 0xff60, r >= 0x1f300 && r <= 0x1faff:
			n += 2
		default:
			n++
		}
	}
	return n
}

func whole[N ~int | ~int64 | ~uint32 | ~uint64](n N) string { return strconv.FormatInt(int64(n), 10) }

// optional tells a number that may be unset or zero for none.
func optional(n *uint32) string {
	if n == nil {
		return ""
	}
	return whole(*n)
}

func nonzero[N ~int | ~int64 | ~uint32 | ~uint64](n N) string {
	if n == 0 {
		return ""
	}
	return whole(n)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// grouped writes a number with its thousands apart.
func grouped[N ~int | ~int64](n N) string {
	s := whole(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
