package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rollcall/eventstore/disk"
)

// ErrCorrupt means that a downloaded file is not the one that was exported.
var ErrCorrupt = errors.New("the file is not what was exported")

const (
	downloadTries = 5 // without a byte in between
	downloadPause = time.Second
)

// Download writes the file of a completed export to name, and tells progress how
// many bytes are there. The bytes go to name with .part behind it, where a download that broke off goes on;
// the file takes its name when all are there and their number and SHA-256 are those of the job. A connection that breaks is made again.
func (c *Client) Download(ctx context.Context, e Export, name string, progress func(int64)) (err error) {
	part, err := os.OpenFile(name+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("download export %s: %w", e.ID, err)
	}
	defer func() { err = errors.Join(err, ignoreClosed(part.Close())) }()
	d := &download{client: c, export: e, to: part, sum: sha256.New(), told: progress, restart: func() error { return empty(part) }}
	if d.have, err = io.Copy(d.sum, part); err != nil {
		return fmt.Errorf("read %s: %w", part.Name(), err)
	}
	if d.have > e.Bytes {
		if err := d.again(); err != nil {
			return err
		}
	}
	if err := d.run(ctx); err != nil {
		return err
	}
	if err := d.verify(); err != nil {
		return errors.Join(fmt.Errorf("%w; it was thrown away, download it again", err), os.Remove(part.Name()))
	}
	if err := errors.Join(part.Sync(), part.Close()); err != nil {
		return fmt.Errorf("write %s: %w", part.Name(), err)
	}
	if err := os.Rename(part.Name(), name); err != nil {
		return fmt.Errorf("download export %s: %w", e.ID, err)
	}
	return disk.SyncFolder(filepath.Dir(name))
}

// Copy writes the file of a completed export to w as it comes, and tells progress how many bytes came. Whether they are what was exported
// is known at the end alone: what was written before an error is not to be used.
func (c *Client) Copy(ctx context.Context, e Export, w io.Writer, progress func(int64)) error {
	d := &download{client: c, export: e, to: w, sum: sha256.New(), told: progress}
	if err := d.run(ctx); err != nil {
		return err
	}
	return d.verify()
}

// download is one file on its way.
type download struct {
	client *Client
	export Export
	to     io.Writer
	sum    hash.Hash
	have   int64
	told   func(int64)
	// restart empties what was written, nil where that cannot be.
	restart func() error
}

// run gets what is missing, again after a connection broke.
func (d *download) run(ctx context.Context) error {
	if d.export.DownloadURL == "" {
		return fmt.Errorf("export %s has nothing to download: it is %s", d.export.ID, d.export.Status)
	}
	for tries := 0; d.have < d.export.Bytes || d.export.Bytes == 0; tries++ {
		before := d.have
		err := d.fetch(ctx)
		var refused *Problem
		switch {
		case err == nil && (d.have >= d.export.Bytes):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			err = io.ErrUnexpectedEOF
		case errors.As(err, &refused) && refused.Status != http.StatusForbidden && refused.Refused():
			return err
		}
		if d.have > before {
			tries = 0
		}
		if tries+1 >= downloadTries {
			return fmt.Errorf("the download of export %s broke off after %d bytes: %w; run it again to go on from there", d.export.ID, d.have, err)
		}
		if err := d.refresh(ctx); err != nil {
			return err
		}
	}
	return nil
}

// refresh waits a moment and has the URL made anew, for it may have ended.
func (d *download) refresh(ctx context.Context) error {
	select {
	case <-time.After(downloadPause):
	case <-ctx.Done():
		return ctx.Err()
	}
	e, err := d.client.Export(ctx, d.export.App, d.export.ID)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // the file may be elsewhere, and be reached
		return nil
	case e.DownloadURL == "":
		return fmt.Errorf("export %s has nothing to download any more: it is %s", e.ID, e.Status)
	}
	rebuilt := e.SHA256 != d.export.SHA256
	if d.export = e; rebuilt && d.have > 0 {
		return d.again()
	}
	return nil
}

// fetch gets what is missing, as far as it comes.
func (d *download) fetch(ctx context.Context) error {
	address, err := d.client.base.Parse(d.export.DownloadURL)
	if err != nil {
		return fmt.Errorf("the address of export %s: %w", d.export.ID, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	from := fmt.Sprintf("bytes=%d-", d.have)
	if d.have > 0 {
		req.Header.Set("Range", from)
	}
	// The address is signed: it needs no token, which is for the service alone.
	resp, err := d.client.http.Do(req)
	if err != nil {
		return d.client.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	whole := resp.StatusCode == http.StatusOK
	switch {
	case whole && d.have > 0:
		if err := d.again(); err != nil {
			return err
		}
	case whole:
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), strings.Replace(from, "=", " ", 1)):
	case resp.StatusCode == http.StatusPartialContent:
		return fmt.Errorf("another part of export %s came than the one asked for", d.export.ID)
	default:
		return readProblem(resp)
	}
	d.told(d.have)
	_, err = io.Copy(d, io.LimitReader(resp.Body, d.export.Bytes-d.have+1)) // one more, so that a file that is too long is noticed
	return err
}

// again begins anew.
func (d *download) again() error {
	if d.restart == nil {
		return fmt.Errorf("export %s cannot be had from the middle, and what came is handed on already; download it to a file", d.export.ID)
	}
	d.sum.Reset()
	d.have = 0
	return d.restart()
}

// Write takes what comes.
func (d *download) Write(b []byte) (int, error) {
	n, err := d.to.Write(b)
	d.sum.Write(b[:n])
	d.have += int64(n)
	d.told(d.have)
	return n, err
}

// verify compares what came with what was exported.
func (d *download) verify() error {
	got := hex.EncodeToString(d.sum.Sum(nil))
	switch {
	case d.have != d.export.Bytes:
		return fmt.Errorf("%w: export %s has %d bytes, but %d came", ErrCorrupt, d.export.ID, d.export.Bytes, d.have)
	case got != d.export.SHA256:
		return fmt.Errorf("%w: the SHA-256 of export %s is %s, but %s came", ErrCorrupt, d.export.ID, d.export.SHA256, got)
	}
	return nil
}

// empty forgets what is in a file.
func empty(part *os.File) error {
	if err := part.Truncate(0); err != nil {
		return fmt.Errorf("write %s: %w", part.Name(), err)
	}
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("write %s: %w", part.Name(), err)
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
