package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/wire"
)

// Ledger proves what the log holds by the Merkle tree over it. Errors are *domain.Rejection where the caller is to blame. What it tells of
// the events of other applications is their number and their hashes.
type Ledger interface {
	// Key returns the public key that checkpoints are verified by.
	Key() string
	// Checkpoint returns the latest checkpoint, signed, and the size of its tree; with fresh one that covers all that is in the log now,
	// for which it waits until ctx ends.
	Checkpoint(ctx context.Context, fresh bool) (signed []byte, size uint64, err error)
	// Inclusion proves that the event at a position is in the tree of a size.
	Inclusion(ctx context.Context, position, size uint64) (InclusionProof, error)
	// Consistency proves that the tree of a size begins with the one of another.
	Consistency(ctx context.Context, from, to uint64) (ConsistencyProof, error)
	// Tile returns a tile by its path, such as tile/0/x001/234. Nil when there is none.
	Tile(ctx context.Context, path string) ([]byte, error)
}

// LedgerKey is the key of the ledger.
type LedgerKey struct {
	Key string `json:"key" doc:"The public key, name+hash+key as golang.org/x/mod/sumdb/note has it. Keep it where the service cannot change it"`
}

// InclusionProof proves that an event is in the tree. Hashes are in base64.
type InclusionProof struct {
	Position uint64   `json:"position"`
	Size     uint64   `json:"size" doc:"Of the tree, which is the position of its last event"`
	LeafHash []byte   `json:"leaf_hash" doc:"SHA-256 of a zero byte and the record of the event"`
	RootHash []byte   `json:"root_hash" doc:"As a checkpoint of this size has it"`
	Path     [][]byte `json:"path" nullable:"false" doc:"The audit path of RFC 6962, for the leaf of index position - 1"`
}

// ConsistencyProof proves that a tree grew from another.
type ConsistencyProof struct {
	From     uint64   `json:"from" doc:"Size of the older tree"`
	To       uint64   `json:"to" doc:"Size of the newer tree"`
	FromRoot []byte   `json:"from_root"`
	ToRoot   []byte   `json:"to_root"`
	Path     [][]byte `json:"path" nullable:"false" doc:"The consistency proof of RFC 6962"`
}

// freshTimeout bounds how long a fresh checkpoint is waited for.
const freshTimeout = 10 * time.Second

func (h *Handler) registerLedger() {
	if h.Ledger == nil {
		return
	}
	who, tags := rule{action: access.Audit, scope: inOwnApp}, []string{"Ledger"}
	get := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/v1/ledger/" + path, Tags: tags, Summary: summary, Description: description}
	}
	register(h, who, get("ledger-key", "key", "Show the key that checkpoints are verified by", ""), nil,
		func(context.Context, *UnusedReadParams) (*struct{ Body LedgerKey }, error) {
			return &struct{ Body LedgerKey }{LedgerKey{Key: h.Ledger.Key()}}, nil
		})
	checkpoint := get("ledger-checkpoint", "checkpoint", "Get a signed checkpoint of the log",
		"A signed note in the form of C2SP tlog-checkpoint: what the Merkle tree over the whole log is at a size. The same is told on accounts.checkpoint. "+
			"Below /v1/ledger/tile/ are the hashes of the tree, in the paths and the form of C2SP tlog-tiles.")
	checkpoint.Responses = map[string]*huma.Response{"200": {
		Description: "The checkpoint", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	register(h, who, checkpoint, nil, h.checkpoint)
	register(h, who, get("ledger-inclusion", "inclusion", "Prove that an event is in the log", ""), nil, h.inclusion)
	register(h, who, get("ledger-consistency", "consistency", "Prove that a log grew from an earlier one without a change", ""), nil, h.consistency)
	h.mux.Handle("GET "+tilePrefix, h.guard(who, http.HandlerFunc(h.tile)))
}

type checkpointOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (h *Handler) checkpoint(ctx context.Context, in *struct {
	UnusedReadParams
	Fresh bool `query:"fresh" doc:"One that covers all that is in the log now, which may take a few seconds"`
}) (*checkpointOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	signed, _, err := h.Ledger.Checkpoint(ctx, in.Fresh)
	if in.Fresh && errors.Is(err, context.DeadlineExceeded) {
		return nil, wire.Refuse(wire.CodeUnavailable, "the ledger has not reached the end of the log; its place is told at /v1/projections")
	}
	if err != nil {
		return nil, err
	}
	return &checkpointOutput{ContentType: "text/plain; charset=utf-8", Body: signed}, nil
}

// sizeOf returns a size that was asked for, or that of the latest checkpoint when it is zero.
func (h *Handler) sizeOf(ctx context.Context, size uint64) (uint64, error) {
	if size > 0 {
		return size, nil
	}
	_, size, err := h.Ledger.Checkpoint(ctx, false)
	return size, err
}

func (h *Handler) inclusion(ctx context.Context, in *struct {
	UnusedReadParams
	Position uint64 `query:"position" required:"true" minimum:"1" maximum:"4611686018427387904" doc:"Of the event"`
	Size     uint64 `query:"size" minimum:"1" maximum:"4611686018427387904" doc:"Of the tree; that of the latest checkpoint when left out"`
}) (*struct{ Body InclusionProof }, error) {
	size, err := h.sizeOf(ctx, in.Size)
	if err != nil {
		return nil, err
	}
	if in.Position > size {
		return nil, wire.Invalid("the query", "position", domain.CodeBadValue, "the tree of size %d ends before it", size)
	}
	p, err := h.Ledger.Inclusion(ctx, in.Position, size)
	return &struct{ Body InclusionProof }{p}, err
}

func (h *Handler) consistency(ctx context.Context, in *struct {
	UnusedReadParams
	From uint64 `query:"from" required:"true" maximum:"4611686018427387904" doc:"Size of the older tree"`
	To   uint64 `query:"to" minimum:"1" maximum:"4611686018427387904" doc:"Size of the newer tree; that of the latest checkpoint when left out"`
}) (*struct{ Body ConsistencyProof }, error) {
	to, err := h.sizeOf(ctx, in.To)
	if err != nil {
		return nil, err
	}
	if in.From > to {
		return nil, wire.Invalid("the query", "from", domain.CodeBadValue, "must be at most %d", to)
	}
	p, err := h.Ledger.Consistency(ctx, in.From, to)
	return &struct{ Body ConsistencyProof }{p}, err
}

// tilePrefix begins the paths of tiles, which are those of C2SP tlog-tiles and have slashes in them.
const tilePrefix = "/v1/ledger/tile/"

// tile serves a tile. One that is whole never changes.
func (h *Handler) tile(w http.ResponseWriter, r *http.Request) {
	path := "tile/" + strings.TrimPrefix(r.URL.Path, tilePrefix)
	b, err := h.Ledger.Tile(r.Context(), path)
	switch {
	case err != nil:
		h.writeProblem(w, h.problemOf(r.Context(), err))
		return
	case b == nil:
		h.writeProblem(w, h.problem(wire.CodeNotFound, "the ledger has no such tile"))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if !strings.Contains(path, ".p/") {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	_, _ = w.Write(b) // a client that is gone is not told
}
