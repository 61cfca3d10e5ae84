package export

import (
	"fmt"
	"strconv"
	"time"

	"rollcall/domain"
)

// Encoder turns accounts into the bytes of a file by appending them to a buffer, which
// the caller writes and empties as it likes. It is used by one goroutine.
type Encoder interface {
	// Begin appends what stands before the first account.
	Begin(dst []byte) []byte
	// Append appends one account.
	Append(dst []byte, a *domain.Account) []byte
	// End appends what stands behind the last account.
	End(dst []byte) []byte
}

// NewEncoder returns the encoder of a format for fields in the order given.
func NewEncoder(format Format, fields []domain.Field) (Encoder, error) {
	switch format {
	case CSV:
		return newCSVEncoder(fields), nil
	case NDJSON:
		return newNDJSONEncoder(fields), nil
	}
	return nil, &domain.Rejection{Code: domain.CodeInvalid, Detail: fmt.Sprintf("files cannot be written as %q", format)}
}

// appendNumber and appendTime write values the same way in every format of text.
func appendNumber(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }

func appendTime(dst []byte, t time.Time) []byte { return t.UTC().AppendFormat(dst, time.RFC3339Nano) }
