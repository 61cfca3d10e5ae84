package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/projections/accountlist"
)

// Temporary is a list that is loaded once and thrown away with its process, or before. It reads as a List does, with fewer connections, and
// does not wait for the disk. It is safe for concurrent use.
type Temporary struct {
	list  *List
	reads sync.RWMutex // held by those that run; overwriting what is in a file needs them gone
}

// temporary is a list that is built again when it is lost. Once loaded, it keeps up to 10 MiB of pages in memory.
var temporary = shape{readers: 4, scanners: 1, synchronous: "OFF", erasesLater: true}

const temporaryMode = 0o600

// OpenTemporary makes an empty list at path. What was there is removed. The list is to be discarded.
func OpenTemporary(ctx context.Context, path string, c *codec.Codec) (*Temporary, error) {
	if err := removeFiles(path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, temporaryMode) // the files beside it get the same mode
	if err != nil {
		return nil, fmt.Errorf("make a temporary list: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("make a temporary list: %w", err)
	}
	l, err := open(ctx, path, temporary, c, nil)
	if err != nil {
		return nil, errors.Join(err, removeFiles(path))
	}
	l.erasure.due = false // the file is new
	return &Temporary{list: l}, nil
}

// Load applies events behind the position from, in order, and moves the checkpoint to the position to. Events between the two that are not
// given, such as those of other applications, are passed over. Errors: as of List.Apply.
func (t *Temporary) Load(ctx context.Context, from, to eventstore.Position, events []eventstore.Envelope) error {
	at := from
	for i := range events {
		if events[i].Position <= at || events[i].Position > to {
			return fmt.Errorf("%w: position %d came behind %d on the way to %d", eventstore.ErrDamaged, events[i].Position, at, to)
		}
		at = events[i].Position
	}
	decoded, err := accountlist.Decode(ctx, t.list.codec, events)
	return t.list.apply(ctx, from, to, run{envelopes: events, events: decoded, rest: err})
}

// Loaded makes the list ready for reads: it gives memory back that loading needed.
func (t *Temporary) Loaded(ctx context.Context) error {
	return t.list.write(ctx, func(conn *sqlite.Conn) error {
		return pragmas(conn, "wal_checkpoint(TRUNCATE)", fmt.Sprintf("cache_size=-%d", readerCacheKiB), "shrink_memory")
	})
}

// Wipe unsets what accounts of an application hold, wherever a file has it; they stay in the list. Those that are not in it are passed
// over. What was overwritten or removed before is gone from the files as well. It waits for reads that run, and takes about a second a GiB
// when there is something to do.
func (t *Temporary) Wipe(ctx context.Context, app domain.AppID, ids ...domain.UserID) error {
	t.reads.Lock()
	defer t.reads.Unlock()
	l := t.list
	return l.write(ctx, func(conn *sqlite.Conn) error {
		wiped := false
		err := transact(conn, func() (err error) {
			wiped, err = wipe(conn, app, ids)
			return err
		})
		if err != nil {
			return fmt.Errorf("wipe accounts: %w", err)
		}
		l.erasure.due = l.erasure.due || wiped
		return l.eraseNow()
	})
}

// wipe unsets the profiles of accounts and tells whether there was anything.
func wipe(conn *sqlite.Conn, appID domain.AppID, ids []domain.UserID) (wiped bool, err error) {
	b, err := newBatch(conn)
	if err != nil {
		return false, err
	}
	app, err := b.app(appID)
	if err != nil || !app.stored {
		return false, err
	}
	for _, id := range ids {
		s, err := b.account(app, id, false)
		if err != nil {
			return false, err
		}
		wiped = wiped || s.now.Profile != domain.Profile{}
		s.now.Profile = domain.Profile{}
	}
	if !wiped {
		return false, nil
	}
	return true, b.flush()
}

// Page returns one page of an application's accounts, as List.Page does.
func (t *Temporary) Page(ctx context.Context, l domain.Listing) (domain.Page, error) {
	t.reads.RLock()
	defer t.reads.RUnlock()
	return t.list.Page(ctx, l)
}

// Bytes returns how much room the files take.
func (t *Temporary) Bytes() (n int64, err error) {
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(t.list.path + suffix)
		if err != nil {
			return 0, fmt.Errorf("look at a temporary list: %w", err)
		}
		n += info.Size()
	}
	return n, nil
}

// Discard ends reads that run, waits for them, and removes the files.
func (t *Temporary) Discard() error {
	t.list.mu.Lock()
	t.list.erasure = erasure{} // there is no need to overwrite what goes
	t.list.mu.Unlock()
	return errors.Join(t.list.Close(), removeFiles(t.list.path))
}
