package main

import (
	"context"
	"encoding/json"
	"fmt"

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
	var proof any
	if c.Position > 0 {
		told, err := api.Inclusion(ctx, c.Position, c.Size)
		if err != nil {
			return err
		}
		if err := checkInclusion(told.Position, told.Size, told.LeafHash, told.RootHash, told.Path); err != nil {
			return err
		}
		proof = told
	} else {
		told, err := api.Consistency(ctx, c.From, c.Size)
		if err != nil {
			return err
		}
		ends, err := hashesOf([][]byte{told.FromRoot, told.ToRoot})
		if err != nil {
			return err
		}
		path, err := hashesOf(told.Path)
		if err == nil {
			err = ledger.Consistency{From: told.From, To: told.To, FromRoot: ends[0], ToRoot: ends[1], Path: path}.Check()
		}
		if err != nil {
			return err
		}
		proof = told
	}
	b, err := json.MarshalIndent(proof, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", b)
	return err
}

// checkInclusion checks a proof that the service told.
func checkInclusion(position, size uint64, leaf, root []byte, path [][]byte) error {
	ends, err := hashesOf([][]byte{leaf, root})
	if err != nil {
		return err
	}
	hashes, err := hashesOf(path)
	if err != nil {
		return err
	}
	return ledger.Inclusion{Position: eventstore.Position(position), Size: size, Leaf: ends[0], Root: ends[1], Path: hashes}.Check()
}
