package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
)

// Account is an account. A nil or empty field is unset.
type Account struct {
	App             string    `json:"app"`
	UserID          string    `json:"user_id"`
	Type            string    `json:"type"`
	Nickname        string    `json:"nickname,omitempty"`
	FaceURL         string    `json:"face_url,omitempty"`
	Gender          string    `json:"gender,omitempty"`
	Birthday        uint32    `json:"birthday,omitempty"`
	Location        string    `json:"location,omitempty"`
	SelfSignature   string    `json:"self_signature,omitempty"`
	AllowType       string    `json:"allow_type,omitempty"`
	Language        *uint32   `json:"language,omitempty"`
	MsgSettings     *uint32   `json:"msg_settings,omitempty"`
	AdminForbidType string    `json:"admin_forbid_type,omitempty"`
	Level           *uint32   `json:"level,omitempty"`
	Role            *uint32   `json:"role,omitempty"`
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
	Revision        uint64    `json:"revision"`

	Raw json.RawMessage `json:"-"` // the account as the service wrote it
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Account) UnmarshalJSON(b []byte) error {
	type plain Account
	return readKept(b, (*plain)(a), &a.Raw)
}

// MarshalJSON implements json.Marshaler.
func (a Account) MarshalJSON() ([]byte, error) {
	type plain Account
	return writeKept(plain(a), a.Raw)
}

// Page is one page of a list.
type Page struct {
	Accounts        []Account `json:"accounts"`
	NextCursor      string    `json:"next_cursor"`
	Total           int       `json:"total"`
	TotalIsEstimate bool      `json:"total_is_estimate"`
	Position        uint64    `json:"position"`
}

// Listing tells which page of a list is wanted. A zero field leaves it to the service.
type Listing struct {
	Type, Text, Sort, Order, Cursor string
	Limit                           int
	AsOf                            string // a time or a position, empty for now
	// Waits is told by Pages why the service is not ready to show a list as of then, each time before it is asked again. Pages ends with
	// the error when nil.
	Waits func(*Problem)
}

func (l Listing) query() url.Values {
	q := url.Values{}
	for name, v := range map[string]string{"type": l.Type, "q": l.Text, "sort": l.Sort, "order": l.Order, "cursor": l.Cursor, "as_of": l.AsOf} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if l.Limit != 0 {
		q.Set("limit", strconv.Itoa(l.Limit))
	}
	return q
}

// commandID returns the header that makes a command safe to repeat.
func commandID() http.Header {
	return http.Header{"Idempotency-Key": {ulid.Make().String()}}
}

// CreateAccount creates an account from its fields.
func (c *Client) CreateAccount(ctx context.Context, app string, fields map[string]any) (Account, error) {
	var a Account
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(app, "accounts"), body: fields, header: commandID()}, &a)
	return a, err
}

// EditAccount changes the given fields of an account; nil unsets one. Unless ifRevision is zero,
// the account must still be at that revision.
func (c *Client) EditAccount(ctx context.Context, app, userID string, patch map[string]any, ifRevision uint64) (Account, error) {
	header := commandID()
	header.Set("Content-Type", "application/merge-patch+json")
	if ifRevision != 0 {
		header.Set("If-Match", `"`+strconv.FormatUint(ifRevision, 10)+`"`)
	}
	var a Account
	_, err := c.do(ctx, call{method: http.MethodPatch, path: path(app, "accounts", userID), body: patch, header: header}, &a)
	return a, err
}

// Account returns one account.
func (c *Client) Account(ctx context.Context, app, userID string) (Account, error) {
	var a Account
	_, err := c.do(ctx, call{method: http.MethodGet, path: path(app, "accounts", userID)}, &a)
	return a, err
}

// DeleteAccount deletes one account.
func (c *Client) DeleteAccount(ctx context.Context, app, userID string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: path(app, "accounts", userID), header: commandID()}, nil)
	return err
}

// MaxDelete is how many accounts one call of DeleteAccounts takes.
const MaxDelete = 100

// DeleteResult tells what became of one account of a batch.
type DeleteResult struct {
	UserID   string `json:"user_id"`
	Status   string `json:"status"` // deleted or failed
	Position uint64 `json:"position,omitempty"`
	Code     string `json:"code,omitempty"` // why it failed
	Detail   string `json:"detail,omitempty"`
}

// Problem returns why the account was not deleted, nil when it was.
func (d DeleteResult) Problem() *Problem { return itemProblem(d.Code, d.Detail, nil) }

// DeleteAccounts deletes at most MaxDelete accounts. One that fails does not stop the others.
func (c *Client) DeleteAccounts(ctx context.Context, app string, ids []string) ([]DeleteResult, error) {
	var out struct {
		Results []DeleteResult `json:"results"`
	}
	body := map[string]any{"user_ids": ids}
	_, err := c.do(ctx, call{method: http.MethodPost, path: path(app, "accounts"), verb: ":delete", body: body, header: commandID()}, &out)
	return out.Results, err
}

// Accounts returns one page.
func (c *Client) Accounts(ctx context.Context, app string, l Listing) (Page, error) {
	var p Page
	_, err := c.do(ctx, call{method: http.MethodGet, path: path(app, "accounts"), query: l.query()}, &p)
	return p, err
}

// Pages yields the page asked for and all behind it. An error ends them.
func (c *Client) Pages(ctx context.Context, app string, l Listing) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		for {
			p, err := c.awaited(ctx, app, l)
			if !yield(p, err) || err != nil || p.NextCursor == "" {
				return
			}
			l.Cursor = p.NextCursor
		}
	}
}

// awaited returns a page, once it is there.
func (c *Client) awaited(ctx context.Context, app string, l Listing) (Page, error) {
	const askAgain = 500 * time.Millisecond // the service has waited as well
	for {
		p, err := c.Accounts(ctx, app, l)
		problem, ok := errors.AsType[*Problem](err)
		if !ok || problem.Code != "not_caught_up" || l.AsOf == "" || l.Waits == nil {
			return p, err
		}
		l.Waits(problem)
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return p, ctx.Err()
		}
	}
}
