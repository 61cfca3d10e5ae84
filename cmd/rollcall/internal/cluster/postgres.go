package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"rollcall/projections/accountlist/postgres/pglocal"
)

// postgres is a PostgreSQL server with one database, in a folder.
type postgres struct {
	bin      string // folder of its programs
	folder   *os.File
	owner    *syscall.Credential // that it runs as, nil for that of this process
	port     int
	password string
}

const (
	database  = "rollcall" // and the user whose it is
	dataName  = "data"
	draftName = "draft" // what is to become the data, until it is whole
)

// openPostgres creates a database in a folder when there is none.
func openPostgres(ctx context.Context, folder string, port int, password string) (*postgres, error) {
	db := &postgres{port: port, password: password}
	if err := db.open(ctx, folder); err != nil {
		return nil, errors.Join(fmt.Errorf("set up PostgreSQL: %w", err), db.close())
	}
	return db, nil
}

func (db *postgres) open(ctx context.Context, folder string) (err error) {
	if db.bin, err = pglocal.Programs("initdb", "postgres"); err != nil {
		return err
	}
	if db.owner, err = pglocal.Unprivileged(); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	if db.owner != nil {
		if err := os.Chown(folder, int(db.owner.Uid), int(db.owner.Gid)); err != nil {
			return err
		}
	}
	if db.folder, err = os.Open(folder); err != nil {
		return err
	}
	return db.create(ctx)
}

func (db *postgres) close() error {
	if db.folder == nil {
		return nil
	}
	return db.folder.Close()
}

// create makes the database, when there is none. What was interrupted is begun anew.
func (db *postgres) create(ctx context.Context) error {
	_, err := os.Stat(db.file(dataName))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(db.file(draftName)); err != nil {
		return err
	}
	// The superuser has no password, and so cannot come in over TCP, which is the only way in.
	init := db.program("initdb", "--pgdata", db.seen(draftName), "--username", "postgres", "--auth-local", "peer", "--auth-host", "scram-sha-256",
		"--encoding", "UTF8", "--locale", "C")
	if err := finish(ctx, init); err != nil {
		return err
	}
	single := db.program("postgres", "--single", "-D", db.seen(draftName), "postgres")
	single.Stdin = strings.NewReader(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'\nCREATE DATABASE %s OWNER %s\n", database, db.password, database, database))
	if err := finish(ctx, single); err != nil {
		return err
	}
	return os.Rename(db.file(draftName), db.file(dataName))
}

// file returns the path of something in the folder, as this process sees it.
func (db *postgres) file(name string) string { return filepath.Join(db.folder.Name(), name) }

// seen returns the path of something in the folder as the server sees it. The server of root is another user, who may be kept out of a folder
// above; it is handed its own as an open file.
func (db *postgres) seen(name string) string {
	if db.owner == nil {
		return db.file(name)
	}
	return filepath.Join("/proc/self/fd/3", name)
}

// program returns a process of PostgreSQL.
func (db *postgres) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(db.bin, name), args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: db.owner}
	if db.owner != nil {
		cmd.ExtraFiles = []*os.File{db.folder}
	}
	return cmd
}

// finish runs a process to its end, or kills it when ctx ends.
func finish(ctx context.Context, cmd *exec.Cmd) error {
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended
	defer stop()
	if output, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, output), ctx.Err())
	}
	return nil
}

// command makes the process of the server.
func (db *postgres) command() *exec.Cmd {
	return db.program("postgres", "-D", db.seen(dataName), "-c", "listen_addresses="+host, "-c", "port="+strconv.Itoa(db.port),
		"-c", "unix_socket_directories=", "-c", "logging_collector=off", "-c", "log_destination=stderr")
}

// ready tells whether the server takes connections, which it writes into the file that it locks its data with. That of a server that was
// killed is still there.
func (db *postgres) ready(_ context.Context, pid int) error {
	b, err := os.ReadFile(filepath.Join(db.file(dataName), "postmaster.pid"))
	if err != nil {
		return err
	}
	const status = 7 // the line, counted from zero
	if lines := strings.Split(string(b), "\n"); lines[0] != strconv.Itoa(pid) || len(lines) <= status || strings.TrimSpace(lines[status]) != "ready" {
		return errors.New("PostgreSQL is starting")
	}
	return nil
}

// url returns the address of the database.
func (db *postgres) url() string {
	return (&url.URL{Scheme: "postgres", User: url.User(database), Host: at(db.port), Path: database}).String()
}
