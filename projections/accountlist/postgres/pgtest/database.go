package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variables of the environment by which the tests of a package, and processes that they
// start, know the package's server.
const (
	urlVariable    = "ROLLCALL_TEST_POSTGRES"
	folderVariable = "ROLLCALL_TEST_POSTGRES_FOLDER"
)

// longest bounds what creates and removes a database.
const longest = time.Minute

// Main runs the tests of a package with a server for them and returns the exit status:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
func Main(m interface{ Run() int }) int {
	status, err := runMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(status, 1)
	}
	return status
}

func runMain(m interface{ Run() int }) (status int, err error) {
	server, err := Start(context.Background(), "", Fast()...)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	for name, value := range map[string]string{urlVariable: server.URL("postgres"), folderVariable: server.Folder()} {
		if err := os.Setenv(name, value); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// DataFolder returns the data folder of the package's server.
func DataFolder(t testing.TB) string { return variable(t, folderVariable) }

func variable(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatal("there is no server: TestMain is to call pgtest.Main")
	}
	return value
}

// Database creates an empty database on the package's server and returns its address. The
// end of the test removes it, whoever is connected still.
func Database(t testing.TB) string {
	t.Helper()
	server := variable(t, urlVariable)
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "test_" + strings.ToLower(rand.Text())
	name := pgx.Identifier{u.Path}.Sanitize()
	execute(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	return u.String()
}

// execute runs one statement, also when the test's context has ended.
func execute(t testing.TB, server, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longest)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing is lost with it
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Errorf("%s: %v", sql, err)
	}
}
