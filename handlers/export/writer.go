package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/domain"
)

const (
	checkRows     = 256 // how many rows go by between two looks at the context
	progressEvery = 500 * time.Millisecond
)

// fileWriter writes accounts to an upload and counts what it writes. Its counters may
// be read while it works.
type fileWriter struct {
	name     FileName
	position uint64
	started  time.Time
	rows     atomic.Int64
	bytes    atomic.Int64

	room   room
	ctx    context.Context // of the one attempt that writes
	upload Upload
	hash   hash.Hash
	enc    Encoder
}

// newFileWriter returns a writer that ends with ctx.
func newFileWriter(ctx context.Context, files Files, name FileName, spec Spec, room room) (*fileWriter, error) {
	upload, err := files.Create(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%w: begin the file: %w", errStore, err)
	}
	w := &fileWriter{name: name, room: room, ctx: ctx, upload: upload, hash: sha256.New()}
	if w.enc, err = NewEncoder(w, spec.Format, spec.Compression, spec.Fields); err != nil {
		upload.Abort()
		return nil, err
	}
	return w, nil
}

// writeAll encodes and writes all accounts of a snapshot. Memory does not grow with them.
func (w *fileWriter) writeAll(snap domain.Snapshot) error {
	var rows int64
	var account domain.Account // one for all: it is passed to an interface and would be allocated anew for each
	for a, err := range snap.Accounts {
		if err != nil {
			return fmt.Errorf("read the accounts: %w", err)
		}
		if rows++; rows%checkRows == 0 {
			if w.ctx.Err() != nil {
				return context.Cause(w.ctx)
			}
			w.rows.Store(rows)
		}
		account = a
		if err := w.enc.Append(&account); err != nil {
			return err
		}
	}
	w.rows.Store(rows)
	return w.enc.End()
}

// Write takes what the encoder writes.
func (w *fileWriter) Write(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	if err := w.room.take(w.bytes.Load() + int64(len(b))); err != nil {
		return 0, err
	}
	w.hash.Write(b) // never fails
	n, err := w.upload.Write(b)
	w.bytes.Add(int64(n))
	if err != nil {
		return n, fmt.Errorf("%w: write the file: %w", errStore, err)
	}
	return n, nil
}

func (w *fileWriter) commit() error {
	if err := w.upload.Commit(); err != nil {
		w.upload.Abort()
		return fmt.Errorf("%w: finish the file: %w", errStore, err)
	}
	return nil
}

func (w *fileWriter) abort() { w.upload.Abort() }

// sum returns the SHA-256 of what was written, in hexadecimal digits.
func (w *fileWriter) sum() string { return hex.EncodeToString(w.hash.Sum(nil)) }

// report publishes the progress of a writer at once and then regularly, until the returned function
// is called, which waits for the last event. Progress that cannot be told is not an error.
func (s *Service) report(ctx context.Context, job Job, w *fileWriter, total int64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for done := int64(-1); ; {
			if rows := w.rows.Load(); rows != done {
				done = rows
				s.publishProgress(ctx, job, w.position, Progress{Done: rows, Total: total})
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (s *Service) publishProgress(ctx context.Context, job Job, position uint64, p Progress) {
	e := s.event(Progressed, job)
	e.Position, e.Progress = position, p
	if _, err := s.cfg.Events.Publish(ctx, e, false); err != nil && ctx.Err() == nil {
		s.cfg.Logger.Warn("the progress of an export could not be told", "app", job.App, "job", job.ID, "error", err)
	}
}
