package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"

	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/keyring"
)

// cost measures what an account costs: bytes of the log, of keys and of the list, and memory of a server that keeps the log.
func (r *run) cost(ctx context.Context) error {
	fmt.Fprintf(r.Out, "%d processors, %s/%s\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	data := r.path("cost")
	if err := r.costOfDisk(ctx, data); err != nil {
		return err
	}
	if err := r.costOfRebuild(ctx, data); err != nil {
		return err
	}
	return r.costOfMemory(ctx, filepath.Join(data, "log"))
}

// costOfRebuild builds a list, in a file, anew from the log.
func (r *run) costOfRebuild(ctx context.Context, data string) (err error) {
	parts, err := r.reopen(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.close()) }()
	last, err := parts.store.Last(ctx)
	if err != nil {
		return err
	}
	perSecond, err := parts.project(ctx, r.path("rebuilt.db"), last)
	if err != nil {
		return fmt.Errorf("build the list anew: %w", err)
	}
	r.alone("list in SQLite built anew, events/s", figure(perSecond))
	return nil
}

// columns prints the headline of a group of rows that stand beside nothing of others.
func (r *run) columns(title string, names ...string) {
	fmt.Fprintf(r.Out, "\n%-44s", title)
	for _, name := range names {
		fmt.Fprintf(r.Out, " %14s", name)
	}
	fmt.Fprintln(r.Out)
}

// costOfDisk fills a service and looks at what it keeps.
func (r *run) costOfDisk(ctx context.Context, data string) (err error) {
	var flags []string
	if r.DB != "" {
		flags = []string{"--db", r.DB}
	}
	p, err := r.serve(ctx, data, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.post(ctx, "/v1/apps", `{"app":"bench"}`, nil); err != nil {
		return err
	}
	watch := p.watchMemory()
	if err := r.costOfEvents(ctx, p, data, "created", &rows{n: r.Accounts}); err != nil {
		return err
	}
	if err := r.costOfList(ctx, data); err != nil {
		return err
	}
	if err := r.costOfEvents(ctx, p, data, "edited", &rows{n: max(r.Accounts/10, 1), of: edited}); err != nil {
		return err
	}
	r.alone("most memory of the whole service, MiB", figure(watch()))
	return nil
}

// costOfEvents has accounts created or edited, and looks how the log and the keys have grown.
func (r *run) costOfEvents(ctx context.Context, p *process, data, what string, in *rows) error {
	grown := map[string]int64{jetstream.DefaultStream: 0, keyring.StreamName: 0}
	for name := range grown {
		n, err := streamSize(data, name)
		if err != nil {
			return err
		}
		grown[name] = -n
	}
	start := time.Now()
	position, err := p.importRows(ctx, app, in)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if err := p.get(ctx, fmt.Sprintf("/v1/apps/%s/accounts?limit=1&min_position=%d", app, position), nil); err != nil {
		return err
	}
	for name := range grown {
		n, err := streamSize(data, name)
		if err != nil {
			return err
		}
		grown[name] += n
	}
	r.columns(fmt.Sprintf("%s accounts %s", figure(float64(in.n)), what), "each")
	each := func(what string, bytes int64) { r.alone(what, figure(float64(bytes)/float64(in.n))) }
	each("log, bytes", grown[jetstream.DefaultStream])
	each("keys, bytes", grown[keyring.StreamName])
	r.alone("a second, over HTTP", figure(float64(in.n)/took.Seconds()))
	return nil
}

// costOfList tells how large the list is.
func (r *run) costOfList(ctx context.Context, data string) error {
	bytes, where := int64(0), "SQLite"
	var err error
	if r.DB == "" {
		bytes, err = folderSize(filepath.Join(data, "list"))
	} else {
		bytes, err = databaseSize(ctx, r.DB)
		where = "PostgreSQL"
	}
	if err != nil {
		return fmt.Errorf("size of the list: %w", err)
	}
	r.alone("list in "+where+" with its indexes, bytes", figure(float64(bytes)/float64(r.Accounts)))
	return nil
}

func databaseSize(ctx context.Context, address string) (bytes int64, err error) {
	err = onDatabase(ctx, address, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&bytes)
	})
	return bytes, err
}

// streamSize returns the bytes of a stream on disk, none of one that is not there.
func streamSize(data, stream string) (bytes int64, err error) {
	folders, err := filepath.Glob(filepath.Join(data, "log", "jetstream", "*", "streams", stream))
	if err != nil || len(folders) == 0 {
		return 0, err
	}
	return folderSize(folders[0])
}

func folderSize(folder string) (bytes int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return ignoreGone(err)
	})
	return bytes, err
}

// ignoreGone passes over a file that was removed since its folder was read.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// costOfMemory opens the log in a NATS server that does nothing else, as each of a cluster does, and looks at its memory.
func (r *run) costOfMemory(ctx context.Context, store string) error {
	r.columns("a NATS server that keeps this log", "with it", "without")
	empty := r.path("empty")
	if err := os.MkdirAll(empty, 0o700); err != nil {
		return err
	}
	none, err := r.bare(ctx, empty)
	if err != nil {
		return err
	}
	full, err := r.bare(ctx, store)
	if err != nil {
		return err
	}
	for _, row := range []struct {
		what          string
		full, without float64
	}{
		{"memory after its start, MiB", full.started, none.started}, {"memory after all was read, MiB", full.read, none.read},
		{"start, s", full.start.Seconds(), none.start.Seconds()},
	} {
		fmt.Fprintf(r.Out, "%-44s %14s %14s\n", row.what, figure(row.full), figure(row.without))
	}
	subjects := float64(r.Accounts)
	r.alone("memory after its start, bytes a subject", figure((full.started-none.started)*(1<<20)/subjects))
	r.alone("memory after all was read, bytes a subject", figure((full.read-none.read)*(1<<20)/subjects))
	if full.perSecond > 0 {
		r.alone("messages read a second", figure(full.perSecond))
	}
	return nil
}
