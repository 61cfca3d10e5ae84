package eventstore

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// decode reads the bytes that Marshal writes, several times as fast as
// encoding/json; reading the log is bounded by it. It reports false for anything that deviates
// from them, in the order of members, white space or escapes, which is left to
// encoding/json to judge. The data of c is a part of b.
func decode(b []byte, c *cloudEvent) bool {
	member := []byte(`,"data":`)
	// No member before the data can hold this text: quotes within a string are escaped,
	// and escapes are refused below.
	i := bytes.Index(b, member)
	if i < 0 || b[len(b)-1] != '}' {
		return false
	}
	s := scanner{rest: string(b[:i])}
	c.SpecVersion = s.text(`{"specversion":`)
	c.ID = s.text(`,"id":`)
	c.Source = s.text(`,"source":`)
	c.Type = s.text(`,"type":`)
	c.Subject = s.text(`,"subject":`)
	at := s.text(`,"time":`)
	c.DataContentType = s.text(`,"datacontenttype":`)
	c.App = s.text(`,"app":`)
	c.Actor = s.text(`,"actor":`)
	c.CommandID = s.text(`,"commandid":`)
	c.CausationID = s.optional(`,"causationid":`)
	c.CorrelationID = s.optional(`,"correlationid":`)
	c.TraceParent = s.optional(`,"traceparent":`)
	c.Fields = s.optional(`,"fields":`)
	c.KeyID = s.optional(`,"keyid":`)
	if s.failed || s.rest != "" {
		return false
	}
	c.Data = bytes.Trim(b[i+len(member):len(b)-1], " \t\r\n")
	if !json.Valid(c.Data) {
		return false
	}
	var err error
	c.Time, err = time.Parse(time.RFC3339Nano, at)
	return err == nil
}

// scanner takes members of a JSON object off the front of a text.
type scanner struct {
	rest   string
	failed bool
}

// optional is text for a member that may be absent.
func (s *scanner) optional(name string) string {
	if !strings.HasPrefix(s.rest, name) {
		return ""
	}
	return s.text(name)
}

// text takes the member of that name, comma and colon included, whose value must be
// a plain string.
func (s *scanner) text(name string) string {
	rest, ok := strings.CutPrefix(s.rest, name)
	rest, quoted := strings.CutPrefix(rest, `"`)
	v, rest, closed := strings.Cut(rest, `"`)
	if !ok || !quoted || !closed || !plain(v) {
		s.failed = true
	}
	s.rest = rest
	return v
}

// plain tells whether a JSON string stands for itself: no escapes, no control
// characters, valid UTF-8.
func plain(v string) bool {
	ascii := true
	for i := range len(v) {
		if v[i] == '\\' || v[i] < ' ' {
			return false
		}
		ascii = ascii && v[i] < utf8.RuneSelf
	}
	return ascii || utf8.ValidString(v)
}
