// Package pgtest runs a PostgreSQL server of its own on loopback, for tests and for trying
// things out on one machine: one server for all tests of a package, one database for each test.
//
// It owns a temporary folder with the server's data and removes both at the end, also when
// its process is killed. It must never be used for data that matters: whoever can reach
// loopback may do anything in the server, and tests run it without fsync.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"rollcall/eventstore/storetest/freeport"
	"rollcall/projections/accountlist/postgres/pglocal"
)

// Fast returns settings for a server whose data may be lost with the machine's power.
func Fast() []string { return []string{"fsync=off", "full_page_writes=off"} }

// Server is a PostgreSQL server. Create one with Start. It is not safe for concurrent use.
type Server struct {
	folder   string // holds the data and the server's log
	bin      string // where the programs are
	port     int
	settings []string
	owner    *syscall.Credential // that the server runs as, nil for that of this process
	keeper   *keeper             // nil while the server is stopped
}

// Start creates a server in a new folder below dir, the system's folder for temporary
// files when dir is empty, and starts it on a free port of 127.0.0.1. The settings are of the
// form name=value. Close it at the end.
//
// Its errors say what is missing where PostgreSQL is not installed. A process of root
// starts the server as the user postgres, or nobody where there is none.
func Start(ctx context.Context, dir string, settings ...string) (*Server, error) {
	bin, err := pglocal.Programs("initdb", "pg_ctl", "postgres")
	if err != nil {
		return nil, err
	}
	owner, err := pglocal.Unprivileged()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp(dir, "rollcall-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder, bin: bin, settings: settings, owner: owner}
	if err := s.create(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), os.RemoveAll(folder))
	}
	return s, nil
}

const userName = "postgres"

func (s *Server) create(ctx context.Context) error {
	if s.owner != nil {
		if err := os.Chown(s.folder, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return err
		}
	}
	// The locale is the least that there is, so that nothing comes to rest on more.
	err := s.run(ctx, "initdb", "--pgdata", s.Folder(), "--username", userName, "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync")
	if err != nil {
		return err
	}
	ports, err := freeport.Choose(1)
	if err != nil {
		return err
	}
	s.port = ports[0]
	return s.Resume(ctx)
}

// Folder returns the data folder of the server. Its files belong to another user where this
// process is one of root.
func (s *Server) Folder() string { return filepath.Join(s.folder, "data") }

// URL returns the address of a database of the server, such as postgres, which always exists.
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(userName), Host: fmt.Sprintf("127.0.0.1:%d", s.port), Path: database}
	return u.String()
}

// Pause stops the server in order; Resume starts it again at the same address.
func (s *Server) Pause() error { return s.stop("fast") }

// Crash stops the server without letting it finish anything. What the operating system holds
// of its files stays, so that this is no power loss.
func (s *Server) Crash() error { return s.stop("immediate") }

// Close stops the server and removes its folder.
func (s *Server) Close() error {
	err := s.stop("immediate")
	return errors.Join(err, os.RemoveAll(s.folder))
}

func (s *Server) stop(mode string) error {
	if s.keeper == nil {
		return nil
	}
	k := s.keeper
	s.keeper = nil
	return k.stop(mode)
}

// Resume starts a server that was stopped.
func (s *Server) Resume(ctx context.Context) error {
	if s.keeper != nil {
		return nil
	}
	options := []string{
		"-c", "listen_addresses=127.0.0.1", "-c", fmt.Sprintf("port=%d", s.port), "-c", "unix_socket_directories=",
		"-c", "max_connections=200",
	}
	for _, setting := range s.settings {
		options = append(options, "-c", setting)
	}
	k, err := keep(ctx, s, strings.Join(options, " "))
	if err != nil {
		return err
	}
	s.keeper = k
	return nil
}

// run runs a program of the server to its end.
func (s *Server) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, output)
	}
	return nil
}
