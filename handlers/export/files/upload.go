package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gocloud.dev/blob"
)

// upload is a file that is being written.
type upload struct {
	store  *Store
	w      *blob.Writer
	file   *os.File // nil unless the bucket is a folder
	ctx    context.Context
	cancel context.CancelCauseFunc
	broken error // of the first Write that failed: what follows it would leave a gap
	once   sync.Once
	err    error
}

func (u *upload) Write(p []byte) (int, error) {
	if u.broken != nil {
		return 0, u.broken
	}
	defer u.watch()()
	n, err := u.w.Write(p)
	u.broken = u.store.explain(u.ctx, err)
	return n, u.broken
}

// watch gives the upload up unless the returned function is called in time.
func (u *upload) watch() (stop func() bool) {
	return time.AfterFunc(u.store.patience, func() { u.cancel(errStalled) }).Stop
}

// Commit makes the file readable once it is on disk, and returns when its name is too.
func (u *upload) Commit() error {
	u.once.Do(func() {
		defer u.cancel(nil)
		if u.broken != nil {
			u.err = errors.Join(u.broken, u.drop())
			return
		}
		defer u.watch()()
		u.err = u.store.explain(u.ctx, u.finish())
	})
	return u.err
}

func (u *upload) finish() error {
	if u.file == nil {
		return u.w.Close()
	}
	if err := u.file.Sync(); err != nil {
		return errors.Join(err, u.drop())
	}
	if err := u.w.Close(); err != nil {
		return err
	}
	// The file's name is in the application's folder, and that one's in the root.
	app := filepath.Dir(u.file.Name())
	return errors.Join(syncDir(app), syncDir(filepath.Dir(app)))
}

// Abort leaves nothing behind.
func (u *upload) Abort() {
	u.once.Do(func() { u.err = u.drop() })
}

// drop removes what was written. It returns the error that closing a writer ends with whose context has ended.
func (u *upload) drop() error {
	u.cancel(nil)
	return u.w.Close()
}
