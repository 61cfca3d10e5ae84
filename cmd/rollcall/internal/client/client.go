// Package client speaks to a Rollcall service by HTTP.
//
// It owns the calls, their JSON and the errors they come back with. It must never print,
// read the environment or know a flag.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client makes calls with the rights of one token. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// New returns a client of the service at an address such as http://127.0.0.1:8080.
// Without a token it can do only what needs none.
func New(server, token string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("%q is no address: %w", server, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no address; write it like http://127.0.0.1:8080", server)
	}
	u.RawQuery, u.Fragment = "", ""
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// A service that does not answer is told apart from one that has much to say: only the wait for
	// the head of an answer is bounded.
	transport.ResponseHeaderTimeout = time.Minute
	return &Client{base: u, token: token, http: &http.Client{Transport: transport}}, nil
}

// Close gives connections back. The client can be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is one request of the API.
type call struct {
	method string
	path   []string // below /v1; each element is escaped
	verb   string   // such as :delete, behind the path
	query  url.Values
	header http.Header
	body   any // sent as JSON, unless nil
	stream io.Reader
}

// path returns the elements of a path below an application.
func path(app string, more ...string) []string { return append([]string{"apps", app}, more...) }

// address returns the URL of the call.
func (c *Client) address(in call) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(c.base.String(), "/"))
	b.WriteString("/v1")
	for _, p := range in.path {
		b.WriteString("/" + segment(p))
	}
	b.WriteString(in.verb)
	if len(in.query) > 0 {
		b.WriteString("?" + in.query.Encode())
	}
	return b.String()
}

// segment escapes an element of a path, also . and .. which would mean another path.
func segment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// send returns the answer to a call that succeeded. The caller closes its body.
func (c *Client) send(ctx context.Context, in call) (*http.Response, error) {
	body := in.stream
	if in.body != nil {
		b, err := json.Marshal(in.body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, in.method, c.address(in), body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	for name, values := range in.header {
		req.Header[name] = values
	}
	if in.body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, readProblem(resp)
	}
	return resp, nil
}

// unreachable tells that a service did not answer, and what to do.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("the service at %s does not answer: %w; start it with rollcall serve, or name another with --server", c.base.Redacted(), err)
}

// do makes a call and reads the JSON of its answer into result, unless nil.
func (c *Client) do(ctx context.Context, in call, result any) (http.Header, error) {
	resp, err := c.send(ctx, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if result == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.NewDecoder(resp.Body).Decode(result)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", in.method, resp.Request.URL.Path, err)
	}
	return resp.Header, nil
}
