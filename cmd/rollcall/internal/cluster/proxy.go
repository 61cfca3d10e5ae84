package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	checkEvery   = 250 * time.Millisecond
	checkTimeout = 3 * time.Second // longer than an instance asks its log
	headTimeout  = 10 * time.Second
)

// proxy hands requests to instances in turn, to those that are ready.
type proxy struct {
	targets []*target
	turn    atomic.Uint64
	tell    func(format string, args ...any)
	server  *http.Server
	failed  chan error // gets why it serves no more

	quit   context.CancelFunc // ends the checks
	checks sync.WaitGroup
}

// target is an instance.
type target struct {
	url *url.URL
	up  atomic.Bool
}

// startProxy listens and begins to look whether the instances are ready. Stop ends it.
func startProxy(listen string, urls []string, tell func(string, ...any)) (*proxy, error) {
	p := &proxy{tell: tell, failed: make(chan error, 1)}
	for _, one := range urls {
		u, err := url.Parse(one)
		if err != nil {
			return nil, fmt.Errorf("start the proxy: %w", err)
		}
		p.targets = append(p.targets, &target{url: u})
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("start the proxy: %w; stop what listens there, or choose another address with --listen", err)
	}
	p.server = &http.Server{Handler: p.handler(), ReadHeaderTimeout: headTimeout}
	ctx, quit := context.WithCancel(context.Background())
	p.quit = quit
	for _, t := range p.targets {
		p.checks.Go(func() { p.watch(ctx, t) })
	}
	go func() { p.failed <- p.server.Serve(l) }()
	return p, nil
}

// stop takes no more requests and finishes those in flight, until ctx ends.
func (p *proxy) stop(ctx context.Context) error {
	err := p.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were broken off: %w", err), p.server.Close())
	}
	p.quit()
	p.checks.Wait()
	if failed := <-p.failed; !errors.Is(failed, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve the proxy: %w", failed))
	}
	return err
}

// await waits until all instances get requests.
func (p *proxy) await(ctx context.Context) error {
	tick := time.NewTicker(checkEvery / 5)
	defer tick.Stop()
	for _, t := range p.targets {
		for !t.up.Load() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("wait for the instance at %s: %w", t.url, ctx.Err())
			}
		}
	}
	return nil
}

// watch asks an instance again and again whether it is ready.
func (p *proxy) watch(ctx context.Context, t *target) {
	ready := answers(t.url.JoinPath("readyz").String())
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for known, was := false, false; ; {
		err := ready(ctx, 0)
		if ctx.Err() != nil {
			return
		}
		up := err == nil
		t.up.Store(up)
		switch {
		case was && !up:
			p.tell("%s is taken out: %v", t.url, err)
		case !was && up && known:
			p.tell("%s is back", t.url)
		}
		known, was = known || up, up
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// pick returns the instance whose turn it is or else the next that is ready, nil when none is.
func (p *proxy) pick(turn uint64) *target {
	for i := range p.targets {
		if t := p.targets[(turn+uint64(i))%uint64(len(p.targets))]; t.up.Load() {
			return t
		}
	}
	return nil
}

func (p *proxy) handler() http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.URL.Scheme = "http"
			r.Out.Host = r.In.Host
		},
		Transport:     &roundRobin{p: p, http: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}},
		FlushInterval: -1, // events and imports are answered as they happen
		ErrorHandler:  refuse,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The rows of an import are answered while more of them come in. No other request wants that, and it must not be set for one whose
		// body nobody reads to its end.
		if strings.HasSuffix(r.URL.Path, ":import") {
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				refuse(w, r, err)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	})
}

// roundRobin sends each request to the instance whose turn it is.
type roundRobin struct {
	p    *proxy
	http *http.Transport
}

// errNoInstance means that no instance is ready.
var errNoInstance = errors.New("no instance is ready")

// RoundTrip implements http.RoundTripper. A request that no instance can have seen is given to the next; one that an instance may have
// acted on never is, so that the client decides, who knows whether it has an Idempotency-Key.
func (r *roundRobin) RoundTrip(req *http.Request) (*http.Response, error) {
	turn := r.p.turn.Add(1)
	req = req.Clone(req.Context())
	if req.Body != nil {
		req.Body = io.NopCloser(req.Body) // a connection that does not come about closes it unread; the server closes it in the end
	}
	for range r.p.targets {
		t := r.p.pick(turn)
		if t == nil {
			return nil, errNoInstance
		}
		req.URL.Host = t.url.Host
		res, err := r.http.RoundTrip(req)
		var network *net.OpError
		if err == nil || !errors.As(err, &network) || network.Op != "dial" {
			return res, err
		}
		t.up.Store(false) // until it is found ready again
		turn++
	}
	return nil, errNoInstance
}

// refuse answers for an instance.
func refuse(w http.ResponseWriter, _ *http.Request, err error) {
	status, code := http.StatusBadGateway, "bad_gateway"
	if errors.Is(err, errNoInstance) {
		status, code = http.StatusServiceUnavailable, "unavailable"
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Connection", "close") // with what is left of the request
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status": %d, "code": %q, "title": %q, "detail": %q}`+"\n", status, code, http.StatusText(status), err.Error())
}
