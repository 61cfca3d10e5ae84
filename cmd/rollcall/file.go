package main

import (
	"errors"
	"io"
	"os"
)

// ownerOnly is the mode of files that hold events, proofs and secrets.
const ownerOnly = 0o600

// writeFile writes a file for its owner alone, which is on disk when it returns. One that is there is dealt with by the flag: os.O_TRUNC or
// os.O_EXCL.
func writeFile(path string, flag int, fill func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flag, ownerOnly)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Sync(), f.Close())
}
