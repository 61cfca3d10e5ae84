// Package keyfile keeps keys in files for their owner alone.
//
// It must never lose a key, leave a part of one, or give one out that others may have read.
package keyfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"rollcall/eventstore/disk"
)

// maxSize is more than any file of a key is long.
const maxSize = 16 << 10

// Read returns what a file holds. What is not a file, or one that anyone but its owner may access, is the error unusable, wrapped. A file that
// is not there is fs.ErrNotExist.
func Read(path string, unusable error) (string, error) {
	// What is not a file might block when opened.
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%w: %s is not a file", unusable, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// The file that was opened counts, not the one that had the name before.
	if info, err = f.Stat(); err != nil {
		return "", err
	}
	// Windows has no such bits.
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("%w: others may access %s (mode %04o): run chmod 600 on it, and replace the key if it may have been read", unusable, path, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSize))
	return string(text), err
}

// Create creates a file that only its owner may access, with its whole content at once: it never holds a part, not even after a crash. When it
// returns, the file is on disk. A file that is there already is left alone, with an error that is fs.ErrExist: of several callers one creates it.
func Create(path, content string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	dir := filepath.Dir(path)
	// CreateTemp opens with O_EXCL and mode 0600.
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces a file.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return disk.SyncFolder(dir)
}

// Old returns the name by which Replace keeps what was in a file.
func Old(path string) string { return path + ".old" }

// Replace puts another key into the place of the one in a file, which is kept as Old. When it returns, both are on disk; after a crash the one or
// the other is in its place, and whenever it is the new one the old one is kept. While there is an Old, of another replacement, it is fs.ErrExist.
func Replace(path, content string) error {
	draft, old, dir := path+".new", Old(path), filepath.Dir(path)
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an attempt before
		return err
	}
	if err := Create(draft, content); err != nil {
		return err
	}
	// The old key has both names until the new one takes the first.
	if err := os.Link(path, old); err != nil && !(errors.Is(err, fs.ErrExist) && same(path, old)) {
		return errors.Join(err, os.Remove(draft))
	}
	if err := disk.SyncFolder(dir); err != nil { // or the rename could be there after a crash, and the link not
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return err
	}
	return disk.SyncFolder(dir)
}

// same tells whether two names are of one file.
func same(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
