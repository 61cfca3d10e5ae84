package httpapi_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// playedExports are exports that the test moves on by hand: the worker, the
// files and their stream have tests of their own in package export.
type playedExports struct {
	mu     sync.Mutex
	jobs   map[string]export.Job
	events map[string][]export.Event
	news   chan struct{} // replaced at each event
	fault  error
	calls  map[string]string // by command id
}

func newPlayedExports() *playedExports {
	return &playedExports{jobs: map[string]export.Job{}, events: map[string][]export.Event{}, news: make(chan struct{}), calls: map[string]string{}}
}

func noExport(id string) error {
	return &domain.Rejection{Code: export.CodeNotFound, Detail: fmt.Sprintf("there is no export %q", id)}
}

func (p *playedExports) Order(_ context.Context, req export.Request, spec export.Spec) (export.Job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault != nil {
		return export.Job{}, p.fault
	}
	if id, ok := p.calls[req.ID]; ok {
		return p.jobs[id], nil
	}
	id := fmt.Sprintf("01J%023d", len(p.jobs))
	p.calls[req.ID] = id
	p.jobs[id] = export.Job{ID: id, App: spec.App, Status: export.StatusQueued, Spec: spec, RequestedAt: time.Unix(1e9, 0), RequestedBy: req.Actor}
	p.add(id, export.Event{Type: export.Requested, Spec: spec})
	return p.jobs[id], nil
}

// add is called with mu held.
func (p *playedExports) add(id string, e export.Event) {
	e.Sequence, e.Job, e.App = uint64(len(p.events[id])+1), id, p.jobs[id].App
	p.events[id] = append(p.events[id], e)
	close(p.news)
	p.news = make(chan struct{})
}

// happen moves a job on.
func (p *playedExports) happen(id string, status export.Status, e export.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[id]
	j.Status, j.SHA256, j.Rows, j.Bytes = status, e.Result.SHA256, e.Result.Rows, e.Result.Bytes
	p.jobs[id] = j
	p.add(id, e)
}

func (p *playedExports) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = err
}

func (p *playedExports) Get(_ context.Context, app domain.AppID, id string) (export.Job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j, ok := p.jobs[id]; ok && j.App == app {
		return j, p.fault
	}
	return export.Job{}, noExport(id)
}

func (p *playedExports) List(_ context.Context, _ domain.AppID, limit int, cursor string) ([]export.Job, string, error) {
	if cursor != "" && strings.Trim(cursor, "0123456789") != "" {
		return nil, "", &domain.Rejection{Code: export.CodeInvalidCursor, Detail: "the cursor is not one that this list gave"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var jobs []export.Job
	for _, j := range p.jobs {
		if len(jobs) < limit {
			jobs = append(jobs, j)
		}
	}
	return jobs, "", p.fault
}

func (p *playedExports) Cancel(ctx context.Context, _ export.Request, app domain.AppID, id string) (export.Job, error) {
	j, err := p.Get(ctx, app, id)
	if err != nil {
		return j, err
	}
	if j.Status.Finished() {
		return j, &domain.Rejection{Code: export.CodeFinished, Detail: "it is over"}
	}
	p.happen(id, export.StatusCancelled, export.Event{Type: export.Cancelled})
	return p.Get(ctx, app, id)
}

func (p *playedExports) Watch(ctx context.Context, app domain.AppID, id string) iter.Seq2[export.Event, error] {
	return func(yield func(export.Event, error) bool) {
		for i := 0; ; i++ {
			e, ok := p.await(ctx, id, i)
			if !ok || !yield(e, nil) {
				return
			}
		}
	}
}

// await returns event number i once it has happened; none when the job is over.
func (p *playedExports) await(ctx context.Context, id string, i int) (export.Event, bool) {
	for {
		p.mu.Lock()
		events, over, news := p.events[id], p.jobs[id].Status.Finished(), p.news
		p.mu.Unlock()
		switch {
		case i < len(events):
			return events[i], true
		case over:
			return export.Event{}, false
		}
		select {
		case <-news:
		case <-ctx.Done():
			return export.Event{}, false
		}
	}
}

func (p *playedExports) Link(_ context.Context, j export.Job) (export.Links, error) {
	if j.Status != export.StatusCompleted {
		return export.Links{}, nil
	}
	file := "http://files.example/" + j.ID
	return export.Links{File: file, Manifest: file + ".manifest.json", Until: time.Unix(2e9, 0)}, nil
}
