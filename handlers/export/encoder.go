package export

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"rollcall/domain"
)

// Encoder turns accounts into the bytes of a file, which it writes in large pieces. The same
// accounts give the same bytes. Its memory does not grow with their number. It is
// used by one goroutine, and of no use after an error.
type Encoder interface {
	// Append adds one account, which may be written later. It does not keep a.
	Append(a *domain.Account) error
	// End writes what is left. It does not close the writer.
	End() error
}

// NewEncoder returns the encoder of a format and a compression for fields in the order given.
func NewEncoder(w io.Writer, format Format, compression Compression, fields []domain.Field) (Encoder, error) {
	if !format.allows(compression) {
		return nil, &domain.Rejection{Code: domain.CodeInvalid, Detail: fmt.Sprintf("files cannot be written as %q with the compression %q", format, compression)}
	}
	switch format {
	case XLSX:
		return newXLSXEncoder(w, fields)
	case Parquet:
		return newParquetEncoder(w, compression, fields)
	case CSV:
		return newTextEncoder(w, compression, newCSVEncoder(fields))
	default:
		return newTextEncoder(w, compression, newNDJSONEncoder(fields))
	}
}

// flushBytes is how much an encoder gathers before it writes.
const flushBytes = 128 << 10

// lineEncoder is a format of text. It appends to a buffer.
type lineEncoder interface {
	appendHeader(dst []byte) []byte
	appendAccount(dst []byte, a *domain.Account) []byte
}

// textEncoder writes a format of text, compressed or not.
type textEncoder struct {
	lines lineEncoder
	buf   []byte
	out   io.WriteCloser
}

func newTextEncoder(w io.Writer, compression Compression, lines lineEncoder) (*textEncoder, error) {
	out, err := newCompressor(w, compression)
	if err != nil {
		return nil, err
	}
	return &textEncoder{lines: lines, out: out, buf: lines.appendHeader(make([]byte, 0, flushBytes+flushBytes/4))}, nil
}

func (e *textEncoder) Append(a *domain.Account) error {
	if e.buf = e.lines.appendAccount(e.buf, a); len(e.buf) < flushBytes {
		return nil
	}
	return e.flush()
}

func (e *textEncoder) flush() error {
	_, err := e.out.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

func (e *textEncoder) End() error {
	if err := e.flush(); err != nil {
		return err
	}
	return e.out.Close()
}

// appendNumber and appendTime write values the same way in every format of text.
func appendNumber(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }

func appendTime(dst []byte, t time.Time) []byte { return t.UTC().AppendFormat(dst, time.RFC3339Nano) }
