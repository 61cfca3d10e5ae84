// Command tally reads what go test -json writes and prints what a person wants of
// it: a line a package, the output of what failed, and at the end "N passed, N failed".
//
// It must never hide a failure: a package that does not build, a test that did not
// end and a test that skipped itself count as failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

func main() {
	failed, err := tally(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// event is one line of go test -json; see go doc cmd/test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build event
	Test       string
	Output     string
	Elapsed    float64
}

// key names a test, or with an empty test its package.
type key struct{ pkg, test string }

// tally returns how many tests failed.
func tally(in io.Reader, out io.Writer) (failed int, err error) {
	output := make(map[key][]string)
	running := make(map[key]bool)
	failures := make(map[string]int) // failed tests of a package
	passed := 0
	fail := func(k key, why string) {
		failed++
		failures[k.pkg]++
		fmt.Fprintf(out, "%s: %s %s\n", why, k.pkg, k.test)
		for _, line := range output[k] {
			fmt.Fprint(out, "    ", line)
		}
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(out, lines.Text()) // the go command itself says something
			continue
		}
		k := key{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			output[k] = append(output[k], e.Output)
		case "start":
			running[k] = true
		case "run":
			running[k] = true
		case "pass", "fail", "skip":
			delete(running, k)
			switch {
			case e.Test == "":
				endPackage(out, e, failures[e.Package] > 0, func() { fail(k, "FAIL") })
			case e.Action == "pass":
				passed++
			case e.Action == "skip":
				fail(k, "SKIPPED, which counts as failed")
			default:
				fail(k, "FAIL")
			}
			delete(output, k)
		}
	}
	if err := lines.Err(); err != nil {
		return failed, fmt.Errorf("read the output of go test: %w", err)
	}
	for _, k := range slices.SortedFunc(maps.Keys(running), func(a, b key) int { return slices.Compare([]string{a.pkg, a.test}, []string{b.pkg, b.test}) }) {
		if k.test != "" {
			fail(k, "DID NOT END")
		}
	}
	if passed == 0 && failed == 0 {
		return 0, fmt.Errorf("no test was run")
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	return failed, nil
}

// endPackage prints the line of a package. A package that failed without any failed test, as one
// that does not build does, is itself the failure.
func endPackage(out io.Writer, e event, counted bool, fail func()) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(out, "ok    %-50s %6.1fs\n", e.Package, e.Elapsed)
	case "skip":
		fmt.Fprintf(out, "-     %-50s no tests\n", e.Package)
	default:
		fmt.Fprintf(out, "FAIL  %-50s %6.1fs\n", e.Package, e.Elapsed)
		if !counted {
			fail()
		}
	}
}
