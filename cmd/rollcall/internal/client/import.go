package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Import tells how rows are imported.
type Import struct {
	Mode        string // create or upsert
	ContentType string // application/x-ndjson or text/csv
}

// RowResult tells what became of one row of an import.
type RowResult struct {
	Line     int            `json:"line"`
	UserID   string         `json:"user_id"`
	Status   string         `json:"status"` // created, edited, unchanged or failed
	Position uint64         `json:"position"`
	Code     string         `json:"code"` // why it failed
	Detail   string         `json:"detail"`
	Errors   []FieldProblem `json:"errors"`

	Raw json.RawMessage `json:"-"` // the result as the service wrote it
}

// Problem returns why the row failed, nil when it did not.
func (r RowResult) Problem() *Problem { return itemProblem(r.Code, r.Detail, r.Errors) }

// importLine is a line of the answer: the result of a row or, at the end, the summary, which alone
// says done.
type importLine struct {
	RowResult
	Done *bool `json:"done"`
}

// ErrBrokenOff means that an import ended before every row had a result.
var ErrBrokenOff = errors.New("the import broke off; rows without a result are in doubt, which the same import in mode upsert settles")

// ImportAccounts sends rows, of any number, and calls visit with the result of each as it is
// decided. Errors: ErrBrokenOff when not all rows were told of, wrapping the *Problem where the service
// told why; the error of visit.
func (c *Client) ImportAccounts(ctx context.Context, app string, in Import, rows io.Reader, visit func(RowResult) error) error {
	header := commandID()
	header.Set("Content-Type", in.ContentType)
	resp, err := c.send(ctx, call{
		method: http.MethodPost, path: path(app, "accounts"), verb: ":import",
		query: url.Values{"mode": {in.Mode}}, header: header, stream: rows,
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var raw json.RawMessage
		if err := lines.Decode(&raw); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: %w", ErrBrokenOff, err)
		}
		var line importLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return fmt.Errorf("read a result of the import: %w", err)
		}
		if line.Done != nil {
			return line.end()
		}
		line.Raw = raw
		if err := visit(line.RowResult); err != nil {
			return err
		}
	}
}

// end returns why the import ended, nil when every row has a result.
func (l importLine) end() error {
	if *l.Done {
		return nil
	}
	if p := l.Problem(); p != nil {
		return fmt.Errorf("%w: %w", ErrBrokenOff, p)
	}
	return ErrBrokenOff
}
