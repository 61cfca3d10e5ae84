package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore"
	"rollcall/eventstore/ledger"
)

// auditProofCmd prints a proof.
type auditProofCmd struct {
	Position   uint64 `help:"Prove that the event at this position is in the log." placeholder:"N"`
	Size       uint64 `help:"In the tree of this size. Default: that of the checkpoint." placeholder:"N"`
	From       uint64 `help:"Prove that the log grew from its tree of this size to the one of --size." placeholder:"N"`
	Key        string `help:"The public key, or a file that holds it. Default: the one that the service tells, which proves nothing against the service itself." placeholder:"KEY"`
	Checkpoint string `help:"A file with the signed checkpoint that the proof is to lead to. Default: a fresh one of the service." placeholder:"FILE"`
}

// Run prints the proof as JSON, once it leads to what was signed.
func (c *auditProofCmd) Run(ctx context.Context, r *remote, s *streams) error {
	if (c.Position == 0) == (c.From == 0) {
		return usage("say what is to be proven: --position of an event, or --from a size of the log")
	}
	api, err := r.client()
	if err != nil {
		return err
	}
	signed, err := c.signed(ctx, api, s)
	if err != nil {
		return err
	}
	size := c.Size
	if size == 0 {
		size = signed.Size
	}
	var proof any
	if c.From > 0 {
		proof, err = consistency(ctx, api, signed, c.From, size)
	} else {
		proof, err = inclusion(ctx, api, signed, eventstore.Position(c.Position), size)
	}
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(proof, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", b)
	return err
}

// signed returns the checkpoint that the proof must lead to.
func (c *auditProofCmd) signed(ctx context.Context, api *client.Client, s *streams) (ledger.Checkpoint, error) {
	key, err := keyOrTold(ctx, api, s, c.Key)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	if c.Checkpoint != "" {
		return checkpointIn(c.Checkpoint, key)
	}
	_, checkpoint, err := freshCheckpoint(ctx, api, key)
	return checkpoint, err
}

// errOtherProof means that the service answered with a proof of something else.
var errOtherProof = errors.New("the service has proven something else than was asked")

// inclusion returns the proof that an event is in the tree of a size, which leads to what was signed.
func inclusion(ctx context.Context, api *client.Client, signed ledger.Checkpoint, position eventstore.Position, size uint64) (any, error) {
	told, err := api.Inclusion(ctx, uint64(position), size)
	if err != nil {
		return nil, err
	}
	hashes, err := hashesOf(append([][]byte{told.LeafHash, told.RootHash}, told.Path...))
	if err != nil {
		return nil, err
	}
	if told.Position != uint64(position) || told.Size != size {
		return nil, errOtherProof
	}
	err = ledger.Inclusion{Position: position, Size: size, Leaf: hashes[0], Root: hashes[1], Path: hashes[2:]}.Check()
	if err == nil {
		err = leadsTo(ctx, api, signed, size, hashes[1])
	}
	return told, err
}

// consistency returns the proof of the growth from a size to another, which leads to what was signed.
func consistency(ctx context.Context, api *client.Client, signed ledger.Checkpoint, from, to uint64) (any, error) {
	told, proof, err := growth(ctx, api, from, to)
	if err == nil {
		err = proof.Check()
	}
	if err == nil {
		err = leadsTo(ctx, api, signed, to, proof.ToRoot)
	}
	return told, err
}

// leadsTo returns nil when the tree of a size has a root by what was signed.
func leadsTo(ctx context.Context, api *client.Client, signed ledger.Checkpoint, size uint64, root ledger.Hash) error {
	proof := ledger.Consistency{From: size, To: signed.Size, FromRoot: root, ToRoot: signed.Root}
	switch {
	case size > signed.Size:
		return fmt.Errorf("size %d is ahead of the checkpoint, which is of size %d", size, signed.Size)
	case size < signed.Size:
		_, grown, err := growth(ctx, api, size, signed.Size)
		if err != nil {
			return err
		}
		proof.Path = grown.Path
	}
	if err := proof.Check(); err != nil {
		return fmt.Errorf("%w: the proof does not lead to the checkpoint of size %d: %w", eventstore.ErrDamaged, signed.Size, err)
	}
	return nil
}

// growth returns what the service tells of the growth from a size to another, not checked.
func growth(ctx context.Context, api *client.Client, from, to uint64) (told client.ConsistencyProof, proof ledger.Consistency, err error) {
	if told, err = api.Consistency(ctx, from, to); err != nil {
		return told, proof, err
	}
	if told.From != from || told.To != to {
		return told, proof, errOtherProof
	}
	hashes, err := hashesOf(append([][]byte{told.FromRoot, told.ToRoot}, told.Path...))
	if err != nil {
		return told, proof, err
	}
	return told, ledger.Consistency{From: from, To: to, FromRoot: hashes[0], ToRoot: hashes[1], Path: hashes[2:]}, nil
}
