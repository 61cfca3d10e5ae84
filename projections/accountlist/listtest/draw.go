package listtest

import (
	"flag"
	"strconv"
)

// Draw has each property of a package drawn this many times rather than the hundred of rapid, for each takes a database. It is for TestMain: a flag
// -rapid.checks on the command line, which is read later, goes before it.
func Draw(times int) error { return flag.Set("rapid.checks", strconv.Itoa(times)) }
