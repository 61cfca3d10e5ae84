package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"rollcall/eventstore"
)

//go:embed schema.sql
var schema string

// tablesVersion is the version of schema.sql and of what grams hold.
const tablesVersion = 1

// State is what a generation is there for.
type State string

// The states of a generation.
const (
	Building State = "building" // is filled beside the live one
	Live     State = "live"     // is what readers see; one for each version
	Retired  State = "retired"  // was live; kept to go back to
	Refused  State = "refused"  // was built and does not say what the live one says
)

// Generation is one list among those that the database holds.
type Generation struct {
	Number     int64
	Version    int // of what it holds; a program can read those of its own version
	State      State
	Note       string // why it is refused
	Readable   bool   // whether it is of this program's version
	Checkpoint eventstore.Position
	CreatedAt  time.Time
	PromotedAt time.Time // zero if it was never live
	// Vacuumed is the position up to which the rows of accounts that were deleted are gone, see List.Idle.
	Vacuumed eventstore.Position
	// Stained tells that accounts were deleted from it, whose bytes may be in the unused middle of a page until it is dropped.
	Stained bool
}

// Errors of generations. Test for them with errors.Is.
var (
	// ErrNoGeneration means that there is no generation of that number and this version.
	ErrNoGeneration = errors.New("there is no such list")
	// ErrBehind means that a generation shows less of the log than the live one.
	ErrBehind = errors.New("the list is behind the live one")
	// ErrInUse means that a generation cannot be dropped now.
	ErrInUse = errors.New("the list is in use")
)

// dropWait bounds how long Drop waits for reads of the generation, such as a backup.
const dropWait = 2 * time.Second

// schemaOf is the schema that holds the tables of a generation.
func schemaOf(generation int64) string { return fmt.Sprintf("rollcall_list_%d", generation) }

// in returns a statement for the tables of a generation, which it calls list.<name>.
func in(generation int64, sql string) string {
	return strings.ReplaceAll(sql, "list.", schemaOf(generation)+".")
}

// control runs f in a transaction in which no one else changes generations. Reads go on.
// What it commits is on disk when it returns.
func (db *DB) control(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, db.writers, func(tx pgx.Tx) error {
		if err := lockControl(ctx, tx); err != nil {
			return err
		}
		return f(tx)
	})
}

func lockControl(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = on"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "LOCK TABLE rollcall.lists IN SHARE ROW EXCLUSIVE MODE")
	return err
}

const selectLive = "SELECT generation FROM rollcall.lists WHERE version = $1 AND state = 'live'"

// liveIn returns the generation that is live, zero for none.
func liveIn(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}) (generation int64, err error) {
	err = q.QueryRow(ctx, selectLive, version).Scan(&generation)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return generation, err
}

// ensureLive sees to it that there is a live generation of this version and remembers it.
func (db *DB) ensureLive(ctx context.Context) error {
	generation, err := liveIn(ctx, db.readers)
	if err != nil {
		return err
	}
	if generation == 0 {
		err = db.control(ctx, func(tx pgx.Tx) (err error) {
			if generation, err = liveIn(ctx, tx); err != nil || generation != 0 {
				return err
			}
			generation, err = create(ctx, tx, Live)
			return err
		})
	}
	db.live.Store(generation)
	return err
}

// create creates an empty generation.
func create(ctx context.Context, tx pgx.Tx, state State) (generation int64, err error) {
	const insert = "INSERT INTO rollcall.lists (version, state, promoted_at) " +
		"VALUES ($1, $2, CASE WHEN $2 = 'live' THEN clock_timestamp() END) RETURNING generation"
	if err := tx.QueryRow(ctx, insert, version, string(state)).Scan(&generation); err != nil {
		return 0, err
	}
	name := schemaOf(generation)
	if _, err := tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, "SET LOCAL search_path = "+name+"; "+schema); err != nil {
		return 0, fmt.Errorf("create the tables: %w", err)
	}
	return generation, nil
}

// Create creates an empty list beside the live one and returns its generation. It is to be
// filled through DB.List by a runner of its own, then promoted or dropped.
func (db *DB) Create(ctx context.Context) (generation int64, err error) {
	err = db.control(ctx, func(tx pgx.Tx) error {
		generation, err = create(ctx, tx, Building)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("create a list: %w", reachable(err))
	}
	return generation, nil
}

// Replace makes a generation live whatever the live one shows, which may be damaged, halted or wrong. Otherwise it is like Promote.
func (db *DB) Replace(ctx context.Context, generation int64) error {
	return db.promote(ctx, generation, false)
}

// Promote makes a generation live, in one transaction: every read that begins later, in any
// instance, shows it, and no read fails. The one that was live is retired, so
// that it can be promoted again to go back, once a runner has brought it up to date. Promoting
// the live generation does nothing.
//
// Errors: ErrNoGeneration; ErrBehind while the generation's checkpoint is below that of the
// live one, which is compared in the same transaction.
func (db *DB) Promote(ctx context.Context, generation int64) error {
	return db.promote(ctx, generation, true)
}

func (db *DB) promote(ctx context.Context, generation int64, behind bool) error {
	err := db.control(ctx, func(tx pgx.Tx) error {
		live, err := liveIn(ctx, tx)
		if err != nil || live == generation {
			return err
		}
		if err := exists(ctx, tx, generation); err != nil {
			return err
		}
		if behind {
			if err := caughtUp(ctx, tx, live, generation); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "UPDATE rollcall.lists SET state = 'retired' WHERE generation = $1", live); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE rollcall.lists SET state = 'live', note = '', promoted_at = clock_timestamp() WHERE generation = $1", generation)
		return err
	})
	if err != nil {
		return fmt.Errorf("promote list %d: %w", generation, err)
	}
	db.live.Store(generation) // the others find out when they read or write
	return nil
}

// Rebuild has a generation that is not live brought up to date again by whoever builds: it becomes Building.
// Errors: ErrNoGeneration; ErrInUse for the live one.
func (db *DB) Rebuild(ctx context.Context, generation int64) error {
	err := db.control(ctx, func(tx pgx.Tx) error {
		if err := exists(ctx, tx, generation); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, "UPDATE rollcall.lists SET state = 'building', note = '' WHERE generation = $1 AND state <> 'live'", generation)
		if err == nil && done.RowsAffected() == 0 {
			return fmt.Errorf("%w: it is live", ErrInUse)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("bring list %d up to date: %w", generation, reachable(err))
	}
	return nil
}

// Refuse keeps that a generation that was being built is not to become live, and why.
func (db *DB) Refuse(ctx context.Context, generation int64, why string) error {
	err := db.control(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE rollcall.lists SET state = 'refused', note = $2 WHERE generation = $1 AND state = 'building'", generation, why)
		return err
	})
	if err != nil {
		return fmt.Errorf("refuse list %d: %w", generation, err)
	}
	return nil
}

// exists returns ErrNoGeneration unless there is a generation that this version can read.
func exists(ctx context.Context, tx pgx.Tx, generation int64) error {
	var found bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM rollcall.lists WHERE generation = $1 AND version = $2)", generation, version).Scan(&found)
	if err == nil && !found {
		err = ErrNoGeneration
	}
	return err
}

// caughtUp returns ErrBehind unless a generation shows as much as the live one, whose
// checkpoint stays where it is until the transaction ends.
func caughtUp(ctx context.Context, tx pgx.Tx, live, generation int64) error {
	if live == 0 {
		return nil
	}
	var want, got int64
	if err := tx.QueryRow(ctx, in(live, "SELECT checkpoint FROM list.progress FOR UPDATE")).Scan(&want); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, in(generation, "SELECT checkpoint FROM list.progress")).Scan(&got); err != nil {
		return err
	}
	if got < want {
		return fmt.Errorf("%w: it shows position %d, the live list %d shows %d", ErrBehind, got, live, want)
	}
	return nil
}

// Drop removes a generation that is not live, and with it the files that held it. One of another
// version is removed though it be live for programs of that version; those build another
// one from position zero, so let there be none.
//
// Errors: ErrNoGeneration; ErrInUse for a live one, and while a read of it goes on.
func (db *DB) Drop(ctx context.Context, generation int64) error {
	err := db.control(ctx, func(tx pgx.Tx) error {
		var live bool
		err := tx.QueryRow(ctx, "DELETE FROM rollcall.lists WHERE generation = $1 RETURNING state = 'live' AND version = $2", generation, version).Scan(&live)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return ErrNoGeneration
		case err != nil:
			return err
		case live:
			return fmt.Errorf("%w: it is live; promote another one first", ErrInUse)
		}
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = "+milliseconds(dropWait)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DROP SCHEMA IF EXISTS "+schemaOf(generation)+" CASCADE")
		if code(err) == codeLockNotAvailable {
			return fmt.Errorf("%w: %w", ErrInUse, err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("drop list %d: %w", generation, reachable(err))
	}
	return nil
}

// Generations returns all generations, of other versions too, the oldest first. Checkpoints
// are read for this version's alone.
func (db *DB) Generations(ctx context.Context) (all []Generation, err error) {
	ctx, cancel := context.WithTimeout(ctx, db.readTime)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, db.readers, pgx.TxOptions{}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT generation, version, state, note, created_at, promoted_at, vacuumed, stained FROM rollcall.lists ORDER BY generation")
		if err != nil {
			return err
		}
		if all, err = pgx.CollectRows(rows, readGeneration); err != nil {
			return err
		}
		for i := range all {
			g := &all[i]
			if g.Readable = g.Version == version; !g.Readable {
				continue
			}
			if err := tx.QueryRow(ctx, in(g.Number, "SELECT checkpoint FROM list.progress")).Scan(&g.Checkpoint); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what lists there are: %w", reachable(err))
	}
	return all, nil
}

func readGeneration(row pgx.CollectableRow) (g Generation, err error) {
	var promoted *time.Time
	err = row.Scan(&g.Number, &g.Version, &g.State, &g.Note, &g.CreatedAt, &promoted, &g.Vacuumed, &g.Stained)
	if promoted != nil {
		g.PromotedAt = *promoted
	}
	return g, err
}

// SQLSTATE codes of errors.
const (
	codeUniqueViolation  = "23505"
	codeLockNotAvailable = "55P03"
	codeUndefinedTable   = "42P01"
	codeUndefinedColumn  = "42703"
	codeDataCorrupted    = "XX001"
	codeIndexCorrupted   = "XX002"
)

// code returns the SQLSTATE of an error of the server, empty for any other.
func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
