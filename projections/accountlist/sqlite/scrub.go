package sqlite

import (
	"bytes"
	"context"
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
//
// Two rules follow for the rest of the process. Nothing else may open and close the
// file: closing any handle of a file drops the locks that SQLite has on it in
// this process. And SQLite must look at the file by reading it, page by page, as it does by
// default: mmap_size and a VFS that keeps checksums of pages stay off.
type scrubber struct {
	file *os.File // stays open as long as a connection does, see above
	turn int64    // how much of the file is scrubbed at a time
	buf  []byte
}

const (
	// scrubTurn takes about 20 ms.
	scrubTurn = 16 << 20
	// scrubBytes is how much of the file is read at a time: a multiple of every page size.
	scrubBytes = 1 << 20
)

// maxScrubPages bounds the pages of a file that can be scrubbed. The first byte tells a
// page of a tree from one that begins with the number of another page only below it.
const maxScrubPages = 1 << 25

func openScrubber(path string) (*scrubber, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &scrubber{file: file, turn: scrubTurn}, nil
}

func (s *scrubber) close() error { return s.file.Close() }

// scrub overwrites the unallocated space of the pages from an offset on, as many as
// make a turn, and of those given by number that come before them. It returns where the
// next turn begins, zero at the end of the file.
func (s *scrubber) scrub(ctx context.Context, from int64, pages []uint32) (next int64, err error) {
	size, pageSize, err := s.shape()
	if err != nil {
		return 0, err
	}
	if size/pageSize >= maxScrubPages {
		return 0, fmt.Errorf("the file has more than %d pages", maxScrubPages)
	}
	wrote := false
	for _, page := range pages {
		if at := (int64(page) - 1) * pageSize; at >= 0 && at < from {
			if err := s.scrubPart(ctx, at, pageSize, pageSize, &wrote); err != nil {
				return 0, err
			}
		}
	}
	end := min(from+s.turn, size)
	for at := from; at < end; at += scrubBytes {
		if err := s.scrubPart(ctx, at, min(scrubBytes, end-at), pageSize, &wrote); err != nil {
			return 0, err
		}
	}
	if wrote {
		err = s.file.Sync()
	}
	if end == size {
		end = 0
	}
	return end, err
}

// scrubPart scrubs the pages that n bytes hold.
func (s *scrubber) scrubPart(ctx context.Context, at, n, pageSize int64, wrote *bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.buf == nil {
		s.buf = make([]byte, scrubBytes)
	}
	part := s.buf[:n]
	if _, err := s.file.ReadAt(part, at); err != nil {
		return err
	}
	for off := int64(0); off+pageSize <= n; off += pageSize {
		n, err := s.scrubPage(part[off:off+pageSize], at+off)
		if err != nil {
			return err
		}
		*wrote = *wrote || n > 0
	}
	return nil
}

// shape returns the size of the file and of its pages.
func (s *scrubber) shape() (size, pageSize int64, err error) {
	var header [18]byte
	if _, err := s.file.ReadAt(header[:], 0); err != nil {
		return 0, 0, err
	}
	info, err := s.file.Stat()
	if err != nil {
		return 0, 0, err
	}
	pageSize = int64(binary.BigEndian.Uint16(header[16:]))
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
