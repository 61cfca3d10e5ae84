package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"rollcall/eventstore"
)

// Apply applies events that follow a position, as List.Apply does.
type Apply func(ctx context.Context, from, until eventstore.Position) error

// Compare tells in which applications a generation differs from the live list, at one position of the log, none when they say the same.
// Nobody else may write the generation meanwhile. Its checkpoint must not be past that of the live list, else
// ErrAhead; catchUp is called to bring it up to that, while the live list waits for a moment. Reads and batches go on while rows are
// compared, which takes a few seconds for a million accounts.
func (db *DB) Compare(ctx context.Context, generation int64, catchUp Apply) (different []string, err error) {
	live, snapshot, err := db.align(ctx, generation, catchUp)
	if err != nil {
		return nil, fmt.Errorf("compare list %d with the live one: %w", generation, err)
	}
	defer snapshot.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it has changed nothing
	want, err := digests(ctx, snapshot, live)
	if err != nil {
		return nil, fmt.Errorf("compare list %d with the live one: %w", generation, err)
	}
	got, err := digests(ctx, snapshot, generation)
	if err != nil {
		return nil, fmt.Errorf("compare list %d with the live one: %w", generation, err)
	}
	for app := range maps.Keys(got) {
		if _, known := want[app]; !known {
			want[app] = ""
		}
	}
	for _, app := range slices.Sorted(maps.Keys(want)) {
		if want[app] != got[app] {
			different = append(different, app)
		}
	}
	return different, nil
}

// ErrAhead means that a generation shows more of the log than the live list yet.
var ErrAhead = errors.New("the list is ahead of the live one")

// ErrMoved means that the live list has moved on while both were brought to one position. Compare again.
var ErrMoved = errors.New("the live list has moved on")

// align brings a generation to the position of the live list, and returns a snapshot of both.
func (db *DB) align(ctx context.Context, generation int64, catchUp Apply) (live int64, snapshot pgx.Tx, err error) {
	// Whoever holds the row of the checkpoint keeps the live list where it is.
	hold, err := db.scanners.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadWrite, IsoLevel: pgx.ReadCommitted}) // no writer is kept from its connection
	if err != nil {
		return 0, nil, err
	}
	defer hold.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it has changed nothing
	// If this process hangs, the live list must not wait for it.
	if _, err := hold.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = '10s'"); err != nil {
		return 0, nil, err
	}
	if live, err = liveIn(ctx, hold); err != nil {
		return 0, nil, err
	}
	var at, from int64
	if err := hold.QueryRow(ctx, in(live, "SELECT checkpoint FROM list.progress FOR UPDATE")).Scan(&at); err != nil {
		return 0, nil, err
	}
	if err := hold.QueryRow(ctx, in(generation, "SELECT checkpoint FROM list.progress")).Scan(&from); err != nil {
		return 0, nil, err
	}
	if from > at {
		return 0, nil, ErrAhead
	}
	if from < at {
		if err := catchUp(ctx, eventstore.Position(from), eventstore.Position(at)); err != nil {
			return 0, nil, err
		}
	}
	snapshot, err = db.scanners.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return 0, nil, err
	}
	// The hold may have been lost meanwhile, and the live list have moved on.
	var one, other int64
	err = snapshot.QueryRow(ctx, in(live, "SELECT checkpoint FROM list.progress")).Scan(&one) // takes the snapshot
	if err == nil {
		err = snapshot.QueryRow(ctx, in(generation, "SELECT checkpoint FROM list.progress")).Scan(&other)
	}
	if err == nil && one != other {
		err = fmt.Errorf("%w: it shows position %d, the live one %d", ErrMoved, other, one)
	}
	if err != nil {
		return 0, nil, errors.Join(err, snapshot.Rollback(context.WithoutCancel(ctx)))
	}
	return live, snapshot, nil
}

// comparedColumns are all columns of an account but the number that its application has in one list, and the grams, which are made of
// that number and follow from the others.
var comparedColumns = strings.Fields("created_at updated_at revision language msg_settings level role birthday user_id type nickname folded " +
	"face_url gender location self_signature allow_type admin_forbid_type")

// digests returns what tells the contents of each application of a list from any other, unless by chance.
func digests(ctx context.Context, tx pgx.Tx, generation int64) (map[string]string, error) {
	sql := in(generation, "SELECT p.app, concat_ws('|', p.created_at, p.updated_at, p.revision, p.normals, p.admins, p.max_admins, p.name, "+
		"count(a.app), bit_xor(hashtextextended(ROW(a."+strings.Join(comparedColumns, ", a.")+")::text, 0))) "+
		"FROM list.apps p LEFT JOIN list.accounts a ON a.app = p.id GROUP BY p.id")
	if _, err := tx.Exec(ctx, "SET LOCAL enable_seqscan = on"); err != nil { // all is read
		return nil, err
	}
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string)
	var app, digest string
	_, err = pgx.ForEachRow(rows, []any{&app, &digest}, func() error {
		all[app] = digest
		return nil
	})
	return all, err
}
