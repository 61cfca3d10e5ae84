package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

var benchTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	app      = "bench"
	pageSize = 50
	farPage  = 10_000
)

// million fills a service with accounts and measures the import, the list, the
// export, a start, and the way from the log to the list.
func (r *run) million(ctx context.Context) error {
	data := r.path("million")
	if err := r.served(ctx, data); err != nil {
		return err
	}
	if err := r.restarted(ctx, data); err != nil {
		return err
	}
	return r.catchUp(ctx, data)
}

func (r *run) served(ctx context.Context, data string) (err error) {
	p, err := r.serve(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.post(ctx, "/v1/apps", `{"app":"bench"}`, nil); err != nil {
		return err
	}
	r.head(fmt.Sprintf("%s accounts", figure(float64(r.Accounts))), "rollcall", "")
	watch := p.watchMemory()
	start := time.Now()
	position, err := p.importAll(ctx, app, r.Accounts)
	if err != nil {
		return err
	}
	imported := time.Since(start)
	if err := p.get(ctx, fmt.Sprintf("/v1/apps/%s/accounts?limit=1&min_position=%d", app, position), nil); err != nil {
		return err
	}
	listed := time.Since(start)
	r.alone("import over HTTP, rows/s", figure(float64(r.Accounts)/imported.Seconds()))
	r.alone("list behind the import's end", millis(listed-imported))
	if err := r.list(ctx, p); err != nil {
		return err
	}
	if err := r.export(ctx, p, data); err != nil {
		return err
	}
	r.alone("most memory so far, MiB", figure(watch()))
	return nil
}

// list measures pages of the list.
func (r *run) list(ctx context.Context, p *process) error {
	far, page, err := p.walk(ctx, min(farPage, r.Accounts/pageSize))
	if err != nil {
		return err
	}
	r.head("list over HTTP, 50 a page", "p50", "p99")
	for _, q := range []struct{ what, query string }{
		{"first page", ""},
		{fmt.Sprintf("page %s", figure(float64(page))), "&cursor=" + url.QueryEscape(far)},
		{"first page, type filter", "&type=normal"},
		{"first page, newest first", "&order=desc"},
		{"search, two Korean characters", "&q=" + url.QueryEscape("하늘")},
		{"search, one character", "&q=" + url.QueryEscape("王")},
		{"search, part of a user id", "&q=99999"},
		{"search that finds nothing", "&q=nobody"},
	} {
		p50, p99, err := latency(200, func(int) error {
			return p.get(ctx, fmt.Sprintf("/v1/apps/%s/accounts?limit=%d%s", app, pageSize, q.query), nil)
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(r.Out, "%-44s %14s %14s\n", q.what, millis(p50), millis(p99))
	}
	return nil
}

// walk follows the cursors up to a page and returns the cursor that leads to it.
func (p *process) walk(ctx context.Context, page int) (cursor string, reached int, err error) {
	for reached = 1; reached < page; reached++ {
		var answer struct {
			Next string `json:"next_cursor"`
		}
		query := url.Values{"limit": {strconv.Itoa(pageSize)}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		if err := p.get(ctx, "/v1/apps/"+app+"/accounts?"+query.Encode(), &answer); err != nil {
			return "", 0, err
		}
		if answer.Next == "" {
			break
		}
		cursor = answer.Next
	}
	return cursor, reached, nil
}

// export measures exports of all accounts beside a bare scan of the list's table.
func (r *run) export(ctx context.Context, p *process, data string) error {
	scan, err := tableScan(ctx, data)
	if err != nil {
		return err
	}
	r.head("export of all accounts, rows/s", "rollcall", "table scan")
	for _, format := range []string{"ndjson", "csv"} {
		took, err := p.export(ctx, format)
		if err != nil {
			return err
		}
		r.beside(format, float64(r.Accounts)/took.Seconds(), scan)
	}
	return nil
}

// export orders an export and returns how long it took until it was completed.
func (p *process) export(ctx context.Context, format string) (time.Duration, error) {
	type job struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	var j job
	start := time.Now()
	if err := p.post(ctx, "/v1/apps/"+app+"/exports", fmt.Sprintf(`{"format":%q}`, format), &j); err != nil {
		return 0, err
	}
	for {
		if err := p.get(ctx, "/v1/apps/"+app+"/exports/"+j.ID, &j); err != nil {
			return 0, err
		}
		switch j.Status {
		case "completed":
			return time.Since(start), nil
		case "queued", "running":
		default:
			return 0, fmt.Errorf("the export is %s: %s", j.Status, j.Error)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// restarted measures a start with all accounts there.
func (r *run) restarted(ctx context.Context, data string) error {
	p, err := r.serve(ctx, data)
	if err != nil {
		return err
	}
	now, _, err := p.memory()
	if err != nil {
		return errors.Join(err, p.stop())
	}
	r.head(fmt.Sprintf("start with %s accounts", figure(float64(r.Accounts))), "rollcall", "")
	r.alone("until it is ready", millis(p.start))
	r.alone("memory then, MiB", figure(now))
	return p.stop()
}
