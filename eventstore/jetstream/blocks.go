package jetstream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rollcall/eventstore"
)

// The head of a record in a block file of nats-server 2: the length of the record, whose highest bit tells that there are headers, and
// the sequence, whose highest two mark what was deleted.
const (
	recordHead    = 22
	recordLeast   = recordHead + 8 // with its checksum
	lengthMask    = 1<<31 - 1
	sequenceMarks = 3 << 62
)

const (
	// blocksChecked bounds how long a start looks at block files, each of which has up to 8 MiB: the latest are looked at.
	blocksChecked = 64
	// sequenceJump is more than any record is ahead of the one before it.
	sequenceJump = 1 << 16
)

// checkBlocks looks for records in the block files of a stopped store whose sequence jumps ahead. nats-server 2.15.2 takes what lies
// between for deleted and notes each position in memory: a single flipped bit would have it take all memory of the machine. All other damage is
// left to the server, and to what compares the log with what is known of it.
func checkBlocks(dir, stream string) error {
	folder := filepath.Join(dir, "jetstream", "$G", "streams", stream, "msgs")
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the blocks of the log: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		if text, ok := strings.CutSuffix(e.Name(), ".blk"); ok {
			if n, err := strconv.Atoi(text); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers[max(len(numbers)-blocksChecked, 0):] {
		if err := checkBlock(filepath.Join(folder, strconv.Itoa(n)+".blk")); err != nil {
			return err
		}
	}
	return nil
}

// checkBlock looks at the heads of the records of a block as far as they can be followed.
func checkBlock(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("look at the blocks of the log: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for last := uint64(0); ; {
		head, err := r.Peek(recordHead)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil // the end, or a record that was not finished
			}
			return fmt.Errorf("look at the blocks of the log: %w", err)
		}
		length := binary.LittleEndian.Uint32(head) & lengthMask
		sequence := binary.LittleEndian.Uint64(head[4:])
		if length < recordLeast {
			return nil // no record; the server finds it too
		}
		if sequence&sequenceMarks == 0 && sequence > last {
			if last > 0 && sequence-last > sequenceJump {
				return damaged(eventstore.Position(last+1), fmt.Errorf("block %s goes on with sequence %d; restore the log from a backup", path, sequence))
			}
			last = sequence
		}
		if n, err := r.Discard(int(length)); err != nil || n < int(length) {
			return nil
		}
	}
}
