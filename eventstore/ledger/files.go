package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"rollcall/eventstore/disk"
)

// Files keeps a tree in a folder: a file a level with its hashes one behind the other, and a file that tells the size. One process
// at a time uses it.
type Files struct {
	root *os.Root

	mu    sync.Mutex
	size  uint64
	files map[int]*os.File // by level
}

var _ Storage = (*Files)(nil)

const (
	sizeFile   = "size"
	filesMode  = 0o600
	folderMode = 0o700
)

// OpenFiles returns the tree in a folder, which is created when absent. ErrBroken when it cannot be read.
func OpenFiles(dir string) (*Files, error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	f := &Files{root: root, files: make(map[int]*os.File)}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Files) open() error {
	b, err := f.root.ReadFile(sizeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	f.size, err = strconv.ParseUint(strings.TrimSuffix(string(b), "\n"), 10, 63)
	if err != nil {
		return fmt.Errorf("%w: its size in %s is %.40q", ErrBroken, f.root.Name(), b)
	}
	return nil
}

// Close closes the files.
func (f *Files) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all error
	for _, file := range f.files {
		all = errors.Join(all, file.Close())
	}
	clear(f.files)
	return errors.Join(all, f.root.Close())
}

// Size returns how many leaves are on disk.
func (f *Files) Size(context.Context) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size, nil
}

// Append writes the hashes, and the size once those are on disk.
func (f *Files) Append(_ context.Context, from, to uint64, spans []Span) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.size != from {
		return fmt.Errorf("%w: its size is %d, not %d", ErrFenced, f.size, from)
	}
	for _, s := range spans {
		if len(s.Hashes) == 0 {
			continue
		}
		file, err := f.level(s.Level)
		if err == nil {
			_, err = file.WriteAt(bytesOf(s.Hashes), int64(s.Start)*tlog.HashSize)
		}
		if err == nil {
			err = file.Sync()
		}
		if err != nil {
			return fmt.Errorf("write the ledger: %w", err)
		}
	}
	if err := f.writeSize(to); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	f.size = to
	return nil
}

// writeSize replaces the file of the size, so that either the old or the new one is there after a crash.
func (f *Files) writeSize(size uint64) error {
	const part = sizeFile + ".new"
	file, err := f.root.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, filesMode)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, size)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := f.root.Rename(part, sizeFile); err != nil {
		return err
	}
	return disk.SyncFolder(f.root.Name())
}

// level returns the file of a level.
func (f *Files) level(level int) (*os.File, error) {
	if file := f.files[level]; file != nil {
		return file, nil
	}
	file, err := f.root.OpenFile("level-"+strconv.Itoa(level), os.O_CREATE|os.O_RDWR, filesMode)
	if err != nil {
		return nil, err
	}
	f.files[level] = file
	return file, nil
}

// Tile reads hashes of a tile.
func (f *Files) Tile(_ context.Context, level int, n uint64, width int) ([]Hash, error) {
	f.mu.Lock()
	file, err := f.level(level)
	f.mu.Unlock()
	b := make([]byte, width*tlog.HashSize)
	if err == nil {
		_, err = file.ReadAt(b, int64(n)*tileWidth*tlog.HashSize)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: tile %d of level %d in %s: %w", ErrBroken, n, level, f.root.Name(), err)
	}
	return hashesOf(b), nil
}
