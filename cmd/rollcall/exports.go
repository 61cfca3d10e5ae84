package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"rollcall/cmd/rollcall/internal/client"
)

// exportsCmd are the commands on exports.
type exportsCmd struct {
	remote

	Create   exportCreateCmd   `cmd:"" help:"Order an export of all accounts, of those named, or of those a filter lets through."`
	List     exportListCmd     `cmd:"" help:"List the exports."`
	Get      exportGetCmd      `cmd:"" help:"Show one export with a fresh download URL."`
	Watch    exportWatchCmd    `cmd:"" help:"Follow an export until it is finished."`
	Cancel   exportCancelCmd   `cmd:"" help:"Cancel an export."`
	Download exportDownloadCmd `cmd:"" help:"Wait for an export and download its file."`
}

var exportColumns = []column[client.Export]{
	{"id", func(e client.Export) string { return e.ID }},
	{"status", func(e client.Export) string { return e.Status }},
	{"format", func(e client.Export) string { return e.Format }},
	{"rows", func(e client.Export) string { return nonzero(e.Rows) }},
	{"bytes", func(e client.Export) string { return nonzero(e.Bytes) }},
	{"requested_at", func(e client.Export) string { return moment(e.RequestedAt) }},
	{"error", func(e client.Export) string { return e.Error }},
}

// exportDetails are the columns of one export.
var exportDetails = append(exportColumns[:len(exportColumns):len(exportColumns)],
	column[client.Export]{"compression", func(e client.Export) string { return e.Compression }},
	column[client.Export]{"position", func(e client.Export) string { return nonzero(e.Position) }},
	column[client.Export]{"sha256", func(e client.Export) string { return e.SHA256 }},
	column[client.Export]{"expires_at", func(e client.Export) string { return moment(e.ExpiresAt) }},
	column[client.Export]{"download_url", func(e client.Export) string { return e.DownloadURL }},
	column[client.Export]{"manifest_url", func(e client.Export) string { return e.ManifestURL }},
	column[client.Export]{"download_url_expires_at", func(e client.Export) string { return moment(e.URLExpiresAt) }},
)

// printExport prints one export, below each other in a table.
func printExport(s *streams, format string, e client.Export) error {
	if format != "table" {
		return printAll(s, format, exportDetails, e)
	}
	t := tableWriter{w: s.out}
	for _, c := range exportDetails {
		if v := c.text(e); v != "" {
			t.add([]string{c.name, v})
		}
	}
	return t.flush()
}

// exportCreateCmd orders an export.
type exportCreateCmd struct {
	Format      string   `help:"csv, ndjson, xlsx or parquet." default:"csv"`
	Compression string   `help:"none, gzip or zstd. xlsx takes none alone, for it is compressed already." default:"none"`
	UserID      []string `help:"Only these accounts." placeholder:"USER_ID,…"`
	Type        string   `help:"Only accounts of this type: normal or admin."`
	Q           string   `help:"Only accounts with this text in the user id or nickname." placeholder:"TEXT"`
	Fields      []string `help:"Only these fields; all unless told." placeholder:"FIELD,…"`
	AsOf        string   `help:"As the accounts were at this time or position, without those that were deleted since." placeholder:"TIME|POSITION"`
	Watch       bool     `help:"Follow the export until it is finished."`
	Wait        bool     `help:"The same as --watch."`
	// Download implies Watch.
	Download downloadTarget `help:"Follow the export and download its file: to FILE, a folder, - for standard output or, with neither, a name made of the application and the export."`
}

// Run orders the export and prints it.
func (c *exportCreateCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	order := client.ExportOrder{Format: c.Format, Compression: c.Compression, UserIDs: c.UserID, Fields: c.Fields, AsOf: c.AsOf}
	if c.Type != "" || c.Q != "" {
		order.Filter = &client.ExportFilter{Type: c.Type, Text: c.Q}
	}
	e, err := api.CreateExport(ctx, app, order)
	if err != nil {
		return err
	}
	if c.Download.wanted {
		return fetchExport(ctx, api, e, c.Download.to, r.Output, s)
	}
	watch := c.Watch || c.Wait
	if watch {
		if e, err = watchExport(ctx, api, app, e.ID, s.err); err != nil {
			return err
		}
	}
	if err := printExport(s, r.Output, e); err != nil {
		return err
	}
	return exportVerdict(e, watch)
}

// exportListCmd lists exports.
type exportListCmd struct{}

// Run prints the exports.
func (c *exportListCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	columns := exportColumns
	if r.Output == "csv" {
		columns = exportDetails
	}
	p := newPrinter(s, r.Output, columns)
	for e, err := range api.Exports(ctx, app) {
		if err != nil {
			return err
		}
		if err := p.print(e); err != nil {
			return err
		}
	}
	return p.flush()
}

// exportGetCmd shows an export.
type exportGetCmd struct {
	ID string `arg:"" help:"The export."`
}

// Run prints the export.
func (c *exportGetCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	e, err := api.Export(ctx, app, c.ID)
	if err != nil {
		return err
	}
	return printExport(s, r.Output, e)
}

// exportWatchCmd follows an export.
type exportWatchCmd struct {
	ID string `arg:"" help:"The export."`
}

// Run prints the export when it is finished. One that did not complete is an error.
func (c *exportWatchCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	e, err := watchExport(ctx, api, app, c.ID, s.err)
	if err != nil {
		return err
	}
	if err := printExport(s, r.Output, e); err != nil {
		return err
	}
	return exportVerdict(e, true)
}

// watchExport returns the export when it is finished and tells its progress until then.
func watchExport(ctx context.Context, api *client.Client, app, id string, stderr io.Writer) (client.Export, error) {
	bar := newProgress(stderr, "rows", 0)
	defer bar.end()
	e, err := api.WatchExport(ctx, app, id, func(e client.Export) error {
		bar.total, bar.bytes, bar.rate = e.Progress.Total, e.Progress.Bytes, e.Progress.RowsPerSecond
		bar.left = time.Duration(e.Progress.SecondsLeft * float64(time.Second))
		bar.at(e.Progress.Done)
		return nil
	})
	if ctx.Err() != nil {
		// Whoever stops looking may have something else to do; whoever wants no file says so.
		return e, fmt.Errorf("%w: export %s goes on; follow it with rollcall exports watch %s --app %s, end it with rollcall exports cancel %s --app %s", ctx.Err(), id, id, app, id, app)
	}
	return e, err
}

// exportVerdict returns the error of an export that ended without a file.
func exportVerdict(e client.Export, finished bool) error {
	if !finished || e.Status == "completed" {
		return nil
	}
	if e.Error != "" {
		return fmt.Errorf("export %s is %s: %s; order it again", e.ID, e.Status, e.Error)
	}
	return fmt.Errorf("export %s is %s; order it again", e.ID, e.Status)
}

// exportCancelCmd cancels an export.
type exportCancelCmd struct {
	ID string `arg:"" help:"The export."`
}

// Run cancels the export.
func (c *exportCancelCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	e, err := api.CancelExport(ctx, app, c.ID)
	if err != nil {
		return err
	}
	return printExport(s, r.Output, e)
}

// exportDownloadCmd downloads the file of an export.
type exportDownloadCmd struct {
	ID string `arg:"" help:"The export."`
	To string `short:"o" help:"File to write, a folder, or - for standard output. Default: a name made of the application and the export, in this folder." placeholder:"FILE"`
}

// Run waits for the export, downloads its file and prints its name.
func (c *exportDownloadCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	e, err := api.Export(ctx, app, c.ID)
	if err != nil {
		return err
	}
	return fetchExport(ctx, api, e, c.To, r.Output, s)
}
