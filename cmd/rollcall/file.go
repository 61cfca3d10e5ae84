package main

import (
	"errors"
	"io"
	"os"
)

// ownerOnly is the mode of files that hold events, proofs and secrets.
const ownerOnly = 0o600

// writeFile writes a file for its owner alone, in the place of one that is there. It is on disk when it returns.
func writeFile(path string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, ownerOnly)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Sync(), f.Close())
}
