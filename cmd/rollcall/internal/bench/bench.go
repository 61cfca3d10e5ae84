// Package bench measures this service beside its raw parts on the same machine
// in the same run, and prints a table.
//
// It owns what "side by side" means: the same messages, the same durability, the same
// rows. It runs the real binary and talks to it over HTTP; the raw parts run in this process.
package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Options tell how much is measured. The zero value is refused.
type Options struct {
	// Binary is the program that serves.
	Binary string
	// Accounts is how many accounts the list and the export are measured with.
	Accounts int
	// Seconds is how long each rate of commands is measured.
	Seconds float64
	// Cost measures what an account costs, and nothing else.
	Cost bool
	// Rebuild measures how a list is built anew during writes and reads, and nothing else. It needs DB.
	Rebuild bool
	// DB is the address of an empty PostgreSQL database that Cost and Rebuild keep the list in. Empty: the list is a file.
	DB string
	// Out gets the table, a row as soon as it is measured.
	Out io.Writer
}

// run is one run of the benchmark.
type run struct {
	Options
	dir string
}

// Run measures everything and prints it. It leaves nothing behind.
func Run(ctx context.Context, o Options) (err error) {
	if o.Binary == "" || o.Accounts < 1 || o.Seconds <= 0 || o.Out == nil {
		return fmt.Errorf("the benchmark needs a binary, accounts, seconds and a place to print to")
	}
	dir, err := os.MkdirTemp("", "rollcall-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	r := &run{Options: o, dir: dir}
	parts := []func(context.Context) error{r.commands, r.messages, r.million}
	switch {
	case o.Cost:
		parts = []func(context.Context) error{r.cost}
	case o.Rebuild:
		parts = []func(context.Context) error{r.rebuild}
	}
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) path(name string) string { return filepath.Join(r.dir, name) }

// head prints the headline of a group of rows.
func (r *run) head(title, ours, raw string) {
	fmt.Fprintf(r.Out, "\n%-44s %14s %14s %8s\n", title, ours, raw, "ratio")
}

// beside prints a rate of this service beside that of a raw part.
func (r *run) beside(what string, ours, raw float64) {
	fmt.Fprintf(r.Out, "%-44s %14s %14s %8.2f\n", what, figure(ours), figure(raw), ours/raw)
}

// alone prints what has no raw part to stand beside.
func (r *run) alone(what, value string) { fmt.Fprintf(r.Out, "%-44s %14s\n", what, value) }

// figure writes a rate with the digits that mean something.
func figure(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}
