package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Outcome is what became of a command that was sent as a message.
type Outcome struct {
	CommandID string         `json:"command_id"`
	App       string         `json:"app"`
	Verb      string         `json:"verb"`
	UserID    string         `json:"user_id,omitempty"`
	Status    string         `json:"status"` // accepted, rejected or dead
	Time      time.Time      `json:"time"`
	Actor     string         `json:"actor,omitempty"`
	Position  uint64         `json:"position,omitempty"`
	Revision  uint64         `json:"revision,omitempty"`
	Changed   bool           `json:"changed,omitempty"`
	ExportID  string         `json:"export_id,omitempty"`
	Results   []DeleteResult `json:"results,omitempty"` // of a batch
	Code      string         `json:"code,omitempty"`    // why it was not accepted
	Detail    string         `json:"detail,omitempty"`
	Errors    []FieldProblem `json:"errors,omitempty"`

	Raw json.RawMessage `json:"-"` // the outcome as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Outcome) UnmarshalJSON(b []byte) error {
	type plain Outcome
	return readKept(b, (*plain)(o), &o.Raw)
}

// MarshalJSON implements json.Marshaler.
func (o Outcome) MarshalJSON() ([]byte, error) {
	type plain Outcome
	return writeKept(plain(o), o.Raw)
}

// Outcome returns what became of a command.
func (c *Client) Outcome(ctx context.Context, app, commandID string) (Outcome, error) {
	var o Outcome
	_, err := c.do(ctx, call{method: http.MethodGet, path: path(app, "commands", commandID)}, &o)
	return o, err
}

// DeadCommand is a message that could not be understood as a command.
type DeadCommand struct {
	ID         string    `json:"id"`
	App        string    `json:"app,omitempty"` // empty when it names none
	Verb       string    `json:"verb,omitempty"`
	CommandID  string    `json:"command_id,omitempty"`
	Sender     string    `json:"sender,omitempty"` // id of the token that it was sent with
	Code       string    `json:"code"`
	Reason     string    `json:"reason"`
	Time       time.Time `json:"time"`
	Body       string    `json:"body,omitempty"`
	BodyBase64 []byte    `json:"body_base64,omitempty"` // instead, where it is not UTF-8

	Raw json.RawMessage `json:"-"` // the dead command as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *DeadCommand) UnmarshalJSON(b []byte) error {
	type plain DeadCommand
	return readKept(b, (*plain)(d), &d.Raw)
}

// MarshalJSON implements json.Marshaler.
func (d DeadCommand) MarshalJSON() ([]byte, error) {
	type plain DeadCommand
	return writeKept(plain(d), d.Raw)
}

// deadPage is how many dead commands are asked for at once. Their bodies come with them.
const deadPage = 50

// DeadCommands yields pages of dead commands, the oldest first: at most limit in all unless that is zero, and those of one
// application unless app is empty. An error ends them.
func (c *Client) DeadCommands(ctx context.Context, app string, limit int) iter.Seq2[[]DeadCommand, error] {
	return func(yield func([]DeadCommand, error) bool) {
		query := url.Values{}
		if app != "" {
			query.Set("app", app)
		}
		for left := limit; ; {
			size := deadPage
			if limit > 0 {
				size = min(left, deadPage)
			}
			query.Set("limit", strconv.Itoa(size))
			var page struct {
				Commands   []DeadCommand `json:"commands"`
				NextCursor string        `json:"next_cursor"`
			}
			_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"commands", "dead"}, query: query}, &page)
			left -= len(page.Commands)
			if !yield(page.Commands, err) || err != nil || page.NextCursor == "" || limit > 0 && left <= 0 {
				return
			}
			query.Set("cursor", page.NextCursor)
		}
	}
}

// RetryDeadCommand has a dead command decided again, as it was sent.
func (c *Client) RetryDeadCommand(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: []string{"commands", "dead", id, "retry"}}, nil)
	return err
}

// DropDeadCommand removes a dead command for good and rejects it.
func (c *Client) DropDeadCommand(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"commands", "dead", id}}, nil)
	return err
}
