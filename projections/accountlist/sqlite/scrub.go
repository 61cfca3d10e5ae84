package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// With secure_delete SQLite overwrites what is deleted from a page. But when it
// rebuilds a page while balancing a tree, cells that have moved to a sibling stay
// behind in the unused middle of the page, between the cell pointers and
// the cells. Once their row is deleted nothing overwrites them. A scrubber does.
//
// It writes to the file beside SQLite, which is sound under these conditions:
// the write-ahead log is empty and no one writes, so that the file is the
// database; only bytes are changed that the file format calls unallocated
// (https://www.sqlite.org/fileformat2.html, section 1.6); and the writing connection has
// dropped its cache, so that it does not write old copies back.
type scrubber struct {
	// file stays open as long as a connection does: closing any handle of a file would drop
	// the locks that SQLite has on it in this process.
	file *os.File
	buf  []byte
}

// scrubBytes is how much of the file is read at a time: a multiple of every page size.
const scrubBytes = 1 << 20

// maxScrubPages bounds the pages of a file that can be scrubbed. The first byte tells a
// page of a tree from one that begins with the number of another page only below it.
const maxScrubPages = 1 << 25

func openScrubber(path string) (*scrubber, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &scrubber{file: file}, nil
}

func (s *scrubber) close() error { return s.file.Close() }

// scrub overwrites the unallocated space of every page.
func (s *scrubber) scrub() error {
	size, pageSize, err := s.shape()
	if err != nil {
		return err
	}
	if size/int64(pageSize) >= maxScrubPages {
		return fmt.Errorf("the file has more than %d pages", maxScrubPages)
	}
	if s.buf == nil {
		s.buf = make([]byte, scrubBytes)
	}
	wrote := false
	for at := int64(0); at < size; at += scrubBytes {
		pages := s.buf[:min(scrubBytes, size-at)]
		if _, err := s.file.ReadAt(pages, at); err != nil {
			return err
		}
		for off := 0; off+pageSize <= len(pages); off += pageSize {
			n, err := s.scrubPage(pages[off:off+pageSize], at+int64(off))
			if err != nil {
				return err
			}
			wrote = wrote || n > 0
		}
	}
	if !wrote {
		return nil
	}
	return s.file.Sync()
}

// shape returns the size of the file and of its pages.
func (s *scrubber) shape() (size int64, pageSize int, err error) {
	var header [18]byte
	if _, err := s.file.ReadAt(header[:], 0); err != nil {
		return 0, 0, err
	}
	info, err := s.file.Stat()
	if err != nil {
		return 0, 0, err
	}
	pageSize = int(binary.BigEndian.Uint16(header[16:]))
	if pageSize == 1 {
		pageSize = 1 << 16
	}
	if pageSize < 512 || pageSize&(pageSize-1) != 0 {
		return 0, 0, fmt.Errorf("the file says that its pages have %d bytes", pageSize)
	}
	return info.Size(), pageSize, nil
}

// scrubPage overwrites the unallocated space of the page that is at an offset of
// the file, if there is anything in it, and returns how many bytes were written.
func (s *scrubber) scrubPage(page []byte, at int64) (int, error) {
	from, to := gap(page, at == 0)
	rest := page[from:to]
	if len(bytes.Trim(rest, "\x00")) == 0 {
		return 0, nil
	}
	clear(rest)
	n, err := s.file.WriteAt(rest, at+int64(from))
	if err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	return n, nil
}

// gap returns where the unallocated space of a page begins and ends. A page that is
// not of a tree has none.
func gap(page []byte, first bool) (from, to int) {
	const fileHeader = 100
	header := page
	if first {
		header, from = page[fileHeader:], fileHeader
	}
	switch header[0] {
	case 2, 5: // interior
		from += 12
	case 10, 13: // leaf
		from += 8
	default:
		return 0, 0
	}
	from += 2 * int(binary.BigEndian.Uint16(header[3:]))
	to = int(binary.BigEndian.Uint16(header[5:]))
	if to == 0 {
		to = 1 << 16
	}
	if from > to || to > len(page) {
		return 0, 0 // damaged, which is not for the scrubber to judge
	}
	return from, to
}
