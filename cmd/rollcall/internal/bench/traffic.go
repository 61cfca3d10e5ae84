package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The load that goes on beside something else: so many of each a second, from so many clients.
const (
	writesPerSecond = 500
	writers         = 16
	readsPerSecond  = 200
	readers         = 8
)

// traffic is what a load came to.
type traffic struct {
	created, edited int
	reads           []time.Duration // in order of length
	took            time.Duration
}

// percentile returns the time that so many percent of the reads stayed within.
func (t traffic) percentile(p int) time.Duration {
	if len(t.reads) == 0 {
		return 0
	}
	return t.reads[min(len(t.reads)*p/100, len(t.reads)-1)]
}

func (t traffic) writeRate() float64 { return float64(t.created+t.edited) / t.took.Seconds() }

// during writes and reads accounts while work runs. What fails first ends all.
func (r *run) during(ctx context.Context, p *process, work func(context.Context) error) (t traffic, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	quit := make(chan struct{})
	var mu sync.Mutex
	var load sync.WaitGroup
	client := func(perSecond float64, do func(i int) (took time.Duration, err error), note func(i int, took time.Duration)) {
		load.Go(func() {
			tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				took, err := do(i)
				if err != nil {
					fail(err)
					return
				}
				mu.Lock()
				note(i, took)
				mu.Unlock()
			}
		})
	}
	start := time.Now()
	for w := range writers {
		id := fmt.Sprintf("w%d-%d", start.UnixMilli(), w)
		client(writesPerSecond/writers, func(i int) (time.Duration, error) { return 0, p.write(ctx, id, w, i, r.Accounts) }, func(i int, _ time.Duration) {
			if creates(i) {
				t.created++
			} else {
				t.edited++
			}
		})
	}
	for reader := range readers {
		client(readsPerSecond/readers, func(i int) (time.Duration, error) { return p.read(ctx, i*readers+reader, r.Accounts) }, func(_ int, took time.Duration) {
			t.reads = append(t.reads, took)
		})
	}
	if err := work(ctx); err != nil {
		fail(err)
	}
	close(quit)
	load.Wait()
	t.took = time.Since(start)
	slices.Sort(t.reads)
	return t, context.Cause(ctx)
}

// creates tells which writes of a client create an account; the others edit one.
func creates(i int) bool { return i%2 == 0 }

// write creates an account or edits one.
func (p *process) write(ctx context.Context, id string, writer, i, accounts int) error {
	if creates(i) {
		body := fmt.Sprintf(`{"user_id":"%s-%d","nickname":%q}`, id, i, nickname(i))
		return p.post(ctx, "/v1/apps/"+app+"/accounts", body, nil)
	}
	user := userID((i*writers + writer) % accounts)
	body := fmt.Sprintf(`{"nickname":%q}`, nickname(i+7))
	return p.do(ctx, http.MethodPatch, "/v1/apps/"+app+"/accounts/"+user, "application/merge-patch+json", strings.NewReader(body), nil)
}

// read reads a page, a search or an account, and returns how long that took.
func (p *process) read(ctx context.Context, i, accounts int) (time.Duration, error) {
	paths := [...]string{
		"/accounts?limit=50", "/accounts?limit=50&type=normal", "/accounts?limit=50&sort=nickname&order=desc", "/accounts?limit=50&q=" + url.QueryEscape("하늘"),
		"/accounts/" + userID(i*7919%accounts),
	}
	start := time.Now()
	err := p.get(ctx, "/v1/apps/"+app+paths[i%len(paths)], nil)
	return time.Since(start), err
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
