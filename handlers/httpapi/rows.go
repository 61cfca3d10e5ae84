package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"rollcall/domain"
	"rollcall/handlers/command"
	"rollcall/handlers/wire"
)

// maxRowBytes bounds one row of an import.
const maxRowBytes = 64 << 10

// rowReader reads the rows of an import, one after the other. A row that
// cannot be understood is returned with its error, and reading goes on behind it.
// The error is io.EOF at the end, or that of the body.
type rowReader interface {
	next() (command.Row, error)
}

// malformedRow is the error of a row that cannot be read as one.
func malformedRow(format string, args ...any) error {
	return wire.Refuse(wire.CodeMalformedRow, format, args...)
}

// skipBOM skips a byte order mark, which some programs put before UTF-8.
func skipBOM(r *bufio.Reader) {
	if b, err := r.Peek(3); err == nil && string(b) == "\xef\xbb\xbf" {
		_, _ = r.Discard(len(b)) // they have just been there
	}
}

// ndjsonReader reads a JSON object a line. Empty lines are skipped.
type ndjsonReader struct {
	r    *bufio.Reader
	line int
}

func newNDJSONReader(body io.Reader) *ndjsonReader {
	return &ndjsonReader{r: bufio.NewReaderSize(body, maxRowBytes+len("\r\n"))}
}

func (n *ndjsonReader) next() (command.Row, error) {
	if n.line == 0 {
		skipBOM(n.r)
	}
	for {
		line, err := n.r.ReadSlice('\n')
		if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull)) {
			return command.Row{}, err
		}
		n.line++
		if errors.Is(err, bufio.ErrBufferFull) || len(bytes.TrimRight(line, "\r\n")) > maxRowBytes {
			return n.tooLong(err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return rowOf(n.line, line), nil
		}
	}
}

// tooLong skips the rest of a line.
func (n *ndjsonReader) tooLong(err error) (command.Row, error) {
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = n.r.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return command.Row{}, err
	}
	return command.Row{Line: n.line, Err: errRowTooLong()}, nil
}

func errRowTooLong() error {
	return malformedRow("the row is longer than %d bytes", maxRowBytes)
}

// rowOf reads an account from a line of JSON.
func rowOf(line int, text []byte) command.Row {
	body, err := wire.DecodeAccount(text)
	var r *domain.Rejection
	if errors.As(err, &r) && r.Code == wire.CodeMalformedBody {
		err = malformedRow("%s", r.Detail)
	}
	return rowWith(line, body, err)
}

func rowWith(line int, a wire.AccountBody, err error) command.Row {
	return command.Row{Line: line, Err: err, UserID: a.UserID, Type: a.Type, Patch: a.Patch}
}

// columns reads the first line of a table, which names the fields.
func columns(names []string) ([]domain.Field, error) {
	var bad wire.Checks
	var seen domain.Fields
	fields := make([]domain.Field, len(names))
	for i, name := range names {
		f, ok := domain.FieldNamed(name)
		switch {
		case !ok:
			bad.Add(name, domain.CodeUnknownField, "column %d: an account has no such field", i+1)
		case seen.Has(f):
			bad.Add(name, wire.CodeDuplicate, "names two columns")
		}
		seen = seen.With(f)
		fields[i] = f
	}
	if len(bad) == 0 && !seen.Has(domain.FieldUserID) {
		bad.Add("user_id", domain.CodeRequired, "the first line must name a column user_id")
	}
	return fields, bad.Err("the first line of the table")
}

// cellError names the column that a cell is wrong in.
func cellError(bad *wire.Checks, f domain.Field, err error) {
	if err != nil {
		bad.Add(f.String(), domain.CodeBadValue, "%s", err)
	}
}

// countError is the error of a row that does not have a cell for each column.
func countError(cells, columns int) error {
	return malformedRow("%s", fmt.Sprintf("the row has %d cells, the first line names %d columns", cells, columns))
}
