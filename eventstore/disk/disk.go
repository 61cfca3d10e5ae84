// Package disk has what the standard library lacks to be sure that something is on disk.
//
// It must know nothing of what is written.
package disk

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// SyncFolder returns once the names in a folder are on disk: those of files that were created, linked, renamed or removed there. On Windows, where a
// folder cannot be synced, it does nothing.
func SyncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
