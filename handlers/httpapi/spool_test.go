package httpapi

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"testing"
)

// numbered returns n bytes that tell their place.
func numbered(n, from int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((from + i) % 251)
	}
	return b
}

func TestASpoolHoldsMoreThanMemoryAndKeepsTheOrder(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s := newSpool()
	const total, piece = 5 * spoolMemory, 10_007
	var got bytes.Buffer
	read := make(chan struct{}) // the client reads from now on
	var client sync.WaitGroup
	client.Go(func() {
		<-read
		if err := s.run(func(b []byte) error { got.Write(b); return nil }); err != nil {
			t.Error(err)
		}
	})
	for at := 0; at < total; at += piece {
		if _, err := s.Write(numbered(piece, at)); err != nil {
			t.Fatal(err)
		}
		if at > total/2 && at < total/2+piece {
			if s.file == nil {
				t.Error("nothing is in a file")
			}
			close(read)
		}
	}
	s.close()
	client.Wait()
	if want := numbered(got.Len(), 0); got.Len() < total || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes of %d, in order: %v", got.Len(), total, bytes.Equal(got.Bytes(), want))
	}
	if err := s.remove(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestASpoolWhoseClientIsGoneRefusesMore(t *testing.T) {
	s := newSpool()
	gone := errors.New("gone")
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.run(func([]byte) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("run: %v", err)
	}
	if _, err := s.Write([]byte("y")); !errors.Is(err, gone) {
		t.Errorf("write: %v", err)
	}
}

func TestAnEmptySpoolEndsWhenItIsClosed(t *testing.T) {
	s := newSpool()
	s.close()
	if err := s.run(func([]byte) error { t.Error("sent"); return nil }); err != nil {
		t.Error(err)
	}
	if err := s.remove(); err != nil {
		t.Error(err)
	}
}
