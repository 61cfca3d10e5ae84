package sqlite

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"rollcall/projections"
	"rollcall/projections/accountlist"
)

//go:embed schema.sql
var schema string

const (
	// applicationID marks the file as an account list: "RCal" as a number.
	applicationID = 0x5243616c
	// tablesVersion is the version of schema.sql and of what postings hold.
	tablesVersion = 2
	// fileVersion changes when either the tables or what they hold change.
	fileVersion = accountlist.Version<<16 | tablesVersion
)

// errOtherVersion means that the file was written by another version of the program.
var errOtherVersion = errors.New("the file is of another version")

// openWriter opens the writing connection of a file that has the tables of this version.
func openWriter(ctx context.Context, path string, sh shape) (*sqlite.Conn, error) {
	conn, err := openFile(ctx, path, sh)
	if !errors.Is(err, errOtherVersion) {
		return conn, err
	}
	if err := removeFiles(path); err != nil {
		return nil, err
	}
	return openFile(ctx, path, sh)
}

// openFile opens the file, or creates it with empty tables.
func openFile(ctx context.Context, path string, sh shape) (_ *sqlite.Conn, err error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	conn.SetBusyTimeout(busyTimeout)
	conn.SetInterrupt(ctx.Done())
	defer conn.SetInterrupt(nil)
	fresh, err := checkFile(conn)
	if err != nil {
		return nil, contextError(ctx, err)
	}
	err = pragmas(conn,
		"synchronous="+sh.synchronous, // first, for to change the journal is to write
		"journal_mode=WAL",
		"secure_delete=ON",
		"temp_store=MEMORY",
		fmt.Sprintf("cache_size=-%d", writerCacheKiB),
		fmt.Sprintf("wal_autocheckpoint=%d", checkpointPages),
	)
	if err == nil && fresh {
		err = createTables(conn)
	}
	if err != nil {
		return nil, contextError(ctx, err)
	}
	return conn, nil
}

// checkFile tells whether the file is new, and refuses one that is not an
// account list of this version.
func checkFile(conn *sqlite.Conn) (fresh bool, err error) {
	id, err := pragma(conn, "application_id")
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultNotADB {
		return false, fmt.Errorf("%w, or the file is not a database at all (%w): choose another path, or "+rebuild, projections.ErrBroken, err)
	}
	if err != nil {
		return false, err
	}
	version, err := pragma(conn, "user_version")
	if err != nil {
		return false, err
	}
	tables, err := count(conn, "SELECT count(*) FROM sqlite_schema")
	switch {
	case err != nil:
		return false, err
	case tables == 0 && id == 0:
		return true, nil
	case id != applicationID:
		return false, errors.New("the file is a database of something else; choose another path")
	case version != fileVersion:
		return false, errOtherVersion
	}
	return false, nil
}

func createTables(conn *sqlite.Conn) error {
	script := fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d;\n%s", applicationID, fileVersion, schema)
	if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
		return fmt.Errorf("create the tables: %w", err)
	}
	return nil
}

// removeFiles removes a database. The write-ahead log goes first: without
// its database it would be played into the next one.
func removeFiles(path string) error {
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the file: %w", err)
		}
	}
	return nil
}

func pragmas(conn *sqlite.Conn, settings ...string) error {
	for _, s := range settings {
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA "+s, nil); err != nil {
			return fmt.Errorf("set %s: %w", s, err)
		}
	}
	return nil
}

func pragma(conn *sqlite.Conn, name string) (int64, error) { return count(conn, "PRAGMA "+name) }

// count returns the number that a query answers with.
func count(conn *sqlite.Conn, sql string, args ...any) (n int64, err error) {
	err = query(conn, sql, func(row *sqlite.Stmt) error {
		n = row.ColumnInt64(0)
		return nil
	}, args...)
	return n, err
}
