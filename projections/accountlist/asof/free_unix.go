//go:build linux || darwin

package asof

import (
	"fmt"
	"syscall"
)

// free returns how many bytes the file system of a folder has left for this process.
func free(folder string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil {
		return 0, fmt.Errorf("ask how much room is left on the disk: %w", err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}
