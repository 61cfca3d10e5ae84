package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// HistoryEntry is one event in the history of an account.
type HistoryEntry struct {
	Position   uint64    `json:"position"`
	Type       string    `json:"type"`
	Time       time.Time `json:"time"`
	RecordedAt time.Time `json:"recorded_at"`
	Actor      string    `json:"actor"`
	CommandID  string    `json:"command_id"`
	// CausationID is of the command or event that led to the command, empty when there is none.
	CausationID string          `json:"causation_id,omitempty"`
	Erased      bool            `json:"erased,omitempty"`
	Changes     []HistoryChange `json:"changes"`

	Raw json.RawMessage `json:"-"` // the entry as the service wrote it
}

// HistoryChange is what an event did to one field. A value that is absent was or is none, or is erased.
type HistoryChange struct {
	Field  string `json:"field"`
	Before any    `json:"before,omitempty"`
	After  any    `json:"after,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *HistoryEntry) UnmarshalJSON(b []byte) error {
	type plain HistoryEntry
	return readKept(b, (*plain)(e), &e.Raw)
}

// MarshalJSON implements json.Marshaler.
func (e HistoryEntry) MarshalJSON() ([]byte, error) {
	type plain HistoryEntry
	return writeKept(plain(e), e.Raw)
}

// History yields the events of an account, the oldest first unless newest is set. An error ends them.
func (c *Client) History(ctx context.Context, app, userID string, newest bool) iter.Seq2[HistoryEntry, error] {
	query := url.Values{"limit": {"1000"}}
	if newest {
		query.Set("order", "desc")
	}
	type page struct {
		Events     []HistoryEntry `json:"events"`
		NextCursor string         `json:"next_cursor"`
	}
	in := call{method: http.MethodGet, path: path(app, "accounts", userID, "history"), query: query}
	return listed(ctx, c, in, func(p page) ([]HistoryEntry, string) { return p.Events, p.NextCursor })
}

// AccountAsOf returns an account as it was at a time or a position.
func (c *Client) AccountAsOf(ctx context.Context, app, userID, asOf string) (Account, error) {
	var a Account
	_, err := c.do(ctx, call{method: http.MethodGet, path: path(app, "accounts", userID), query: url.Values{"as_of": {asOf}}}, &a)
	return a, err
}

// EventQuery tells which events of an application are read. From and Until are a time or a position, empty for the beginning and
// the present end.
type EventQuery struct {
	From, Until  string
	UserID, Type string
	Follow       bool
}

// LoggedEvent is an event as the service wrote it, one line of JSON.
type LoggedEvent struct {
	Position uint64
	Line     []byte // without the line break
}

// maxEventLine is more than any event has.
const maxEventLine = 4 << 20

// maxBreaks is how often in a row a stream may break off without an event.
const maxBreaks = 5

// Events yields the events of an application, or of all when app is empty. A stream that breaks off is taken up where it was. An error ends them.
func (c *Client) Events(ctx context.Context, app string, q EventQuery) iter.Seq2[LoggedEvent, error] {
	return func(yield func(LoggedEvent, error) bool) {
		for breaks := 0; ; {
			last, err := c.events(ctx, app, q, yield)
			var refused *Problem
			switch {
			case err == nil:
				return
			case last > 0:
				q.From, breaks = strconv.FormatUint(last+1, 10), 0
			default:
				breaks++
			}
			if ctx.Err() != nil || errors.As(err, &refused) && refused.Refused() || breaks > maxBreaks {
				yield(LoggedEvent{}, err)
				return
			}
			select {
			case <-time.After(time.Duration(breaks) * time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// events yields events until the stream ends, which is no error, or breaks off. It returns the position of the last one.
func (c *Client) events(ctx context.Context, app string, q EventQuery, yield func(LoggedEvent, error) bool) (last uint64, err error) {
	query := url.Values{}
	for name, v := range map[string]string{"from": q.From, "until": q.Until, "user_id": q.UserID, "type": q.Type} {
		if v != "" {
			query.Set(name, v)
		}
	}
	if q.Follow {
		query.Set("follow", "true")
	}
	where := path(app, "events")
	if app == "" {
		where = []string{"events"}
	}
	resp, err := c.send(ctx, call{method: http.MethodGet, path: where, query: query})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) && len(line) == 0 && !q.Follow {
			return last, nil
		}
		if err != nil {
			return last, fmt.Errorf("the service stopped sending events: %w", err)
		}
		var e struct {
			Position uint64 `json:"position"`
		}
		if err := json.Unmarshal(line, &e); err != nil || e.Position == 0 {
			return last, fmt.Errorf("read an event: %.200q is none", line)
		}
		if !yield(LoggedEvent{e.Position, line}, nil) {
			return last, nil
		}
		last = e.Position
	}
}

// readLine returns a line of its own without its break.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxEventLine:
			return nil, fmt.Errorf("a line is longer than %d bytes", maxEventLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return line, err
		}
		return bytes.TrimSuffix(line, []byte("\n")), nil
	}
}
