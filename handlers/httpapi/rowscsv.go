package httpapi

import (
	"bufio"
	"errors"
	"io"

	"rollcall/domain"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
	"rollcall/handlers/wire"
)

// csvReader reads a table as RFC 4180 describes it, whose first line names the
// fields. An empty cell says nothing about its field. The guard that an export puts before cells that
// a spreadsheet would run is taken off.
type csvReader struct {
	records *recordReader
	fields  []domain.Field
}

// newCSVReader reads the first line. Errors: *domain.Rejection when it does not
// name fields, or that of the body.
func newCSVReader(body io.Reader) (*csvReader, error) {
	r := bufio.NewReaderSize(body, maxRowBytes)
	skipBOM(r)
	c := &csvReader{records: &recordReader{r: r}}
	names, _, err := c.records.next()
	var refused *domain.Rejection
	switch {
	case errors.Is(err, io.EOF):
		return nil, wire.Invalid("the table", "user_id", domain.CodeRequired, "the table is empty; its first line must name the columns")
	case errors.As(err, &refused):
		return nil, wire.Refuse(wire.CodeMalformedBody, "the first line, which names the columns, cannot be read: %s", refused.Detail)
	case err != nil:
		return nil, err
	}
	c.fields, err = columns(names)
	return c, err
}

func (c *csvReader) next() (command.Row, error) {
	cells, line, err := c.records.next()
	var refused *domain.Rejection
	if errors.As(err, &refused) {
		return command.Row{Line: line, Err: err}, nil
	}
	if err != nil {
		return command.Row{}, err
	}
	if len(cells) != len(c.fields) {
		return command.Row{Line: line, Err: countError(len(cells), len(c.fields))}, nil
	}
	var body wire.AccountBody
	var bad wire.Checks
	for i, f := range c.fields {
		cell := cells[i]
		if f.Kind() == domain.KindText {
			cell = export.Unguard(cell)
		}
		cellError(&bad, f, body.SetCell(f, cell))
	}
	return rowWith(line, body, bad.Err("the row")), nil
}

// recordReader splits a table into records. Unlike encoding/csv it holds no
// more than a bounded record in memory, and goes on behind a record that is wrong:
// at the next line, or behind the quoted cell that is too long, so that nothing in a cell is ever
// taken for a record.
type recordReader struct {
	r     *bufio.Reader
	line  int // of what was read last
	state csvState
	size  int
	cell  []byte
	cells []string
	wrong error
}

type csvState uint8

const (
	cellStart    csvState = iota
	inCell                // without quotes
	inQuotes              // between quotes
	behindQuotes          // a quote that ends the cell, or is the first of two
)

// next returns the cells of a record and the line that it begins at. Errors: *domain.Rejection
// for a record that cannot be read, io.EOF, or that of the body.
func (c *recordReader) next() (cells []string, line int, err error) {
	for {
		c.state, c.size, c.wrong = cellStart, 0, nil
		c.cell, c.cells = c.cell[:0], c.cells[:0]
		c.line++
		line = c.line
		err := c.read()
		switch {
		case errors.Is(err, io.EOF) && c.size == 0:
			return nil, line, io.EOF
		case errors.Is(err, io.EOF) && c.state == inQuotes:
			c.fail(malformedRow("a quote is never closed"))
		case err != nil && !errors.Is(err, io.EOF):
			return nil, line, err
		}
		if c.wrong != nil {
			return nil, line, c.wrong
		}
		if c.size == 0 {
			continue // an empty line
		}
		c.endCell()
		return c.cells, line, nil
	}
}

// read reads to the end of a record.
func (c *recordReader) read() error {
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return err
		}
		if b == '\r' && c.state != inQuotes && c.newlineFollows() {
			continue
		}
		if b == '\n' && c.state != inQuotes {
			return nil
		}
		if c.size++; c.size > maxRowBytes {
			c.fail(errRowTooLong())
		}
		c.take(b)
	}
}

func (c *recordReader) newlineFollows() bool {
	b, err := c.r.Peek(1)
	return err == nil && b[0] == '\n'
}

// take moves on by one byte within a record.
func (c *recordReader) take(b byte) {
	switch {
	case b == '\n': // in quotes
		c.line++
		c.keep(b)
	case c.state == inQuotes && b == '"':
		c.state = behindQuotes
	case c.state == inQuotes:
		c.keep(b)
	case b == ',':
		c.endCell()
		c.state = cellStart
	case c.state == cellStart && b == '"':
		c.state = inQuotes
	case c.state == behindQuotes && b == '"':
		c.state = inQuotes
		c.keep(b)
	case c.state == behindQuotes:
		c.fail(malformedRow("there is text behind the closing quote of cell %d", len(c.cells)+1))
		c.state = inCell
	case b == '"':
		c.fail(malformedRow("cell %d has a quote but does not begin with one", len(c.cells)+1))
	default:
		c.state = inCell
		c.keep(b)
	}
}

// keep adds a byte to the cell, unless the record is wrong anyway.
func (c *recordReader) keep(b byte) {
	if c.wrong == nil {
		c.cell = append(c.cell, b)
	}
}

func (c *recordReader) endCell() {
	if c.wrong == nil {
		c.cells = append(c.cells, string(c.cell))
	}
	c.cell = c.cell[:0]
}

// fail remembers what is wrong first.
func (c *recordReader) fail(err error) {
	if c.wrong == nil {
		c.wrong = err
	}
}
