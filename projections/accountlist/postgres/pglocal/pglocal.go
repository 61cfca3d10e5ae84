// Package pglocal finds the PostgreSQL that is installed on this machine, for those who run a server of their own.
//
// It must never start anything itself, nor change what is installed.
package pglocal

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Programs returns the folder that has the named programs of PostgreSQL: that of the path, or else of
// the newest version that Debian has installed, which keeps versions side by side and out of
// the path. Its error says what is missing.
func Programs(names ...string) (string, error) {
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(folders, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			folders = append([]string{filepath.Dir(path)}, folders...)
		}
	}
	for _, folder := range folders {
		if has(folder, names) {
			return folder, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL is not installed: there is no folder with %s in the path or at /usr/lib/postgresql/*/bin; on Debian, install the package postgresql",
		strings.Join(names, " and "))
}

func has(folder string, programs []string) bool {
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join(folder, program)); err != nil {
			return false
		}
	}
	return true
}

// version returns the version in a folder such as /usr/lib/postgresql/15/bin, zero for none.
func version(folder string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
	if err != nil {
		return 0
	}
	return n
}

// Unprivileged returns the user that a server of root runs as, for it refuses root itself; nil for
// any other user, who runs it.
func Unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL must not run as root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
