package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"rollcall/eventstore/storetest/freeport"
)

const token = "bench-operator-token-0123456789abcdef"

// process is a service that runs for itself.
type process struct {
	cmd   *exec.Cmd
	url   string
	nats  string
	http  *http.Client
	log   bytes.Buffer
	start time.Duration // from its start until it was ready
}

// serve starts the service on a data folder and waits until it is ready.
func (r *run) serve(ctx context.Context, data string, flags ...string) (*process, error) {
	ports, err := freeport.Choose(2)
	if err != nil {
		return nil, err
	}
	addr, natsAddr := freeport.Address(ports[0]), freeport.Address(ports[1])
	p := &process{url: "http://" + addr, nats: "nats://" + natsAddr, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}}
	p.cmd = exec.Command(r.Binary, append([]string{"serve", "--data", data, "--listen", addr, "--nats-listen", natsAddr}, flags...)...)
	p.cmd.Env = append(os.Environ(), "ROLLCALL_OPERATOR_TOKEN="+token)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		res, err := p.http.Get(p.url + "/readyz")
		if err == nil {
			_ = res.Body.Close() // only the status counts
			if res.StatusCode == http.StatusOK {
				p.start = time.Since(begin)
				return p, nil
			}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ready.Done():
			return nil, errors.Join(fmt.Errorf("the service did not become ready: %w\n%s", ready.Err(), p.log.String()), p.cmd.Process.Kill(), p.cmd.Wait())
		}
	}
}

// stop ends the service as an operator would.
func (p *process) stop() error {
	p.http.CloseIdleConnections()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the service ended with %w\n%s", err, p.log.String())
	}
	return nil
}

// memory returns the resident memory of the service, now and at most, in MiB.
func (p *process) memory() (now, most float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64) // other lines are not looked at
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			most = kib / 1024
		}
	}
	return now, most, nil
}

// do sends a request and decodes the answer into out, unless that is nil.
func (p *process) do(ctx context.Context, method, path, contentType string, in io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	if cerr := res.Body.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		return err
	case res.StatusCode >= 300:
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b)
	case out == nil:
		return nil
	}
	return json.Unmarshal(b, out)
}

func (p *process) post(ctx context.Context, path, body string, out any) error {
	return p.do(ctx, http.MethodPost, path, "application/json", strings.NewReader(body), out)
}

func (p *process) get(ctx context.Context, path string, out any) error {
	return p.do(ctx, http.MethodGet, path, "", nil, out)
}

// importAll imports accounts and returns the position of the last one.
func (p *process) importAll(ctx context.Context, app string, n int) (position uint64, err error) {
	return p.importRows(ctx, app, &rows{n: n})
}

// importRows imports accounts, each of which changes, and returns the position of the last one.
func (p *process) importRows(ctx context.Context, app string, in *rows) (position uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/apps/"+app+"/accounts:import?mode=upsert", in)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := p.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	var sum struct {
		Done     bool   `json:"done"`
		Created  int    `json:"created"`
		Edited   int    `json:"edited"`
		Position uint64 `json:"position"`
	}
	lines := bufio.NewScanner(res.Body)
	var last []byte
	for lines.Scan() {
		last = append(last[:0], lines.Bytes()...)
	}
	if err := errors.Join(lines.Err(), json.Unmarshal(last, &sum)); err != nil {
		return 0, fmt.Errorf("import: %s: %w", res.Status, err)
	}
	if !sum.Done || sum.Created+sum.Edited != in.n {
		return 0, fmt.Errorf("import: %d of %d accounts were created or edited: %s", sum.Created+sum.Edited, in.n, last)
	}
	return sum.Position, nil
}

// watchMemory notes the highest resident memory until stopped.
func (p *process) watchMemory() (stop func() (mib float64)) {
	quit := make(chan struct{})
	var most float64
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			if now, _, err := p.memory(); err == nil {
				most = max(most, now)
			}
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() float64 {
		close(quit)
		wg.Wait()
		return most
	}
}
