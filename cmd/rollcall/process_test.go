package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/client"
)

// asCommand makes the test binary be the command, so that tests run it as a process of its own, with
// the race detector where they have it.
const asCommand = "ROLLCALL_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) == "1" {
		main()
	}
	os.Exit(m.Run())
}

// patience bounds everything that tests wait for.
const patience = time.Minute

// process is rollcall serve, running.
type process struct {
	cmd     *exec.Cmd
	data    string
	url     string // of the API, without /v1
	nats    string
	greeted chan struct{} // closed when it serves
	exited  chan struct{} // closed when it has ended; then err tells how
	err     error
	errors  output // what it wrote to standard error
}

// output keeps what a process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// command returns a command line of rollcall as a process.
func command(ctx context.Context, t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return commandOf(ctx, self, env, args...)
}

// commandOf is command with another program than the test binary.
func commandOf(ctx context.Context, program string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	endWithTest(cmd.SysProcAttr)
	cmd.Env = append([]string{asCommand + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, env...)
	return cmd
}

// built returns the program as users have it, without the race detector, for tests whose load it would
// make take ten times as long.
func built(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "rollcall")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return program
}

// serveOn starts rollcall serve on a data folder and free ports, without waiting. The end of the test ends it.
func serveOn(t *testing.T, data string, env ...string) *process {
	t.Helper()
	return startServing(t, data, []string{"--nats-listen", "127.0.0.1:0"}, env...)
}

func startServing(t *testing.T, data string, flags []string, env ...string) *process {
	t.Helper()
	return startProcess(t, data, command(context.Background(), t, env, serveLine(data, flags)...))
}

// serveLine is the command line of a service on free ports.
func serveLine(data string, flags []string) []string {
	return append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, flags...)
}

func startProcess(t *testing.T, data string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, data: data, greeted: make(chan struct{}), exited: make(chan struct{})}
	p.cmd.Stderr = &p.errors
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		p.read(stdout)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.exited
		if t.Failed() {
			t.Logf("standard error of serve:\n%s", p.errors.String())
		}
	})
	return p
}

// read reads the greeting.
func (p *process) read(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		name, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		switch value = strings.TrimSpace(value); name {
		case "API":
			p.url = strings.TrimSuffix(value, "/v1")
		case "NATS":
			p.nats = value
		case "data":
			close(p.greeted)
		}
	}
}

// serve starts rollcall serve and waits until it serves.
func serve(t *testing.T, data string, env ...string) *process {
	t.Helper()
	return serving(t, serveOn(t, data, env...))
}

// serveWith is serve with other flags.
func serveWith(t *testing.T, data string, flags []string, env ...string) *process {
	t.Helper()
	return serving(t, startServing(t, data, flags, env...))
}

// serveBuilt is serveWith by the program that built returns.
func serveBuilt(t *testing.T, program, data string, flags ...string) *process {
	t.Helper()
	return serving(t, startProcess(t, data, commandOf(context.Background(), program, nil, serveLine(data, flags)...)))
}

// serving waits until a process serves.
func serving(t *testing.T, p *process) *process {
	t.Helper()
	select {
	case <-p.greeted:
	case <-p.exited:
		t.Fatalf("serve ended with %v before it served: %s", p.err, p.errors.String())
	case <-time.After(patience):
		t.Fatalf("serve did not come up: %s", p.errors.String())
	}
	return p
}

// client returns a client with the operator's token.
func (p *process) client(t *testing.T) *client.Client {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(p.data, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(p.url, strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// signal sends a signal and waits for the end, whose exit status it returns.
func (p *process) signal(t *testing.T, s syscall.Signal) int {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("send %s: %v", s, err)
	}
	return p.wait(t)
}

// wait waits for the end and returns the exit status, -1 when a signal ended it.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatal("serve did not end")
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		t.Fatal(p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the process in order.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if code := p.signal(t, syscall.SIGTERM); code != 0 {
		t.Fatalf("serve ended with status %d on SIGTERM: %s", code, p.errors.String())
	}
}

// eventually waits until a condition holds, that is until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// rollcall runs a command line in this process and returns its exit status and what it printed.
func rollcall(t *testing.T, env map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, variables(env), strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// variables is an environment.
func variables(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}

// env returns the environment of a command line that reaches the process.
func (p *process) env() map[string]string {
	return map[string]string{"ROLLCALL_SERVER": p.url, "ROLLCALL_DATA": p.data, "ROLLCALL_APP": "demo"}
}

// must runs a command line that must succeed and returns what it printed.
func must(t *testing.T, env map[string]string, args ...string) string {
	t.Helper()
	code, out, errs := rollcall(t, env, "", args...)
	if code != exitDone {
		t.Fatalf("rollcall %s: status %d: %s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// row is one row of an import as NDJSON.
func row(i int) string {
	return fmt.Sprintf(`{"user_id":"u%05d","type":"normal","nickname":"이름 %d"}`+"\n", i, i)
}
