package httpapi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Bounds of a spool in bytes.
const (
	spoolMemory = 1 << 20
	spoolFile   = 4 << 30
	spoolChunk  = 64 << 10
)

// errSpoolFull means that a client takes far too little of its answer.
var errSpoolFull = errors.New("the answer is not read by the client")

// spool is a queue of bytes between who writes an answer and a client that
// may not read it yet: many clients send all of a body before they read any answer, and
// would wait for a server that waits for them. What memory does not hold goes to a
// temporary file. Write and run may be called at the same time.
type spool struct {
	mu     sync.Mutex
	news   sync.Cond
	memory []byte   // what comes first
	file   *os.File // what comes after it; nil until needed
	begin  int64    // of what the file holds
	end    int64
	closed bool
	err    error
}

func newSpool() *spool {
	s := &spool{}
	s.news.L = &s.mu
	return s
}

// Write adds bytes. It does not wait for the client. Error: that of the
// client, errSpoolFull, or of the temporary file.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if s.begin == s.end && len(s.memory)+len(p) <= spoolMemory {
		s.memory = append(s.memory, p...)
	} else if err := s.writeFile(p); err != nil {
		s.err = err
		return 0, err
	}
	s.news.Signal()
	return len(p), nil
}

func (s *spool) writeFile(p []byte) error {
	if s.end+int64(len(p)) > spoolFile {
		return errSpoolFull
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "rollcall-import-*")
		if err != nil {
			return fmt.Errorf("keep an answer for a client: %w", err)
		}
		s.file = f
		_ = os.Remove(f.Name()) // where that is possible, so that a crash leaves nothing
	}
	if _, err := s.file.WriteAt(p, s.end); err != nil {
		return fmt.Errorf("keep an answer for a client: %w", err)
	}
	s.end += int64(len(p))
	return nil
}

// take waits for bytes and returns them, using buf; none when the spool is closed and
// empty.
func (s *spool) take(buf []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.memory) == 0 && s.begin == s.end && !s.closed && s.err == nil {
		s.news.Wait()
	}
	switch {
	case s.err != nil:
		return nil, s.err
	case len(s.memory) > 0:
		taken := s.memory
		s.memory = buf[:0]
		return taken, nil
	case s.begin < s.end:
		return s.takeFile()
	}
	return nil, nil // closed and empty
}

func (s *spool) takeFile() ([]byte, error) {
	chunk := make([]byte, min(spoolChunk, s.end-s.begin))
	if _, err := s.file.ReadAt(chunk, s.begin); err != nil {
		return nil, fmt.Errorf("read back an answer for a client: %w", err)
	}
	s.begin += int64(len(chunk))
	if s.begin == s.end {
		s.begin, s.end = 0, 0
		if err := s.file.Truncate(0); err != nil {
			return nil, fmt.Errorf("read back an answer for a client: %w", err)
		}
	}
	return chunk, nil
}

// run sends what is written to the client until the spool is closed and empty.
// An error of send is the error of every Write after it.
func (s *spool) run(send func([]byte) error) error {
	var buf []byte
	for {
		b, err := s.take(buf)
		if err == nil && b == nil {
			return nil
		}
		if err == nil {
			err = send(b)
		}
		if err != nil {
			s.fail(err)
			return err
		}
		buf = b
	}
}

func (s *spool) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// close tells that nothing more is written.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.news.Signal()
}

func (s *spool) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// remove frees what the spool holds, after run has returned.
func (s *spool) remove() error {
	if s.file == nil {
		return nil
	}
	err := os.Remove(s.file.Name())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(s.file.Close(), err)
}

var _ io.Writer = (*spool)(nil)
