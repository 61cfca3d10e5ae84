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
	"net/url"
	"os"
	"path/filepath"
)

// ErrCorrupt means that a downloaded file is not the one that was exported.
var ErrCorrupt = errors.New("the file is not what was exported")

// Download writes the file of a completed export to name, and tells progress how
// many bytes are there. The bytes go to name with .part behind it, where a download that broke off goes on;
// the file takes its name when all are there and their SHA-256 is that of the job.
func (c *Client) Download(ctx context.Context, e Export, name string, progress func(int64)) (err error) {
	if e.DownloadURL == "" {
		return fmt.Errorf("export %s has nothing to download: it is %s", e.ID, e.Status)
	}
	address, err := c.base.Parse(e.DownloadURL)
	if err != nil {
		return fmt.Errorf("the address of export %s: %w", e.ID, err)
	}
	part, err := os.OpenFile(name+".part", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("download export %s: %w", e.ID, err)
	}
	defer func() { err = errors.Join(err, ignoreClosed(part.Close())) }()
	sum := sha256.New()
	have, err := io.Copy(sum, part)
	if err != nil {
		return fmt.Errorf("read %s: %w", part.Name(), err)
	}
	if have > e.Bytes {
		if have, err = restart(part, sum); err != nil {
			return err
		}
	}
	if have < e.Bytes || e.Bytes == 0 {
		if err := c.fetch(ctx, address, part, sum, have, progress); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != e.SHA256 {
		err := fmt.Errorf("%w: the SHA-256 of export %s is %s, but %s came; it was thrown away, download it again", ErrCorrupt, e.ID, e.SHA256, got)
		return errors.Join(err, os.Remove(part.Name()))
	}
	if err := errors.Join(part.Sync(), part.Close()); err != nil {
		return fmt.Errorf("write %s: %w", part.Name(), err)
	}
	if err := os.Rename(part.Name(), name); err != nil {
		return fmt.Errorf("download export %s: %w", e.ID, err)
	}
	return syncFolder(filepath.Dir(name))
}

// fetch gets what is missing behind the first have bytes.
func (c *Client) fetch(ctx context.Context, address *url.URL, part *os.File, sum hash.Hash, have int64, progress func(int64)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	// The address is signed: it needs no token, which is for the service alone.
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		if have, err = restart(part, sum); err != nil {
			return err
		}
	case http.StatusPartialContent:
	default:
		return readProblem(resp)
	}
	progress(have)
	n, err := io.Copy(io.MultiWriter(part, sum, counter{have, progress}.writer()), resp.Body)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("the download broke off after %d bytes: %w; run it again to go on from there", have+n, err)
	}
	return nil
}

// restart forgets what is there.
func restart(part *os.File, sum hash.Hash) (int64, error) {
	sum.Reset()
	if err := part.Truncate(0); err != nil {
		return 0, fmt.Errorf("write %s: %w", part.Name(), err)
	}
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("write %s: %w", part.Name(), err)
	}
	return 0, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// syncFolder makes a new name in a folder last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// counter tells how many bytes there are.
type counter struct {
	have int64
	told func(int64)
}

func (c counter) writer() io.Writer { return &c }

// Write counts and keeps nothing.
func (c *counter) Write(p []byte) (int, error) {
	c.have += int64(len(p))
	c.told(c.have)
	return len(p), nil
}
