package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Times of a lease. A leader that is gone is followed after renewEvery, leaseTime and
// standbyEvery at most, well below five seconds.
const (
	leaseTime    = 2500 * time.Millisecond
	renewEvery   = 700 * time.Millisecond
	renewRetry   = 100 * time.Millisecond
	standbyEvery = 300 * time.Millisecond
	// leaseMargin is how long before the end of its lease a leader gives up that could not
	// renew it, so that its work ends before that of the next one begins.
	leaseMargin = 300 * time.Millisecond
	// releaseTime bounds what a leader does to make way at its end.
	releaseTime = time.Second
)

// Leadership is the right to do something that one instance does at a time, such as to write
// a list. It is a lease in the database, by the server's clock alone. It saves work and
// does not keep anything right: a leader that hangs may wake when another one leads,
// so what it writes needs a fence, as Apply has.
type Leadership struct {
	db     *DB
	name   string
	holder string // this instance, and this Leadership of it
	log    *slog.Logger
}

// Leadership returns the leadership of a name, such as that of a projection, for which this
// instance is from now on one candidate among all that name it.
func (db *DB) Leadership(name string) *Leadership {
	// Programs of two versions have a list each, and a leader each.
	name = fmt.Sprintf("%s/%d", name, version)
	return &Leadership{db: db, name: name, holder: db.id + "/" + rand.Text(), log: db.log.With("leadership", name)}
}

// Run stands by until it can lead, and then calls lead with a context that ends when the
// leadership is lost, after which it waits for lead and stands by again. It ends when its
// context does, then returning nil, or when lead returns while it leads, then returning
// what lead returns. Either way it makes way for another at once.
//
// A leader whose connection, process or machine is gone is followed within five
// seconds, and its sessions are ended, so that a transaction that it has left open holds nothing.
// Trouble with the database is ridden out and logged.
func (l *Leadership) Run(ctx context.Context, lead func(context.Context) error) error {
	for {
		until, err := l.standBy(ctx)
		if err != nil {
			return nil // the context has ended
		}
		l.log.Info("leads")
		ended, err := l.hold(ctx, until, lead)
		if ended || ctx.Err() != nil {
			l.release(ctx)
			return err
		}
		l.log.Warn("leads no more", "error", err)
	}
}

// Holder returns the instance that leads, empty for none, and whether it is this Leadership.
func (l *Leadership) Holder(ctx context.Context) (instance string, mine bool, err error) {
	var holder string
	err = l.db.leases.QueryRow(ctx, "SELECT holder FROM rollcall.leases WHERE name = $1 AND expires_at > clock_timestamp()", l.name).Scan(&holder)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read who leads %s: %w", l.name, err)
	}
	return instanceOf(holder), holder == l.holder, nil
}

func instanceOf(holder string) string {
	instance, _, _ := strings.Cut(holder, "/")
	return instance
}

// standBy waits for the lease and returns until when it is ours, or the context's error.
func (l *Leadership) standBy(ctx context.Context) (until time.Time, err error) {
	for {
		start := time.Now()
		attempt, cancel := context.WithTimeout(ctx, leaseTime)
		taken, err := l.take(attempt)
		cancel()
		if taken {
			return start.Add(leaseTime - leaseMargin), nil
		}
		if err != nil && ctx.Err() == nil {
			l.log.Warn("cannot ask who leads, which is tried again", "error", err)
		}
		if !pause(ctx, standbyEvery) {
			return time.Time{}, ctx.Err()
		}
	}
}

// take takes the lease if no one has it.
func (l *Leadership) take(ctx context.Context) (bool, error) {
	var free bool
	err := l.db.leases.QueryRow(ctx, "SELECT NOT EXISTS (SELECT 1 FROM rollcall.leases WHERE name = $1 AND holder <> $2 AND expires_at > clock_timestamp())",
		l.name, l.holder).Scan(&free)
	if err != nil || !free {
		return false, err
	}
	const take = `WITH before AS (SELECT holder FROM rollcall.leases WHERE name = $1)
		INSERT INTO rollcall.leases AS l (name, holder, term, expires_at) VALUES ($1, $2, 1, clock_timestamp() + $3)
		ON CONFLICT (name) DO UPDATE SET holder = $2, term = l.term + 1, expires_at = clock_timestamp() + $3
		WHERE l.holder = $2 OR l.expires_at <= clock_timestamp()
		RETURNING coalesce((SELECT holder FROM before), '')`
	var before string
	err = l.db.leases.QueryRow(ctx, take, l.name, l.holder, leaseTime).Scan(&before)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil // another one was faster
	}
	if err != nil {
		return false, err
	}
	l.evict(ctx, instanceOf(before))
	return true, nil
}

// evict ends the writing sessions of an instance that did not make way: it may be stopped
// in a transaction. One that lives makes new sessions.
func (l *Leadership) evict(ctx context.Context, instance string) {
	if instance == "" || instance == l.db.id {
		return
	}
	const end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1 AND usename = current_user"
	var ended int
	if err := l.db.leases.QueryRow(ctx, end, sessionName(writerPool, instance)).Scan(&ended); err != nil {
		l.log.Warn("cannot end the sessions of the leader before", "instance", instance, "error", err)
		return
	}
	l.log.Info("takes over", "from", instance, "sessions ended", ended)
}

// hold calls lead and renews the lease until lead returns, in which case ended is true, or
// the lease is lost. It returns when lead has returned.
func (l *Leadership) hold(ctx context.Context, until time.Time, lead func(context.Context) error) (ended bool, err error) {
	leading, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- lead(leading) }()
	renewing, stop := context.WithCancel(ctx)
	defer stop()
	lost := make(chan error, 1)
	go func() { lost <- l.renew(renewing, until) }()
	select {
	case err := <-result:
		stop()
		<-lost
		return true, err
	case err := <-lost:
		cancel()
		if lerr := <-result; ctx.Err() != nil {
			return true, lerr
		}
		return false, err
	}
}

var errTaken = errors.New("another instance has the lease")

// renew renews the lease until it cannot, and returns why.
func (l *Leadership) renew(ctx context.Context, until time.Time) error {
	wait := renewEvery
	for {
		if !pause(ctx, min(wait, time.Until(until))) {
			return ctx.Err()
		}
		start := time.Now()
		attempt, cancel := context.WithDeadline(ctx, until)
		tag, err := l.db.leases.Exec(attempt, "UPDATE rollcall.leases SET expires_at = clock_timestamp() + $3 WHERE name = $1 AND holder = $2",
			l.name, l.holder, leaseTime)
		cancel()
		switch {
		case err == nil && tag.RowsAffected() == 0:
			return errTaken
		case err == nil:
			until, wait = start.Add(leaseTime-leaseMargin), renewEvery
		case !time.Now().Before(until):
			return fmt.Errorf("the lease could not be renewed: %w", err)
		default:
			wait = renewRetry
		}
	}
}

// release makes way for another, also when the context has ended.
func (l *Leadership) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	if _, err := l.db.leases.Exec(ctx, "DELETE FROM rollcall.leases WHERE name = $1 AND holder = $2", l.name, l.holder); err != nil {
		l.log.Warn("cannot make way, so that others wait for the end of the lease", "error", err)
	}
}

// pause waits and tells whether it could do so to the end.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
