package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// part is a process of the cluster, which is started again when it dies.
type part struct {
	name    string
	command func() *exec.Cmd // the process, made anew for each start
	ready   func(ctx context.Context, pid int) error
	end     syscall.Signal // by which it ends in order
	log     string         // file of what it writes
	restart time.Duration
	tell    func(format string, args ...any)

	started bool
	process atomic.Int64  // the latest one
	died    chan error    // gets how it ended the first time that nobody had asked it to
	quit    chan struct{} // closed when it is to stop
	stopped chan struct{} // closed when its process has ended and none follows; then err tells how
	err     error
}

func (c *running) part(name string, command func() *exec.Cmd, ready func(context.Context, int) error, end syscall.Signal) *part {
	return &part{
		name: name, command: command, ready: ready, end: end, log: c.path(name + ".log"), restart: c.cfg.Restart, tell: c.tell,
		died: make(chan error, 1), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// start starts the process. Stop ends what it starts.
func (p *part) start() {
	p.started = true
	go p.keep()
}

// keep keeps the process running until it is to stop.
func (p *part) keep() {
	defer close(p.stopped)
	for {
		asked, err := p.run()
		if asked {
			p.err = err
			return
		}
		p.tell("%v", err)
		select {
		case p.died <- err:
		default: // nobody waits for a start any more
		}
		select {
		case <-time.After(p.restart):
			p.tell("%s is started again", p.name)
		case <-p.quit:
			return
		}
	}
}

// run runs the process once and tells how it ended, and whether it had been asked to.
func (p *part) run() (asked bool, err error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return false, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return false, fmt.Errorf("start %s: %w", p.name, err)
	}
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // an interrupt from the terminal is for this process, which stops the others in order
	endWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("start %s: %w", p.name, err)
	}
	p.process.Store(int64(cmd.Process.Pid))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil {
			err = errors.New("exit status 0")
		}
		return false, fmt.Errorf("%s has died (%w); the end of %s:\n%s", p.name, err, p.log, tail(p.log, begin))
	case <-p.quit:
	}
	return true, p.halt(cmd.Process, ended)
}

// halt ends the process in order, or else by force.
func (p *part) halt(process *os.Process, ended <-chan error) error {
	err := process.Signal(p.end)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case err = <-ended:
	case <-time.After(stopTimeout):
		err = errors.Join(fmt.Errorf("it did not within %s", stopTimeout), process.Kill(), <-ended)
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w; see %s", p.name, err, p.log)
	}
	return nil
}

// stop asks the process to end.
func (p *part) stop() { close(p.quit) }

// wait returns how a process ended that was asked to. One that was never started has ended.
func (p *part) wait() error {
	if !p.started {
		return nil
	}
	<-p.stopped
	return p.err
}

// await waits until the part is ready.
func (p *part) await(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.ready(ctx, p.pid())
		if err == nil {
			return nil
		}
		select {
		case err := <-p.died:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%s does not become ready (%w); the end of %s:\n%s", p.name, err, p.log, tail(p.log, 0))
		case <-tick.C:
		}
	}
}

// pid returns the latest process, 0 before the first.
func (p *part) pid() int { return int(p.process.Load()) }

// tail returns the last lines of a file from an offset on.
func tail(file string, from int64) []byte {
	const most, lines = 8 << 10, 12
	f, err := os.Open(file)
	if err != nil {
		return []byte(err.Error())
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return []byte(err.Error())
	}
	from = max(from, info.Size()-most)
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return []byte(err.Error())
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))
}

// dial returns a check that something listens at an address.
func dial(address string) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// answers returns a check that an address is answered with 200.
func answers(url string) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10)) // for people
			return fmt.Errorf("%s answers %s: %s", url, res.Status, bytes.TrimSpace(text))
		}
		return nil
	}
}
