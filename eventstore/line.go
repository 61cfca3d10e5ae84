package eventstore

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrLine means that a text is no line of an event.
var ErrLine = errors.New("this is no line of an event")

// AppendLine appends an event as a line of JSON without a break at its end: the CloudEvent as the log keeps it, byte for byte, with
// what the log gives in front, as the extensions position, recordedtime and previous. ParseLine undoes it.
func AppendLine(dst []byte, e Envelope) ([]byte, error) {
	stored := e.Stored
	if stored == nil {
		var err error
		if stored, err = Marshal(e); err != nil {
			return dst, err
		}
	}
	dst = fmt.Appendf(dst, `{"position":%d,"recordedtime":"%s","previous":%d,`, e.Position, e.Recorded.UTC().Format(time.RFC3339Nano), e.Previous)
	return append(dst, bytes.TrimPrefix(stored, []byte("{"))...), nil
}

// ParseLine reads what AppendLine wrote, as it was written: with other white space or another order of members it is ErrLine. The
// event is of bytes of its own.
func ParseLine(line []byte) (Envelope, error) {
	rest := line
	number := func(name string) (n uint64, ok bool) {
		if rest, ok = bytes.CutPrefix(rest, []byte(name)); !ok {
			return 0, false
		}
		digits, after, ok := bytes.Cut(rest, []byte(","))
		n, err := strconv.ParseUint(string(digits), 10, 64)
		rest = after
		return n, ok && err == nil && strconv.FormatUint(n, 10) == string(digits)
	}
	position, ok := number(`{"position":`)
	rest, timed := bytes.CutPrefix(rest, []byte(`"recordedtime":"`))
	at, after, closed := bytes.Cut(rest, []byte(`",`))
	rest = after
	recorded, err := time.Parse(time.RFC3339Nano, string(at))
	previous, guarded := number(`"previous":`)
	if !ok || !timed || !closed || !guarded || err != nil || position == 0 {
		return Envelope{}, fmt.Errorf("%w: it does not begin with position, recordedtime and previous", ErrLine)
	}
	stored := append([]byte("{"), rest...)
	e, err := Unmarshal(stored)
	if err != nil {
		return Envelope{}, fmt.Errorf("%w: at position %d: %w", ErrLine, position, err)
	}
	e.Position, e.Recorded, e.Previous, e.Stored = Position(position), recorded, Revision(previous), stored
	return e, nil
}
