package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/handlers/export"
)

// downloadTarget is a flag that may have a value: --download, --download FILE, --download=FILE.
type downloadTarget struct {
	wanted bool
	to     string // empty for a name of its own
}

// IsBool implements kong.BoolMapperValue: the flag needs no value.
func (d *downloadTarget) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (d *downloadTarget) Decode(ctx *kong.DecodeContext) error {
	*d = downloadTarget{wanted: true}
	if !ctx.Scan.Peek().IsValue() {
		return nil
	}
	switch value := ctx.Scan.Pop().String(); value {
	case "true": // of a configuration
	case "false", "":
		d.wanted = false
	default:
		d.to = value
	}
	return nil
}

// fetchExport waits for an export, downloads its file and says what it is. To is a file, a folder, - for standard output, or empty.
func fetchExport(ctx context.Context, api *client.Client, e client.Export, to, format string, s *streams) error {
	e, err := watchExport(ctx, api, e.App, e.ID, s.err)
	if err != nil {
		return err
	}
	if err := exportVerdict(e, true); err != nil {
		return err
	}
	name := exportFile(e, to)
	if to == "-" {
		bar := newProgress(s.err, inBytes, e.Bytes)
		defer bar.end()
		return api.Copy(ctx, e, s.out, bar.at)
	}
	err = download(ctx, api, e, name, s.err)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: what came is in %s.part; go on with rollcall exports download %s --app %s -o %s", ctx.Err(), name, e.ID, e.App, name)
	case err != nil:
		return err
	case format != "table":
		return printExport(s, format, e)
	}
	_, err = fmt.Fprintf(s.out, "%s: %s rows, %s bytes, SHA-256 verified\n", name, grouped(e.Rows), grouped(e.Bytes))
	return err
}

// download writes the file of an export and tells the progress.
func download(ctx context.Context, api *client.Client, e client.Export, name string, stderr io.Writer) error {
	bar := newProgress(stderr, inBytes, e.Bytes)
	defer bar.end()
	return api.Download(ctx, e, name, bar.at)
}

// exportFile returns the file to write.
func exportFile(e client.Export, to string) string {
	own := fmt.Sprintf("%s-%s%s", e.App, strings.ToLower(e.ID), export.Extension(export.Format(e.Format), export.Compression(e.Compression)))
	if to == "" {
		return own
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		return filepath.Join(to, own)
	}
	return to
}
