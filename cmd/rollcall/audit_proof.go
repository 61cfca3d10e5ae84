package main

import (
	"context"
	"encoding/json"
	"fmt"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore"
	"rollcall/eventstore/ledger"
)

// auditProofCmd prints a proof.
type auditProofCmd struct {
	Position uint64 `help:"Prove that the event at this position is in the log." placeholder:"N"`
	Size     uint64 `help:"In the tree of this size. Default: that of the latest checkpoint." placeholder:"N"`
	From     uint64 `help:"Prove that the log grew from its tree of this size to the one of --size." placeholder:"N"`
}

// Run prints the proof as JSON, once it has been checked.
func (c *auditProofCmd) Run(ctx context.Context, r *remote, s *streams) error {
	if (c.Position == 0) == (c.From == 0) {
		return usage("say what is to be proven: --position of an event, or --from a size of the log")
	}
	api, err := r.client()
	if err != nil {
		return err
	}
	prove := c.inclusion
	if c.From > 0 {
		prove = c.consistency
	}
	proof, err := prove(ctx, api)
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

// inclusion returns the proof of a position, checked.
func (c *auditProofCmd) inclusion(ctx context.Context, api *client.Client) (any, error) {
	told, err := api.Inclusion(ctx, c.Position, c.Size)
	if err != nil {
		return nil, err
	}
	hashes, err := hashesOf(append([][]byte{told.LeafHash, told.RootHash}, told.Path...))
	if err != nil {
		return nil, err
	}
	return told, ledger.Inclusion{
		Position: eventstore.Position(told.Position), Size: told.Size, Leaf: hashes[0], Root: hashes[1], Path: hashes[2:],
	}.Check()
}

// consistency returns the proof of the growth from a size, checked.
func (c *auditProofCmd) consistency(ctx context.Context, api *client.Client) (any, error) {
	told, err := api.Consistency(ctx, c.From, c.Size)
	if err != nil {
		return nil, err
	}
	hashes, err := hashesOf(append([][]byte{told.FromRoot, told.ToRoot}, told.Path...))
	if err != nil {
		return nil, err
	}
	return told, ledger.Consistency{From: told.From, To: told.To, FromRoot: hashes[0], ToRoot: hashes[1], Path: hashes[2:]}.Check()
}
