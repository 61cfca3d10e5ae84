package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// walPages returns the numbers of the pages that a write-ahead log has copies of, current or
// not (https://www.sqlite.org/fileformat2.html, section 4.1). SQLite has no locks on this
// file that closing it could drop.
func walPages(path string) (pages []uint32, err error) {
	const fileHeader, frameHeader = 32, 24
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	var header [fileHeader]byte
	if _, err := file.ReadAt(header[:], 0); errors.Is(err, io.EOF) {
		return nil, nil // it is empty
	} else if err != nil {
		return nil, err
	}
	pageSize := int64(binary.BigEndian.Uint32(header[8:]))
	if pageSize < 512 || pageSize > 1<<16 {
		return nil, fmt.Errorf("the write-ahead log says that its pages have %d bytes", pageSize)
	}
	for at := int64(fileHeader); ; at += frameHeader + pageSize {
		var frame [frameHeader]byte
		if _, err := file.ReadAt(frame[:], at); errors.Is(err, io.EOF) {
			slices.Sort(pages)
			return slices.Compact(pages), nil
		} else if err != nil {
			return nil, err
		}
		pages = append(pages, binary.BigEndian.Uint32(frame[:]))
	}
}
