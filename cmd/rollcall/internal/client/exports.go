package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"
)

// Export is an export job.
type Export struct {
	ID           string    `json:"id"`
	App          string    `json:"app"`
	Status       string    `json:"status"`
	Format       string    `json:"format"`
	Compression  string    `json:"compression,omitempty"`
	Progress     Progress  `json:"progress"`
	Position     uint64    `json:"position,omitempty"`
	Rows         int64     `json:"rows,omitempty"`
	Bytes        int64     `json:"bytes,omitempty"`
	SHA256       string    `json:"sha256,omitempty"`
	DownloadURL  string    `json:"download_url,omitempty"`
	ManifestURL  string    `json:"manifest_url,omitempty"`
	URLExpiresAt time.Time `json:"download_url_expires_at,omitzero"` // the URL's end; made anew for each answer
	RequestedAt  time.Time `json:"requested_at"`
	RequestedBy  string    `json:"requested_by"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"` // the file's end
	Rebuilds     int       `json:"rebuilds,omitempty"`  // how often the file was made again because an account was deleted
	Error        string    `json:"error,omitempty"`

	Raw json.RawMessage `json:"-"` // the job as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Export) UnmarshalJSON(b []byte) error {
	type plain Export
	return readKept(b, (*plain)(e), &e.Raw)
}

// MarshalJSON implements json.Marshaler.
func (e Export) MarshalJSON() ([]byte, error) {
	type plain Export
	return writeKept(plain(e), e.Raw)
}

// Progress counts the rows of an export. The total is zero until it is known, the others where the service does not tell.
type Progress struct {
	Done          int64   `json:"done"`
	Total         int64   `json:"total"`
	Bytes         int64   `json:"bytes,omitempty"`
	RowsPerSecond float64 `json:"rows_per_second,omitempty"`
	SecondsLeft   float64 `json:"seconds_left,omitempty"`
}

// Finished tells whether nothing more will happen to the job but that it expires.
func (e Export) Finished() bool {
	switch e.Status {
	case "completed", "failed", "cancelled", "expired":
		return true
	}
	return false
}

// ExportOrder tells what is exported: the accounts named, else those of the filter, else all.
type ExportOrder struct {
	Format      string        `json:"format"`
	Compression string        `json:"compression,omitempty"`
	UserIDs     []string      `json:"user_ids,omitempty"`
	Filter      *ExportFilter `json:"filter,omitempty"`
	Fields      []string      `json:"fields,omitempty"`
	AsOf        string        `json:"as_of,omitempty"` // a position or a time
}

// ExportFilter is the filter of a list.
type ExportFilter struct {
	Type string `json:"type,omitempty"`
	Text string `json:"q,omitempty"`
}

// CreateExport orders an export.
func (c *Client) CreateExport(ctx context.Context, app string, in ExportOrder) (Export, error) {
	var e Export
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(app, "exports"), body: in, header: commandID()}, &e)
	return e, err
}

// Export returns one job.
func (c *Client) Export(ctx context.Context, app, id string) (Export, error) {
	var e Export
	_, err := c.do(ctx, call{method: http.MethodGet, path: path(app, "exports", id)}, &e)
	return e, err
}

// Exports yields the jobs of an application, the newest first. An error ends them.
func (c *Client) Exports(ctx context.Context, app string) iter.Seq2[Export, error] {
	type page struct {
		Exports    []Export `json:"exports"`
		NextCursor string   `json:"next_cursor"`
	}
	in := call{method: http.MethodGet, path: path(app, "exports")}
	return listed(ctx, c, in, func(p page) ([]Export, string) { return p.Exports, p.NextCursor })
}

// CancelExport cancels a job and returns it.
func (c *Client) CancelExport(ctx context.Context, app, id string) (Export, error) {
	var e Export
	_, err := c.do(ctx, call{method: http.MethodDelete, path: path(app, "exports", id), header: commandID()}, &e)
	return e, err
}

// How often, and after which pause, an export is watched anew when the service has stopped telling.
const (
	watchTries = 10
	watchPause = time.Second
)

// WatchExport calls visit with the job as it is now and after each of its events, until
// it is finished or visit returns an error. It goes on when the service is away for a few seconds.
func (c *Client) WatchExport(ctx context.Context, app, id string, visit func(Export) error) (Export, error) {
	seen := false
	for tries := 1; ; tries++ {
		var mine error
		e, err := c.watchExport(ctx, app, id, func(e Export) error {
			seen, tries = true, 0
			mine = visit(e)
			return mine
		})
		var refused *Problem
		switch {
		case err == nil && e.Finished(), ctx.Err() != nil, mine != nil, !seen && err != nil, errors.As(err, &refused) && refused.Refused():
			return e, err
		case tries >= watchTries && err == nil:
			return e, fmt.Errorf("the service stopped telling about export %s, which is %s; watch it again", id, e.Status)
		case tries >= watchTries:
			return e, err
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
			return e, ctx.Err()
		}
	}
}

// watchExport watches a job for as long as the service tells of it.
func (c *Client) watchExport(ctx context.Context, app, id string, visit func(Export) error) (Export, error) {
	e, err := c.Export(ctx, app, id)
	if err != nil || e.Finished() {
		return e, err
	}
	if err := visit(e); err != nil {
		return e, err
	}
	resp, err := c.send(ctx, call{
		method: http.MethodGet, path: path(app, "exports", id, "events"),
		header: http.Header{"Accept": {"text/event-stream"}},
	})
	if err != nil {
		return e, err
	}
	defer resp.Body.Close()
	for range serverSentEvents(resp.Body) {
		// An event may be older than the job: the job itself is what counts.
		if e, err = c.Export(ctx, app, id); err != nil {
			return e, err
		}
		if err := visit(e); err != nil || e.Finished() {
			return e, err
		}
	}
	if ctx.Err() != nil {
		return e, ctx.Err()
	}
	return c.Export(ctx, app, id)
}

// serverSentEvents yields the data of each event of a stream until it ends
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
func serverSentEvents(r io.Reader) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		var data []string
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ":")
			switch {
			case lines.Text() != "":
				if name == "data" {
					data = append(data, strings.TrimPrefix(value, " "))
				}
			case len(data) > 0:
				if !yield(json.RawMessage(strings.Join(data, "\n"))) {
					return
				}
				data = nil
			}
		}
	}
}
