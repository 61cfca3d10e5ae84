package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/domain"
)

// progressEvery is how often progress is told at most.
const progressEvery = time.Second

// fileWriter writes accounts to an upload and counts what it writes. Its counters may
// be read while it works.
type fileWriter struct {
	name    FileName
	version version
	started time.Time
	began   time.Time // to scan
	skipped int64     // accounts that an earlier attempt has gone through
	rows    atomic.Int64
	bytes   atomic.Int64
	looked  atomic.Int64 // accounts that were gone through
	total   atomic.Int64 // accounts to go through, about
	quiet   func()       // ends what tells the progress, nil while nothing does

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
		w.abort()
		return nil, err
	}
	return w, nil
}

// add encodes and writes accounts. Memory does not grow with their number.
func (w *fileWriter) add(accounts []domain.Account) error {
	for i := range accounts {
		if err := w.enc.Append(&accounts[i]); err != nil {
			return err
		}
	}
	w.rows.Add(int64(len(accounts)))
	return nil
}

// skip notes that the scan begins here, behind what was kept.
func (w *fileWriter) skip() { w.began, w.skipped = time.Now(), w.looked.Load() }

// took notes how far the scan has got.
func (w *fileWriter) took(p piece) {
	w.total.Store(max(p.total, w.looked.Add(p.looked)))
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

// commit makes the file readable, unless there is no room for it any more.
func (w *fileWriter) commit() error {
	if err := w.room.confirm(w.ctx, w.bytes.Load()); err != nil {
		w.abort()
		return err
	}
	if err := w.upload.Commit(); err != nil {
		w.abort()
		return fmt.Errorf("%w: finish the file: %w", errStore, err)
	}
	return nil
}

func (w *fileWriter) abort() {
	w.upload.Abort()
	w.room.release()
}

// sum returns the SHA-256 of what was written, in hexadecimal digits.
func (w *fileWriter) sum() string { return hex.EncodeToString(w.hash.Sum(nil)) }

// hush ends what tells the progress. It may be called again.
func (w *fileWriter) hush() {
	if w.quiet != nil {
		w.quiet()
	}
}

// aliveEvery is how often progress is told at least, so that nobody takes the attempt for dead while a large file is finished.
const aliveEvery = stuckAfter / 3

// report publishes the progress of a writer regularly, until the returned function
// is called, which waits for the last event. Progress that cannot be told is not an error.
func (s *Service) report(ctx context.Context, job Job, w *fileWriter) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		last := time.Now()
		for told := int64(0); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			looked := w.looked.Load()
			if looked == told && time.Since(last) < aliveEvery {
				continue
			}
			told, last = looked, time.Now()
			if err := s.publishProgress(ctx, job, w.version, w.progress()); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Warn("the progress of an export could not be told", "app", job.App, "job", job.ID, "error", err)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (w *fileWriter) progress() Progress {
	p := Progress{Done: w.looked.Load(), Total: w.total.Load(), Bytes: w.bytes.Load()}
	if took := time.Since(w.began).Seconds(); took > 0 {
		p.PerSec = math.Round(float64(p.Done-w.skipped) / took)
	}
	if p.PerSec > 0 {
		p.SecLeft = math.Ceil(float64(p.Total-p.Done) / p.PerSec)
	}
	return p
}

func (s *Service) publishProgress(ctx context.Context, job Job, v version, p Progress) error {
	e := s.event(Progressed, job)
	e.Position, e.ErasedUntil, e.Progress = v.position, v.erasedUntil, p
	_, err := s.cfg.Events.Publish(ctx, e, Condition{})
	return err
}
