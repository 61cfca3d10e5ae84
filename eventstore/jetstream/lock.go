//go:build unix

package jetstream

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked means that another process uses the folder of the store.
var ErrLocked = errors.New("the store folder is in use by another process")

// lockFolder takes the lock of a store folder, which the operating system
// releases when the file is closed or the process ends.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the store folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close() // nothing was written to it
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s (another process holds %s); stop it first or choose another folder", ErrLocked, dir, path)
	}
	return nil, fmt.Errorf("lock the store folder %s: %w", dir, err)
}
