package export

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Format is how a file is written.
type Format string

// The formats.
const (
	CSV     Format = "csv"
	NDJSON  Format = "ndjson"
	XLSX    Format = "xlsx"
	Parquet Format = "parquet"
)

// Formats returns all formats.
func Formats() []Format { return []Format{CSV, NDJSON, XLSX, Parquet} }

// Compression is how a file is compressed: csv and ndjson as a whole, parquet within, page by page.
type Compression string

// The compressions.
const (
	NoCompression Compression = "none"
	Gzip          Compression = "gzip"
	Zstd          Compression = "zstd"
)

// Compressions returns all compressions.
func Compressions() []Compression { return []Compression{NoCompression, Gzip, Zstd} }

// allows tells whether files of the format can be compressed so. An xlsx file is a zip archive
// already, which spreadsheets open only as it is.
func (f Format) allows(c Compression) bool {
	return slices.Contains(Formats(), f) && slices.Contains(Compressions(), c) && (f != XLSX || c == NoCompression)
}

// Extension returns what the name of a file ends with.
func Extension(f Format, c Compression) string {
	suffix := ""
	if f != Parquet {
		switch c {
		case Gzip:
			suffix = ".gz"
		case Zstd:
			suffix = ".zst"
		}
	}
	return "." + string(f) + suffix
}

// oneOf lists values for people.
func oneOf[T ~string](values []T) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return "one of " + strings.Join(names, ", ")
}

// newCompressor returns a writer whose Close ends the compression but leaves w open. It works in the
// caller's goroutine, so that the same writes give the same bytes.
func newCompressor(w io.Writer, c Compression) (io.WriteCloser, error) {
	switch c {
	case NoCompression:
		return unpacked{w}, nil
	case Gzip:
		return gzip.NewWriter(w), nil // its header names no file and no time
	case Zstd:
		return newZstd(w)
	}
	return nil, fmt.Errorf("there is no compression %q", c)
}

// newZstd returns a compressor that works in the caller's goroutine and whose reader keeps a mebibyte in memory.
func newZstd(w io.Writer) (*zstd.Encoder, error) {
	const window = 1 << 20
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
}

// unpacked writes as it is.
type unpacked struct{ io.Writer }

func (unpacked) Close() error { return nil }
