// Package asof keeps lists of accounts as of earlier positions of the log. Each is built from the log when somebody asks for it, into a file
// of its own, and is thrown away once nobody has for a while.
//
// It owns which of these lists there are, the room that they take, and that what a deleted account held leaves them. It must never
// keep one for another process to find, and never show one that is not whole.
package asof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
	"rollcall/projections/accountlist/sqlite"
)

// Log is what lists are built from, see eventstore.Store.
type Log interface {
	Revision(ctx context.Context, id eventstore.AggregateID) (eventstore.Revision, error)
	Load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error]
	ReadApp(ctx context.Context, app string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error]
	SubscribeApp(ctx context.Context, app string, from eventstore.Position) (eventstore.Subscription, error)
	PositionAt(ctx context.Context, t time.Time) (eventstore.Position, error)
}

// Defaults of Options.
const (
	DefaultMost  = 4
	DefaultBytes = 8 << 30
	DefaultSpare = 1 << 30
	DefaultIdle  = 15 * time.Minute
	DefaultWait  = 5 * time.Second
)

const (
	// abandonAfter is after how long a list that nobody asks for is built no further.
	abandonAfter = time.Minute
	// failedFor is how long a failure is told of before a list is built again.
	failedFor  = 5 * time.Second
	folderMode = 0o700
)

// CodeTooLarge rejects a list that would take more room than such lists have.
const CodeTooLarge domain.Code = "as_of_too_large"

// ErrClosed means that there are no lists any more.
var ErrClosed = errors.New("lists as of earlier positions are closed")

// UnreadyError means that a list is not there yet. The same read succeeds later.
type UnreadyError struct{ detail string }

func (e *UnreadyError) Error() string { return e.detail }

// Options are optional settings of Lists. The zero value is useful.
type Options struct {
	Most  int           // lists that are kept or built at a time, DefaultMost when zero
	Bytes int64         // that their files take together, DefaultBytes when zero
	Spare int64         // that are left on their disk, which others write to as well, DefaultSpare when zero
	Idle  time.Duration // after which a list that nobody reads is thrown away, DefaultIdle when zero
	Wait  time.Duration // that a read waits for a list to be built, DefaultWait when zero
	// Logger is told of lists that are built and of trouble. Nothing is logged when nil.
	Logger *slog.Logger
}

// Lists are the lists as of earlier positions. They are safe for concurrent use, and to be closed.
type Lists struct {
	folder string
	log    Log
	codec  *codec.Codec
	opts   Options

	ctx    context.Context // of everything in the background
	cancel context.CancelFunc
	work   sync.WaitGroup
	turn   chan struct{} // held by the one list that is being built

	mu     sync.Mutex
	lists  map[key]*list
	going  map[*list]bool // lists that are removed and whose files may be there still
	made   int            // files
	closed bool
}

// key names a list.
type key struct {
	app      domain.AppID
	position eventstore.Position
}

// New returns lists that are kept in a folder, which is this process's alone. What an earlier one left there is removed.
func New(folder string, log Log, c *codec.Codec, opts Options) (*Lists, error) {
	opts.Most = cmp.Or(opts.Most, DefaultMost)
	opts.Bytes = cmp.Or(opts.Bytes, DefaultBytes)
	opts.Spare = cmp.Or(opts.Spare, DefaultSpare)
	opts.Idle = cmp.Or(opts.Idle, DefaultIdle)
	opts.Wait = cmp.Or(opts.Wait, DefaultWait)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.RemoveAll(folder); err != nil {
		return nil, fmt.Errorf("remove the lists of an earlier process: %w", err)
	}
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return nil, fmt.Errorf("make a folder for lists: %w", err)
	}
	s := &Lists{folder: folder, log: log, codec: c, opts: opts, turn: make(chan struct{}, 1), lists: make(map[key]*list), going: make(map[*list]bool)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close ends what runs and removes all lists.
func (s *Lists) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	if err := os.RemoveAll(s.folder); err != nil {
		return fmt.Errorf("remove the lists as of earlier positions: %w", err)
	}
	return nil
}

// Page returns one page of the accounts that an application had at the position l.AsOf, which the log has reached. An account that was deleted
// since is among them; once its key is destroyed, without what it held.
//
// The first read of a list has it built, and waits a while for it. Errors: *UnreadyError while it is not there; rejections as of
// accountlist.List, and CodeTooLarge; those of the log and of the file.
func (s *Lists) Page(ctx context.Context, l domain.Listing) (domain.Page, error) {
	request, err := accountlist.Ask(l) // before anything is built
	if err != nil {
		return domain.Page{}, err
	}
	l = request.Listing
	e, err := s.take(ctx, key{l.App, eventstore.Position(l.AsOf)})
	if err != nil {
		return domain.Page{}, err
	}
	defer s.put(e)
	rows, err := e.await(ctx, s.opts.Wait)
	if err != nil {
		return domain.Page{}, err
	}
	page, err := rows.Page(ctx, l)
	if err != nil && ctx.Err() == nil && e.ctx.Err() != nil {
		return domain.Page{}, e.thrownAway()
	}
	return page, err
}

// Deletion is an account that is no more, and the position where it was deleted.
type Deletion struct {
	User     domain.UserID
	Position eventstore.Position
}

// Forget has what deleted accounts held leave the lists of an application. When it returns nil, it is in none of their files. The keys of the
// accounts are destroyed before.
func (s *Lists) Forget(ctx context.Context, app domain.AppID, deletions ...Deletion) error {
	var errs []error
	for _, e := range s.of(app) {
		if e.ctx.Err() == nil {
			err := e.wipe(ctx, deletions)
			if err == nil {
				continue
			}
			s.opts.Logger.Warn("a list as of an earlier position is thrown away, for a deleted account could not be overwritten in it",
				"app", app, "position", e.position, "error", err)
			s.drop(e)
		}
		select {
		case <-e.gone:
			errs = append(errs, e.left)
		case <-ctx.Done():
			errs = append(errs, ctx.Err())
		}
	}
	return errors.Join(errs...)
}

// of returns the lists of an application, with those whose files are still to be removed.
func (s *Lists) of(app domain.AppID) (all []*list) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := range s.going {
		if e.app == app {
			all = append(all, e)
		}
	}
	for k, e := range s.lists {
		if k.app == app {
			all = append(all, e)
		}
	}
	return all
}

// take returns a list for a read, after which it is to be put back. One that is not there begins to be built.
func (s *Lists) take(ctx context.Context, k key) (*list, error) {
	if e := s.find(k); e != nil {
		return e, nil
	}
	first, err := s.begun(ctx, k)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.lists[k]; e != nil {
		e.use()
		return e, nil
	}
	switch {
	case s.closed:
		return nil, ErrClosed
	case len(s.lists) >= s.opts.Most && !s.evict():
		return nil, &UnreadyError{fmt.Sprintf("%d lists as of other positions are being read or built, and there is no room for another; ask again in a moment", len(s.lists))}
	}
	s.made++
	e := &list{
		key: k, path: filepath.Join(s.folder, fmt.Sprintf("%d.db", s.made)), first: first,
		ready: make(chan struct{}), gone: make(chan struct{}), deleted: make(map[domain.UserID]bool),
	}
	e.ctx, e.cancel = context.WithCancel(s.ctx)
	e.use()
	s.lists[k] = e
	s.work.Go(func() { s.keep(e) })
	return e, nil
}

// find returns a list that is there for a read.
func (s *Lists) find(k key) *list {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lists[k]
	if e != nil {
		e.use()
	}
	return e
}

// begun returns the position where an application was created. One that did not exist at the position of the list is a
// *domain.Rejection.
func (s *Lists) begun(ctx context.Context, k key) (eventstore.Position, error) {
	id := eventstore.App(string(k.app))
	revision, err := s.log.Revision(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("look for application %s: %w", k.app, err)
	}
	if revision == 0 {
		return 0, accountlist.AppNotFound(k.app)
	}
	for e, err := range s.log.Load(ctx, id) {
		if err != nil {
			return 0, fmt.Errorf("look for application %s: %w", k.app, err)
		}
		if e.Position > k.position {
			return 0, &domain.Rejection{Code: domain.CodeAppNotFound, Detail: fmt.Sprintf("there was no application %q at position %d", k.app, k.position)}
		}
		return e.Position, nil
	}
	return 1, nil // a replica that is behind has answered; whoever reads the log finds out
}

// put gives a list back after a read.
func (s *Lists) put(e *list) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.users--; e.users == 0 {
		s.expire(e)
	}
}

// expire has a list thrown away when nobody reads it for a while. The mutex is held.
func (s *Lists) expire(e *list) {
	e.used = time.Now()
	idle := s.opts.Idle
	if !e.built() {
		idle = min(idle, abandonAfter)
	}
	e.timer = time.AfterFunc(idle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.users == 0 && time.Since(e.used) >= idle {
			s.remove(e)
		}
	})
}

// evict removes the list that nobody has read for the longest time, and tells whether there is one. Lists that are read or being built are not
// removed. The mutex is held.
func (s *Lists) evict() bool {
	var oldest *list
	for _, e := range s.lists {
		if e.users == 0 && e.built() && (oldest == nil || e.used.Before(oldest.used)) {
			oldest = e
		}
	}
	if oldest != nil {
		s.remove(oldest)
	}
	return oldest != nil
}

// remove has a list thrown away. The mutex is held.
func (s *Lists) remove(e *list) {
	if s.lists[e.key] == e {
		delete(s.lists, e.key)
		s.going[e] = true
	}
	e.cancel()
}

// drop has a list thrown away, whoever reads it.
func (s *Lists) drop(e *list) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(e)
}

// makeRoom removes lists that nobody reads until all together take no more than they may and the disk has room. It returns a *domain.Rejection
// when that is not enough for a list that is being built.
func (s *Lists) makeRoom(e *list) error {
	left, err := free(s.folder)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if left < s.opts.Spare && !s.evict() {
		return &domain.Rejection{Code: CodeTooLarge, Detail: fmt.Sprintf("there is no room on the disk of the service for the list as of position %d", e.position)}
	}
	for s.bytes() > s.opts.Bytes {
		if !s.evict() {
			return &domain.Rejection{Code: CodeTooLarge, Detail: fmt.Sprintf(
				"the list of application %s as of position %d takes more than the %d MiB that there are for such lists", e.app, e.position, s.opts.Bytes>>20)}
		}
	}
	return nil
}

// bytes returns how much room all lists take. The mutex is held.
func (s *Lists) bytes() (sum int64) {
	for _, e := range s.lists {
		sum += e.bytes.Load()
	}
	return sum
}

// keep builds a list and keeps it until it is removed.
func (s *Lists) keep(e *list) {
	defer close(e.gone)
	began := time.Now()
	rows, err := s.build(e)
	s.built(e, rows, err)
	logger := s.opts.Logger.With("app", e.app, "position", e.position)
	switch {
	case err == nil:
		logger.Info("a list as of an earlier position is built", "bytes", e.bytes.Load(), "took", time.Since(began))
		<-e.ctx.Done()
	case e.ctx.Err() == nil:
		logger.Warn("a list as of an earlier position could not be built", "error", err)
		sleep(e.ctx, failedFor)
	}
	e.cancel()
	e.follower.Wait()
	s.drop(e)
	if e.left = e.discard(); e.left != nil {
		logger.Error("a list as of an earlier position could not be removed; remove its file when the service is stopped", "file", e.path, "error", e.left)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.going, e)
}

// built tells those who wait that a list is there, or why not.
func (s *Lists) built(e *list, rows *sqlite.Temporary, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.rows, e.failed = rows, err
	close(e.ready)
	if e.users == 0 {
		if e.timer != nil {
			e.timer.Stop()
		}
		s.expire(e)
	}
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
