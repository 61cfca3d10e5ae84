package export

import (
	"archive/zip"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"

	"rollcall/domain"
)

// maxSheetRows is how many rows a sheet has at most, its header among them
// (https://support.microsoft.com/office/excel-specifications-and-limits-1672b34d-7043-467e-8e27-269d656771c3).
const maxSheetRows = 1 << 20

// xlsxEncoder writes SpreadsheetML (ECMA-376 part 1) straight into a zip archive. Texts stand in their
// cells, for a table of shared ones would have to be kept in memory, or in a file of its own that a
// process that is killed leaves behind with personal data in it.
type xlsxEncoder struct {
	fields  []domain.Field
	columns []string // their letters
	zip     *zip.Writer
	sheet   io.Writer
	sheets  int
	rows    int // of the sheet
	buf     []byte
}

func newXLSXEncoder(w io.Writer, fields []domain.Field) (*xlsxEncoder, error) {
	e := &xlsxEncoder{fields: fields, columns: make([]string, len(fields)), zip: zip.NewWriter(w)}
	e.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for i := range fields {
		e.columns[i] = columnLetters(i)
	}
	for _, p := range [...]struct{ name, content string }{{"_rels/.rels", xlsxRoot}, {"xl/styles.xml", xlsxStyles}} {
		if err := e.add(p.name, p.content); err != nil {
			return nil, err
		}
	}
	return e, e.beginSheet()
}

// columnLetters returns the name of a column, A for 0.
func columnLetters(i int) string {
	name := ""
	for i++; i > 0; i = (i - 1) / 26 {
		name = string(rune('A'+(i-1)%26)) + name
	}
	return name
}

// create begins a part of the archive. The part before it ends.
func (e *xlsxEncoder) create(name string) (io.Writer, error) {
	// The earliest time that a zip archive can tell, so that the same accounts give the same bytes.
	return e.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)})
}

func (e *xlsxEncoder) add(name, content string) error {
	w, err := e.create(name)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, content)
	return err
}

func (e *xlsxEncoder) beginSheet() (err error) {
	e.sheets++
	if e.sheet, err = e.create(fmt.Sprintf("xl/worksheets/sheet%d.xml", e.sheets)); err != nil {
		return err
	}
	e.rows = 0
	e.buf = append(e.buf, xlsxSheetStart...)
	for i, f := range e.fields {
		width := 16
		if f.Kind() == domain.KindTime {
			width = 24 // a narrower one shows ####
		}
		e.buf = fmt.Appendf(e.buf, `<col min="%d" max="%[1]d" width="%d" customWidth="1"/>`, i+1, width)
	}
	e.buf = append(e.buf, `</cols><sheetData>`...)
	e.beginRow()
	for i, f := range e.fields {
		e.cellText(i, xlsxHeaderStyle, f.String())
	}
	e.endRow()
	return nil
}

func (e *xlsxEncoder) endSheet() error {
	e.buf = append(e.buf, `</sheetData></worksheet>`...)
	return e.flush()
}

func (e *xlsxEncoder) flush() error {
	_, err := e.sheet.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

func (e *xlsxEncoder) beginRow() {
	e.rows++
	e.buf = append(appendNumber(append(e.buf, `<row r="`...), uint64(e.rows)), `">`...)
}

func (e *xlsxEncoder) endRow() { e.buf = append(e.buf, `</row>`...) }

func (e *xlsxEncoder) Append(a *domain.Account) error {
	if e.rows == maxSheetRows {
		if err := e.endSheet(); err != nil {
			return err
		}
		if err := e.beginSheet(); err != nil {
			return err
		}
	}
	e.beginRow()
	for i, f := range e.fields {
		if v := a.Value(f); v.Set {
			e.cell(i, f.Kind(), v)
		}
	}
	e.endRow()
	if len(e.buf) < flushBytes {
		return nil
	}
	return e.flush()
}

func (e *xlsxEncoder) End() error {
	if err := e.endSheet(); err != nil {
		return err
	}
	var sheets, relations, types strings.Builder
	for n := 1; n <= e.sheets; n++ {
		fmt.Fprintf(&sheets, xlsxWorkbookSheet, sheetName(n), n)
		fmt.Fprintf(&relations, xlsxSheetRelation, n)
		fmt.Fprintf(&types, xlsxSheetType, n)
	}
	for _, p := range [...]struct{ name, content string }{
		{"xl/workbook.xml", fmt.Sprintf(xlsxWorkbook, sheets.String())},
		{"xl/_rels/workbook.xml.rels", fmt.Sprintf(xlsxRelations, relations.String())},
		{"[Content_Types].xml", fmt.Sprintf(xlsxTypes, types.String())},
	} {
		if err := e.add(p.name, p.content); err != nil {
			return err
		}
	}
	return e.zip.Close()
}

// sheetName returns the name of a sheet: accounts, then accounts 2 and so on.
func sheetName(n int) string {
	if n == 1 {
		return "accounts"
	}
	return fmt.Sprintf("accounts %d", n)
}
