package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// Config tells where files are kept and how their URLs are made.
type Config struct {
	// URL names the bucket: file:///folder, s3://bucket, or the URL of any bucket whose driver the program
	// imports. A folder is created with mode 0700 when absent. A bucket must exist; credentials come from the environment
	// of the AWS SDK. Parameters of s3blob.URLOpener are taken, among them endpoint, region, use_path_style and profile,
	// and prefix, which all keys begin with.
	URL string
	// Secret signs the URLs of files in a folder. At least MinSecretBytes.
	Secret []byte
	// Accept are secrets whose signatures are accepted besides, of instances that sign with another one.
	Accept [][]byte
	// BaseURL is where clients reach Store.ServeHTTP, such as http://127.0.0.1:8080. A path in it goes
	// before PathPrefix.
	BaseURL string
	// Owner is the id of the Rollcall that the store is of, see Store.Claim; all its instances have the same. Empty: the store has no mark, and whoever opens
	// it must know that it has no other owner.
	Owner string
	// Patience is how long a bucket may take over one step of an upload, one listing or one removal: 2 minutes when zero.
	Patience time.Duration
	// Now is time.Now when nil.
	Now func() time.Time
}

const defaultPatience = 2 * time.Minute

// Store keeps files. It implements export.Files and serves downloads as an
// http.Handler. It is safe for concurrent use.
type Store struct {
	bucket   *blob.Bucket
	signer   *signer  // nil where the bucket signs
	uploads  *uploads // nil unless the bucket is one of S3
	owner    string
	claimed  atomic.Bool
	patience time.Duration
	now      func() time.Time
}

var _ export.Files = (*Store)(nil)

// Open opens the bucket.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{owner: cfg.Owner, patience: cmp.Or(cfg.Patience, defaultPatience), now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme == "" { // what cannot be parsed may hold a password
		return nil, errors.New("open the exports' store: want a URL such as file:///folder or s3://bucket?region=eu-central-1")
	}
	switch u.Scheme {
	case fileblob.Scheme:
		if s.signer, err = newSigner(cfg.Secret, cfg.BaseURL, cfg.Accept...); err != nil {
			return nil, err
		}
		s.bucket, err = openFolder(u)
	case s3blob.Scheme:
		s.bucket, s.uploads, err = openBucket(ctx, u)
	default:
		s.bucket, err = blob.OpenBucket(ctx, cfg.URL)
	}
	if err != nil {
		return nil, fmt.Errorf("open the exports' store %s: %w", u.Redacted(), err)
	}
	return s, nil
}

// Check tells why the store cannot be used, nil when it can as far as looking into it shows.
func (s *Store) Check(ctx context.Context) error {
	if err := s.Claim(ctx); err != nil {
		return err
	}
	if _, err := s.next(ctx, s.bucket.List(nil)); err != io.EOF {
		return err
	}
	return nil
}

// KeepsDeleted tells whether the store keeps files that are deleted, as a bucket of S3 with versioning does. They cannot be fetched by a URL that was given out,
// but are there until a rule of the bucket's or a person removes them.
func (s *Store) KeepsDeleted(ctx context.Context) (bool, error) {
	if s.uploads == nil {
		return false, nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	keeps, err := s.uploads.versioned(ctx)
	return keeps, s.explain(ctx, err)
}

// bounded bounds how long the store may take. What fails by it has errStalled as the cause.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.patience, errStalled)
}

// explain adds to an error what is known of its cause.
func (s *Store) explain(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		err = fmt.Errorf("%w: %w", errStalled, err)
	}
	return explain(err)
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

// unfinishedFile ends the names of files in a folder that are being written.
const unfinishedFile = ".tmp"

// parseKey undoes key. What Rollcall does not put into a store is not listed, and so never removed: the job must be a ULID, and the
// name one that exports have.
func parseKey(k string) (export.FileName, bool) {
	app, rest, _ := strings.Cut(k, "/")
	if len(rest) <= ulid.EncodedSize || rest[ulid.EncodedSize] != '-' {
		return export.FileName{}, false
	}
	n := export.FileName{App: domain.AppID(app), Job: rest[:ulid.EncodedSize], Name: rest[ulid.EncodedSize+1:]}
	id, err := ulid.ParseStrict(n.Job)
	whole := n
	if name, ok := strings.CutSuffix(n.Name, unfinishedFile); ok {
		whole.Name = strings.TrimSuffix(name, path.Ext(name)) // a number that fileblob has put there
	}
	return n, err == nil && id.String() == n.Job && n.App.Valid() && whole.Known()
}

// Create begins a file.
func (s *Store) Create(ctx context.Context, name export.FileName) (export.Upload, error) {
	if err := s.Claim(ctx); err != nil {
		return nil, err
	}
	return s.write(ctx, key(name), &blob.WriterOptions{
		ContentType: contentType(name.Name), ContentDisposition: disposition(name.Name), CacheControl: cacheControl,
	})
}

// write begins to write to a key.
func (s *Store) write(ctx context.Context, key string, opts *blob.WriterOptions) (*upload, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	u := &upload{store: s, ctx: ctx, cancel: cancel}
	opts.BeforeWrite = func(as func(any) bool) error {
		switch {
		case s.uploads != nil:
			return s.uploads.tune(as)
		case as(&u.file): // only a folder has one
			return u.file.Chmod(ownerOnly)
		}
		return nil
	}
	w, err := s.bucket.NewWriter(ctx, key, opts)
	if err != nil {
		cancel(nil)
		return nil, explain(err)
	}
	u.w = w
	return u, nil
}

// Open reads a file that is committed.
func (s *Store) Open(ctx context.Context, name export.FileName) (io.ReadCloser, error) {
	if err := s.Claim(ctx); err != nil {
		return nil, err
	}
	r, err := s.bucket.NewReader(ctx, key(name), nil)
	if err != nil {
		return nil, explain(err)
	}
	return r, nil
}

// Delete removes a file, or an upload that All gave.
func (s *Store) Delete(ctx context.Context, name export.FileName) error {
	if err := s.Claim(ctx); err != nil {
		return err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if s.uploads != nil {
		return s.explain(ctx, s.uploads.delete(ctx, name))
	}
	err := s.bucket.Delete(ctx, key(name))
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	return s.explain(ctx, err)
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
		if err := s.Claim(ctx); err != nil {
			yield(export.StoredFile{}, err)
			return
		}
		list := s.list
		if s.signer != nil {
			list = s.listFolder
		}
		for f, err := range list(ctx, prefix) {
			if !yield(f, err) || err != nil {
				return
			}
		}
		if s.uploads == nil {
			return
		}
		for f, err := range s.listUploads(ctx, prefix) {
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// listFolder is list for a folder, whose listing breaks off when a file goes while it is looked at, as that of an attempt that
// is given up does. It is then made anew.
func (s *Store) listFolder(ctx context.Context, prefix string) iter.Seq2[export.StoredFile, error] {
	const tries = 100
	return func(yield func(export.StoredFile, error) bool) {
		var found []export.StoredFile
		for n := 1; ; n++ {
			var failed error
			found = found[:0]
			for f, err := range s.list(ctx, prefix) {
				if failed = err; err == nil {
					found = append(found, f)
				}
			}
			if failed == nil {
				break
			}
			if n == tries || ctx.Err() != nil || gcerrors.Code(failed) != gcerrors.NotFound {
				yield(export.StoredFile{}, failed)
				return
			}
		}
		for _, f := range found {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// list yields the files whose keys begin with a prefix.
func (s *Store) list(ctx context.Context, prefix string) iter.Seq2[export.StoredFile, error] {
	return func(yield func(export.StoredFile, error) bool) {
		for list := s.bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
			o, err := s.next(ctx, list)
			if err == io.EOF {
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

// next returns the next file of a list, io.EOF itself behind the last.
func (s *Store) next(ctx context.Context, list *blob.ListIterator) (*blob.ListObject, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	o, err := list.Next(ctx)
	if err == io.EOF { // one that is wrapped is that of a connection
		return nil, err
	}
	return o, s.explain(ctx, err)
}

// URL returns an address that serves the file for the given time, not longer than the store allows.
func (s *Store) URL(ctx context.Context, name export.FileName, life time.Duration) (string, error) {
	if s.signer != nil {
		return s.signer.url(name, s.now().Add(life)), nil
	}
	link, err := s.bucket.SignedURL(ctx, key(name), &blob.SignedURLOptions{Expiry: signedLife(life)})
	return link, explain(err)
}
