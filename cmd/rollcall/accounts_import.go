package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"rollcall/cmd/rollcall/internal/client"
)

// accountImportCmd imports accounts from a file.
type accountImportCmd struct {
	File   string `arg:"" help:"NDJSON or CSV, told by its name; - for standard input."`
	Mode   string `help:"create refuses accounts that exist; upsert makes each account as the file has it, so that an import can be run again." enum:"create,upsert" default:"create"`
	Format string `help:"ndjson or csv, where the name does not tell." enum:",ndjson,csv" default:""`
	Report string `help:"Write the rows that were refused to this file, as NDJSON, instead of to standard error." placeholder:"FILE"`
}

// Help tells the exit status.
func (c *accountImportCmd) Help() string {
	return "Exit status: 0 when every row was accepted, 3 when some were refused, 1 when the import broke off. " +
		"An import that broke off is run again with --mode upsert: rows that are there already stay as they are."
}

// Run streams the file to the service and prints a summary.
func (c *accountImportCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	kind, err := c.contentType()
	if err != nil {
		return err
	}
	in, size, err := openInput(c.File, s.in)
	if err != nil {
		return err
	}
	defer in.Close()
	refused, closeReport, err := c.report(s.err)
	if err != nil {
		return err
	}
	sum, err := importRows(ctx, api, app, importInput{Mode: c.Mode, ContentType: kind, Rows: in, Size: size}, s.err, refused)
	if err := errors.Join(err, closeReport()); err != nil {
		return fmt.Errorf("import %s: %w (%s)", c.File, err, sum)
	}
	if r.Output == "table" {
		_, err = fmt.Fprintln(s.out, sum)
	} else {
		err = printAll(s, r.Output, summaryColumns, *sum)
	}
	if err != nil {
		return err
	}
	return sum.verdict(c.File)
}

func (c *accountImportCmd) contentType() (string, error) {
	name := strings.ToLower(c.File)
	switch {
	case c.Format == "ndjson", c.Format == "" && (strings.HasSuffix(name, ".ndjson") || strings.HasSuffix(name, ".jsonl")):
		return "application/x-ndjson", nil
	case c.Format == "csv", c.Format == "" && strings.HasSuffix(name, ".csv"):
		return "text/csv", nil
	}
	return "", usage("say with --format ndjson or --format csv what %s holds", c.File)
}

// report returns where refused rows go.
func (c *accountImportCmd) report(stderr io.Writer) (io.Writer, func() error, error) {
	if c.Report == "" {
		return stderr, func() error { return nil }, nil
	}
	f, err := os.Create(c.Report)
	if err != nil {
		return nil, nil, fmt.Errorf("write the report: %w", err)
	}
	w := bufio.NewWriter(f)
	return w, func() error { return errors.Join(w.Flush(), f.Close()) }, nil
}

// openInput opens a file of rows, and tells its size where it has one.
func openInput(name string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(stdin), 0, nil
	}
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return nil, 0, fmt.Errorf("open the rows: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open the rows: %w", err), f.Close())
	}
	if info.IsDir() {
		return nil, 0, errors.Join(usage("%s is a folder; name a file", name), f.Close())
	}
	return f, info.Size(), nil
}

// importInput is what is imported.
type importInput struct {
	Mode, ContentType string
	Rows              io.Reader
	Size              int64 // bytes, zero when unknown
}

// importSummary counts the results of an import.
type importSummary struct {
	Rows      int64         `json:"rows"`
	Created   int64         `json:"created"`
	Edited    int64         `json:"edited"`
	Unchanged int64         `json:"unchanged"`
	Refused   int64         `json:"refused"`
	Failed    int64         `json:"failed"` // the service could not decide
	Position  uint64        `json:"position"`
	Took      time.Duration `json:"took_ns"`

	problem *client.Problem // of the last refused row
	failure *client.Problem // of the last failed row
}

var summaryColumns = []column[importSummary]{
	{"rows", func(s importSummary) string { return whole(s.Rows) }},
	{"created", func(s importSummary) string { return whole(s.Created) }},
	{"edited", func(s importSummary) string { return whole(s.Edited) }},
	{"unchanged", func(s importSummary) string { return whole(s.Unchanged) }},
	{"refused", func(s importSummary) string { return whole(s.Refused) }},
	{"failed", func(s importSummary) string { return whole(s.Failed) }},
	{"position", func(s importSummary) string { return whole(s.Position) }},
}

func (s *importSummary) String() string {
	text := fmt.Sprintf("%s rows: %s created, %s edited, %s unchanged, %s refused",
		grouped(s.Rows), grouped(s.Created), grouped(s.Edited), grouped(s.Unchanged), grouped(s.Refused))
	if s.Failed > 0 {
		text += fmt.Sprintf(", %s failed", grouped(s.Failed))
	}
	if seconds := s.Took.Seconds(); seconds > 0 && s.Rows > 0 {
		text += fmt.Sprintf(", in %.1f s, %s/s", seconds, grouped(int64(float64(s.Rows)/seconds)))
	}
	return text
}

// verdict returns the error of an import in which not every row was accepted.
func (s *importSummary) verdict(name string) error {
	switch {
	case s.Failed > 0:
		return fmt.Errorf("import %s: %s of %s rows failed, the last because: %s; run it again with --mode upsert", name, grouped(s.Failed), grouped(s.Rows), s.failure)
	case s.Refused > 0:
		return fmt.Errorf("import %s: %s of %s rows were refused, the last because: %w", name, grouped(s.Refused), grouped(s.Rows), s.problem)
	}
	return nil
}

// count adds a result.
func (s *importSummary) count(row client.RowResult) {
	s.Rows++
	s.Position = max(s.Position, row.Position)
	problem := row.Problem()
	switch {
	case problem != nil && problem.Refused():
		s.Refused++
		s.problem = problem
	case problem != nil:
		s.Failed++
		s.failure = problem
	case row.Status == "created":
		s.Created++
	case row.Status == "edited":
		s.Edited++
	default:
		s.Unchanged++
	}
}

// importRows imports rows, tells the progress on stderr and writes the results of rows that were not
// accepted to refused. The summary holds what was told until an error.
func importRows(ctx context.Context, api *client.Client, app string, in importInput, stderr, refused io.Writer) (*importSummary, error) {
	sum := &importSummary{}
	read := &countingReader{r: in.Rows}
	bar := newProgress(stderr, "rows", 0)
	started := time.Now()
	err := api.ImportAccounts(ctx, app, client.Import{Mode: in.Mode, ContentType: in.ContentType}, read, func(row client.RowResult) error {
		sum.count(row)
		bar.total = max(sum.Rows, read.total(in.Size))
		bar.at(sum.Rows)
		if row.Code == "" {
			return nil
		}
		bar.end()
		_, err := refused.Write(append(slices.Clip(row.Raw), '\n'))
		return err
	})
	bar.end()
	sum.Took = time.Since(started)
	return sum, err
}

// countingReader counts the bytes and lines that were read, which another goroutine asks for.
type countingReader struct {
	r            io.Reader
	bytes, lines atomic.Int64
}

// Read reads and counts.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.lines.Add(int64(bytes.Count(p[:n], []byte{'\n'})))
	c.bytes.Add(int64(n))
	return n, err
}

// total tells how many lines a file of the given size probably has, by those read so far; zero
// where that cannot be told.
func (c *countingReader) total(size int64) int64 {
	n := c.bytes.Load()
	if size == 0 || n == 0 {
		return 0
	}
	return int64(float64(c.lines.Load()) * float64(size) / float64(n))
}
