package service

import (
	"context"
	"errors"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/ledger"
	"rollcall/handlers/audit"
	"rollcall/handlers/httpapi"
	"rollcall/handlers/wire"
)

// proofs is the ledger as the HTTP API asks it.
type proofs struct{ ledger *ledger.Ledger }

// Key implements httpapi.Ledger.
func (p proofs) Key() string { return p.ledger.Public() }

// Checkpoint implements httpapi.Ledger.
func (p proofs) Checkpoint(ctx context.Context, fresh bool) ([]byte, uint64, error) {
	get := p.ledger.Latest
	if fresh {
		get = p.ledger.Fresh
	}
	signed, c, err := get(ctx)
	return signed, c.Size, unprovable(err)
}

// Inclusion implements httpapi.Ledger.
func (p proofs) Inclusion(ctx context.Context, position, size uint64) (httpapi.InclusionProof, error) {
	proof, err := p.ledger.Include(ctx, eventstore.Position(position), size)
	return httpapi.InclusionProof{
		Position: position, Size: size, LeafHash: proof.Leaf[:], RootHash: proof.Root[:], Path: hashes(proof.Path),
	}, unprovable(err)
}

// Consistency implements httpapi.Ledger.
func (p proofs) Consistency(ctx context.Context, from, to uint64) (httpapi.ConsistencyProof, error) {
	proof, err := p.ledger.Grow(ctx, from, to)
	return httpapi.ConsistencyProof{
		From: from, To: to, FromRoot: proof.FromRoot[:], ToRoot: proof.ToRoot[:], Path: hashes(proof.Path),
	}, unprovable(err)
}

// Tile implements httpapi.Ledger.
func (p proofs) Tile(ctx context.Context, path string) ([]byte, error) {
	level, n, width, err := ledger.ParseTilePath(path)
	if err != nil {
		return nil, nil
	}
	b, err := p.ledger.TileData(ctx, level, n, width)
	if errors.Is(err, ledger.ErrSize) {
		return nil, nil
	}
	return b, err
}

func hashes(path []ledger.Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}

// unprovable returns the error of the ledger as the API tells it.
func unprovable(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, ledger.ErrSize):
		return &domain.Rejection{Code: audit.CodeFuture, Detail: err.Error()}
	case errors.Is(err, ledger.ErrCheckpoint):
		return wire.Refuse(wire.CodeUnavailable, "%s", err)
	}
	return err
}
