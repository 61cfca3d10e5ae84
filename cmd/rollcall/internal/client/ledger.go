package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// InclusionProof proves that an event is in the ledger.
type InclusionProof struct {
	Position uint64   `json:"position"`
	Size     uint64   `json:"size"`
	LeafHash []byte   `json:"leaf_hash"`
	RootHash []byte   `json:"root_hash"`
	Path     [][]byte `json:"path"`
}

// ConsistencyProof proves that a ledger grew from an earlier one.
type ConsistencyProof struct {
	From     uint64   `json:"from"`
	To       uint64   `json:"to"`
	FromRoot []byte   `json:"from_root"`
	ToRoot   []byte   `json:"to_root"`
	Path     [][]byte `json:"path"`
}

// LedgerKey returns the public key that checkpoints are verified by.
func (c *Client) LedgerKey(ctx context.Context) (string, error) {
	var answer struct {
		Key string `json:"key"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"ledger", "key"}}, &answer)
	return answer.Key, err
}

// Checkpoint returns a signed checkpoint of the log, the latest or, fresh, one that covers all that is in the log now.
func (c *Client) Checkpoint(ctx context.Context, fresh bool) ([]byte, error) {
	const most = 16 << 10
	return c.bytes(ctx, call{method: http.MethodGet, path: []string{"ledger", "checkpoint"}, query: url.Values{"fresh": {strconv.FormatBool(fresh)}}}, most)
}

// Tile returns a tile of the ledger by its path, such as tile/0/x001/234.
func (c *Client) Tile(ctx context.Context, path string) ([]byte, error) {
	const most = 8 << 10
	return c.bytes(ctx, call{method: http.MethodGet, path: append([]string{"ledger"}, strings.Split(path, "/")...)}, most)
}

// Inclusion returns the proof that an event is in the ledger of a size, that of the latest checkpoint when zero.
func (c *Client) Inclusion(ctx context.Context, position, size uint64) (InclusionProof, error) {
	query := url.Values{"position": {strconv.FormatUint(position, 10)}}
	if size > 0 {
		query.Set("size", strconv.FormatUint(size, 10))
	}
	var p InclusionProof
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"ledger", "inclusion"}, query: query}, &p)
	return p, err
}

// Consistency returns the proof that the ledger of a size, that of the latest checkpoint when zero, grew from that of another.
func (c *Client) Consistency(ctx context.Context, from, to uint64) (ConsistencyProof, error) {
	query := url.Values{"from": {strconv.FormatUint(from, 10)}}
	if to > 0 {
		query.Set("to", strconv.FormatUint(to, 10))
	}
	var p ConsistencyProof
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"ledger", "consistency"}, query: query}, &p)
	return p, err
}

// bytes returns the body of an answer, which has at most so many bytes.
func (c *Client) bytes(ctx context.Context, in call, most int64) ([]byte, error) {
	resp, err := c.send(ctx, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(b)) > most {
		err = errors.New("it is longer than it can be")
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", in.method, resp.Request.URL.Path, err)
	}
	return b, nil
}
