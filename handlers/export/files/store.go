package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// Config tells where files are kept and how their URLs are made.
type Config struct {
	// URL names the bucket: file:///folder, or the URL of any bucket whose driver the program
	// imports. A folder is created with mode 0700 when absent.
	URL string
	// Secret signs the URLs of files in a folder. At least MinSecretBytes.
	Secret []byte
	// BaseURL is where clients reach Store.ServeHTTP, such as http://127.0.0.1:8080. A path in it goes
	// before PathPrefix.
	BaseURL string
	// Now is time.Now when nil.
	Now func() time.Time
}

// Store keeps files. It implements export.Files and serves downloads as an
// http.Handler. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	signer *signer // nil where the bucket signs
	now    func() time.Time
}

var _ export.Files = (*Store)(nil)

// Open opens the bucket.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme == "" {
		return nil, fmt.Errorf("open the exports' store %q: want a URL such as file:///folder", cfg.URL)
	}
	if u.Scheme != fileblob.Scheme {
		if s.bucket, err = blob.OpenBucket(ctx, cfg.URL); err != nil {
			return nil, fmt.Errorf("open the exports' store %s: %w", u.Redacted(), err)
		}
		return s, nil
	}
	if s.signer, err = newSigner(cfg.Secret, cfg.BaseURL); err != nil {
		return nil, err
	}
	if s.bucket, err = openFolder(u); err != nil {
		return nil, fmt.Errorf("open the exports' store %s: %w", cfg.URL, err)
	}
	return s, nil
}

// openFolder opens a folder without side files, in which unfinished files stand beside the finished ones so
// that finishing one is a rename within one file system.
func openFolder(u *url.URL) (*blob.Bucket, error) {
	if u.RawQuery != "" {
		return nil, errors.New("the URL of a folder has no parameters")
	}
	dir := u.Path
	if u.Host == "." {
		dir = "." + dir
	} else if u.Host != "" && u.Host != "localhost" {
		return nil, fmt.Errorf("the host %q is not this one; write file:///folder", u.Host)
	}
	const private = 0o700
	if err := os.MkdirAll(dir, private); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, err
	}
	return fileblob.OpenBucket(filepath.FromSlash(dir), &fileblob.Options{
		DirFileMode: private, NoTempDir: true, Metadata: fileblob.MetadataDontWrite,
	})
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close closes the bucket.
func (s *Store) Close() error { return s.bucket.Close() }

// ownerOnly is the mode of files.
const ownerOnly = 0o600

// key returns the key of a file: <app>/<job>-<name>.
func key(n export.FileName) string { return string(n.App) + "/" + n.Job + "-" + n.Name }

// jobIDLength is the length of a ULID.
const jobIDLength = 26

// parseKey undoes key.
func parseKey(k string) (export.FileName, bool) {
	app, rest, ok := strings.Cut(k, "/")
	if !ok || len(rest) < jobIDLength+2 || rest[jobIDLength] != '-' {
		return export.FileName{}, false
	}
	return export.FileName{App: domain.AppID(app), Job: rest[:jobIDLength], Name: rest[jobIDLength+1:]}, true
}

// Create begins a file.
func (s *Store) Create(ctx context.Context, name export.FileName) (export.Upload, error) {
	ctx, cancel := context.WithCancel(ctx)
	u := &upload{cancel: cancel}
	w, err := s.bucket.NewWriter(ctx, key(name), &blob.WriterOptions{
		ContentType:        contentType(name.Name),
		ContentDisposition: disposition(name.Name),
		CacheControl:       cacheControl,
		BeforeWrite: func(as func(any) bool) error {
			if !as(&u.file) { // only a folder has one
				return nil
			}
			return u.file.Chmod(ownerOnly)
		},
	})
	if err != nil {
		cancel()
		return nil, err
	}
	u.w = w
	return u, nil
}

// upload is a file that is being written.
type upload struct {
	w      *blob.Writer
	file   *os.File // nil unless the bucket is a folder
	cancel context.CancelFunc
	once   sync.Once
	err    error
}

func (u *upload) Write(p []byte) (int, error) { return u.w.Write(p) }

// Commit makes the file readable once it is on disk, and returns when its name is too.
func (u *upload) Commit() error {
	u.once.Do(func() {
		defer u.cancel()
		if u.file != nil {
			u.err = u.file.Sync()
		}
		if u.err != nil {
			u.cancel()
		}
		u.err = errors.Join(u.err, u.w.Close())
		if u.err == nil && u.file != nil {
			// The file's name is in the application's folder, and that one's in the root.
			app := filepath.Dir(u.file.Name())
			u.err = errors.Join(syncDir(app), syncDir(filepath.Dir(app)))
		}
	})
	return u.err
}

// Abort leaves nothing behind.
func (u *upload) Abort() {
	u.once.Do(func() {
		u.cancel()
		u.err = u.w.Close() // the context's error
	})
}

// Delete removes a file.
func (s *Store) Delete(ctx context.Context, name export.FileName) error {
	err := s.bucket.Delete(ctx, key(name))
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	return err
}

// All yields what is in the bucket of a job, of an application, or at all.
func (s *Store) All(ctx context.Context, app domain.AppID, job string) iter.Seq2[export.StoredFile, error] {
	prefix := ""
	if app != "" {
		prefix = string(app) + "/"
		if job != "" {
			prefix += job + "-"
		}
	}
	return func(yield func(export.StoredFile, error) bool) {
		for list := s.bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
			o, err := list.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(export.StoredFile{}, err)
				return
			}
			name, ok := parseKey(o.Key)
			if ok && !yield(export.StoredFile{Name: name, Modified: o.ModTime}, nil) {
				return
			}
		}
	}
}

// URL returns an address that serves the file for the given time.
func (s *Store) URL(ctx context.Context, name export.FileName, life time.Duration) (string, error) {
	if s.signer == nil {
		return s.bucket.SignedURL(ctx, key(name), &blob.SignedURLOptions{Expiry: life})
	}
	return s.signer.url(name, s.now().Add(life)), nil
}
