package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rollcall/eventstore"
	"rollcall/eventstore/disk"
)

// mark is what the embedded log remembers of itself outside its store, in a file of
// its own: JetStream recovers from a damaged store by forgetting the end of it.
type mark struct {
	// New is true from before the store is made until its stream is made.
	New bool `json:"new,omitempty"`
	// Position is that of an event that was acknowledged, zero for none, and SHA256 the hash of
	// what was written there.
	Position eventstore.Position `json:"position"`
	SHA256   string              `json:"sha256,omitempty"`
}

const (
	markFile     = "last.position"
	markInterval = 2 * time.Second // between two writes of the file
)

// readMark returns the mark of a store folder, nil when there is none.
func readMark(dir string) (*mark, error) {
	path := filepath.Join(dir, markFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the last position of the log: %w", err)
	}
	var m mark
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: %s cannot be read: %w; compare the log with a backup, then remove the file", eventstore.ErrDamaged, path, err)
	}
	return &m, nil
}

// write replaces the mark of a store folder, so that either the old or the new one is there
// after a crash.
func (m mark) write(dir string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, markFile)
	if err := writeSynced(path+".new", append(b, '\n')); err != nil {
		return fmt.Errorf("remember the last position of the log: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("remember the last position of the log: %w", err)
	}
	return disk.SyncFolder(dir)
}

// writeSynced writes a file and waits until it is on disk.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// compare fails when the log does not hold what the mark remembers.
func (m mark) compare(ctx context.Context, s *Store) error {
	if m.Position == 0 {
		return nil
	}
	if err := s.Check(ctx, m.Position); err != nil {
		return err
	}
	msg, err := s.get(ctx, m.Position)
	if err != nil {
		return err
	}
	if hash(msg.Data) != m.SHA256 {
		return fmt.Errorf("%w: the event at position %d is not the one that was written there; "+
			"stop all writers and restore the log from a backup", eventstore.ErrDamaged, m.Position)
	}
	return nil
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// marker keeps the mark of a store folder up to date, some seconds behind the appends.
type marker struct {
	dir string
	log *slog.Logger

	mu       sync.Mutex
	position eventstore.Position // the latest that was acknowledged
	data     []byte              // what was written there
	written  eventstore.Position

	stop chan struct{}
	done chan struct{}
}

func startMarker(dir string, at eventstore.Position, log *slog.Logger) *marker {
	m := &marker{dir: dir, log: log, position: at, written: at, stop: make(chan struct{}), done: make(chan struct{})}
	go m.run()
	return m
}

// acked takes note of an acknowledged append.
func (m *marker) acked(at eventstore.Position, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at > m.position {
		m.position, m.data = at, data
	}
}

func (m *marker) run() {
	defer close(m.done)
	tick := time.NewTicker(markInterval)
	defer tick.Stop()
	for stopped := false; !stopped; {
		select {
		case <-tick.C:
		case <-m.stop:
			stopped = true
		}
		if err := m.write(); err != nil {
			m.log.Error("the last position of the log could not be remembered", "error", err)
		}
	}
}

func (m *marker) write() error {
	m.mu.Lock()
	position, data := m.position, m.data
	m.mu.Unlock()
	if position == m.written {
		return nil
	}
	if err := (mark{Position: position, SHA256: hash(data)}).write(m.dir); err != nil {
		return err
	}
	m.written = position // only run and those that wait for it come here
	return nil
}

// close writes the mark a last time.
func (m *marker) close() {
	close(m.stop)
	<-m.done
}
