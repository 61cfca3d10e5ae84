package export

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/gzip"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"rollcall/domain"
)

const (
	// maxGroupRows and maxGroupBytes, of text, bound a row group, which is gathered in memory until it is
	// written. Readers work on one group a thread.
	maxGroupRows  = 122_880
	maxGroupBytes = 6 << 20

	batchRows = 128 // how many rows are handed over at once
)

// parquetEncoder writes Apache Parquet, group by group.
type parquetEncoder struct {
	fields []domain.Field
	w      *parquet.GenericWriter[any]
	batch  []parquet.Row
	used   int    // rows of the batch
	text   []byte // what the values of the batch point into
	rows   int    // of the group, those of the batch left out
	bytes  int    // of their text
}

func newParquetEncoder(w io.Writer, compression Compression, fields []domain.Field) (*parquetEncoder, error) {
	codec, err := parquetCodec(compression)
	if err != nil {
		return nil, err
	}
	e := &parquetEncoder{fields: fields, batch: make([]parquet.Row, batchRows)}
	for i := range e.batch {
		e.batch[i] = make(parquet.Row, len(fields))
	}
	e.w = parquet.NewGenericWriter[any](w, parquetSchema(fields), parquet.Compression(codec), parquet.CreatedBy("rollcall", "1", ""))
	return e, nil
}

func parquetCodec(c Compression) (compress.Codec, error) {
	switch c {
	case Gzip:
		return &gzip.Codec{Level: gzip.DefaultCompression}, nil
	case Zstd:
		enc, err := newZstd(nil)
		return &zstdCodec{enc: enc}, err
	}
	return &parquet.Uncompressed, nil
}

// zstdCodec compresses all pages by one encoder. Those that parquet-go makes hold 16 MiB each.
type zstdCodec struct {
	zstd.Codec
	enc interface{ EncodeAll(src, dst []byte) []byte }
}

// Encode compresses a page.
func (c *zstdCodec) Encode(dst, src []byte) ([]byte, error) {
	return c.enc.EncodeAll(src, dst[:0]), nil
}

// columns is a group whose fields have an order of their own.
type columns struct {
	parquet.Group
	order []string
}

// Fields returns the fields in their order.
func (c columns) Fields() []parquet.Field {
	byName := make(map[string]parquet.Field, len(c.order))
	for _, f := range c.Group.Fields() {
		byName[f.Name()] = f
	}
	fields := make([]parquet.Field, len(c.order))
	for i, name := range c.order {
		fields[i] = byName[name]
	}
	return fields
}

func parquetSchema(fields []domain.Field) *parquet.Schema {
	c := columns{Group: make(parquet.Group, len(fields)), order: make([]string, len(fields))}
	for i, f := range fields {
		c.order[i] = f.String()
		c.Group[f.String()] = parquetNode(f)
	}
	return parquet.NewSchema("account", c)
}

// parquetNode returns the type of a column. One that an account may lack is optional.
func parquetNode(f domain.Field) parquet.Node {
	var n parquet.Node
	switch {
	case f.Kind() == domain.KindTime:
		n = parquet.Timestamp(parquet.Nanosecond)
	case f == domain.FieldRevision:
		n = parquet.Uint(64)
	case f.Kind() == domain.KindNumber:
		n = parquet.Uint(32)
	case isRepetitive(f):
		n = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	default:
		n = parquet.String()
	}
	if isAlwaysSet(f) {
		return n
	}
	return parquet.Optional(n)
}

// isRepetitive tells whether a text is one of a few.
func isRepetitive(f domain.Field) bool {
	switch f {
	case domain.FieldApp, domain.FieldType, domain.FieldGender, domain.FieldAllowType, domain.FieldAdminForbidType:
		return true
	}
	return false
}

// isAlwaysSet tells whether every account has a value of the field.
func isAlwaysSet(f domain.Field) bool {
	switch f {
	case domain.FieldApp, domain.FieldUserID, domain.FieldType, domain.FieldCreatedAt, domain.FieldUpdatedAt, domain.FieldRevision:
		return true
	}
	return false
}

func (e *parquetEncoder) Append(a *domain.Account) error {
	row := e.batch[e.used]
	for i, f := range e.fields {
		v, err := e.value(f, a.Value(f))
		if err != nil {
			return &domain.Rejection{Code: domain.CodeInvalid, Detail: fmt.Sprintf("account %s cannot be written as parquet: %v", a.UserID, err)}
		}
		level := 1
		if isAlwaysSet(f) || v.IsNull() {
			level = 0
		}
		row[i] = v.Level(0, level, i)
	}
	if e.used++; e.used < len(e.batch) {
		return nil
	}
	return e.flush()
}

// value returns the value of a field, whose text stays in e.text until the batch is flushed.
func (e *parquetEncoder) value(f domain.Field, v domain.Value) (parquet.Value, error) {
	switch {
	case !v.Set && isAlwaysSet(f):
		return parquet.Value{}, fmt.Errorf("it has no %s", f)
	case !v.Set:
		return parquet.NullValue(), nil
	case f == domain.FieldRevision:
		return parquet.Int64Value(int64(v.Number)), nil // the bits of an unsigned one
	case f.Kind() == domain.KindNumber:
		return parquet.Int32Value(int32(uint32(v.Number))), nil
	case f.Kind() == domain.KindTime:
		ns, err := nanoseconds(v.Time)
		if err != nil {
			return parquet.Value{}, fmt.Errorf("%s: %w", f, err)
		}
		return parquet.Int64Value(ns), nil
	}
	start := len(e.text)
	if utf8.ValidString(v.Text) {
		e.text = append(e.text, v.Text...)
	} else {
		e.text = append(e.text, strings.ToValidUTF8(v.Text, "\ufffd")...)
	}
	return parquet.ByteArrayValue(e.text[start:]), nil
}

// nanoseconds returns a time since 1970, from 1678 to 2261.
func nanoseconds(t time.Time) (int64, error) {
	if t.Before(time.Unix(0, math.MinInt64)) || t.After(time.Unix(0, math.MaxInt64)) {
		return 0, fmt.Errorf("the year %d does not fit into nanoseconds since 1970", t.Year())
	}
	return t.UnixNano(), nil
}

// flush hands the batch over, and writes the group if it is large enough.
func (e *parquetEncoder) flush() error {
	if _, err := e.w.WriteRows(e.batch[:e.used]); err != nil {
		return err
	}
	e.rows, e.bytes = e.rows+e.used, e.bytes+len(e.text)
	e.used, e.text = 0, e.text[:0]
	if e.rows < maxGroupRows && e.bytes < maxGroupBytes {
		return nil
	}
	e.rows, e.bytes = 0, 0
	return e.w.Flush()
}

func (e *parquetEncoder) End() error {
	if err := e.flush(); err != nil {
		return err
	}
	return e.w.Close()
}
