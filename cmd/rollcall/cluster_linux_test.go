package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore/storetest"
	"rollcall/eventstore/storetest/freeport"
)

// shape is a running rollcall cluster.
type shape struct {
	cmd       *exec.Cmd
	folder    string
	listen    string // address of the proxy
	addresses []string
	greeted   chan struct{} // closed when everything runs
	exited    chan struct{} // closed when it has ended; then err tells how
	err       error
	pids      map[string]int      // by name of the part
	fields    map[string][]string // of the greeting
	errors    output
}

// shapeFlags chooses free ports.
func shapeFlags(t *testing.T) (flags, addresses []string) {
	t.Helper()
	var ports []string
	for _, port := range storetest.FreePorts(t, 18) {
		addresses = append(addresses, freeport.Address(port))
		ports = append(ports, strconv.Itoa(port))
	}
	flags = []string{"--listen", addresses[0], "--postgres-port", ports[1]}
	rest := ports[2:]
	for _, group := range []struct {
		flag string
		n    int
	}{{"--api-ports", 2}, {"--door-ports", 2}, {"--nats-ports", 3}, {"--leaf-ports", 3}, {"--route-ports", 3}} {
		flags = append(flags, group.flag, strings.Join(rest[:group.n], ","))
		rest = rest[group.n:]
	}
	return append(flags, "--monitor-ports", strings.Join(rest, ",")), addresses
}

// startShape starts rollcall cluster and waits until everything runs. The end of the test ends it.
func startShape(t *testing.T, folder string, more ...string) *shape {
	t.Helper()
	flags, addresses := shapeFlags(t)
	s := &shape{
		folder: folder, listen: addresses[0], addresses: addresses, greeted: make(chan struct{}), exited: make(chan struct{}),
		pids: make(map[string]int), fields: make(map[string][]string),
	}
	args := append([]string{"cluster", "--folder", folder, "--nats-conf", filepath.Join(moduleRoot(t), "deployments", "nats", "nats.conf")}, flags...)
	s.cmd = command(context.Background(), t, nil, append(args, more...)...)
	s.cmd.Stderr = &s.errors
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.exited)
		s.read(stdout)
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-s.exited
		if t.Failed() {
			t.Logf("standard error of cluster:\n%s", s.errors.String())
		}
	})
	select {
	case <-s.greeted:
	case <-s.exited:
		t.Fatalf("the cluster ended with %v before it ran: %s", s.err, s.errors.String())
	case <-t.Context().Done():
		t.Fatal("the test ends before the cluster runs")
	}
	return s
}

// read reads the greeting, whose last line is that of the token.
func (s *shape) read(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) > 2 && words[len(words)-2] == "process" {
			s.fields[words[0]] = words[1:]
			s.pids[words[0]], _ = strconv.Atoi(words[len(words)-1]) // 0 fails the test where it is used
		}
		if strings.Contains(lines.Text(), "operator's token") {
			close(s.greeted)
		}
	}
}

func (s *shape) token(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.folder, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// client returns a client that goes through the proxy.
func (s *shape) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New("http://"+s.listen, s.token(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// kill kills a part with SIGKILL.
func (s *shape) kill(t *testing.T, name string) {
	t.Helper()
	if s.pids[name] == 0 {
		t.Fatalf("the greeting tells no process of %s", name)
	}
	if err := syscall.Kill(s.pids[name], syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", name, err)
	}
}

// told waits until the cluster has told of something.
func (s *shape) told(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the cluster tells "+text, func() error {
		if !strings.Contains(s.errors.String(), text) {
			return errors.New(s.errors.String())
		}
		return nil
	})
}

// create creates accounts through the proxy, with the patience of a client.
func (s *shape) create(t *testing.T, c *client.Client, prefix string) {
	t.Helper()
	for i := range 6 { // some for each instance
		id := fmt.Sprintf("%s-%d", prefix, i)
		eventually(t, "create "+id, func() error {
			_, err := c.CreateAccount(t.Context(), "demo", map[string]any{"user_id": id})
			if p := (*client.Problem)(nil); errors.As(err, &p) && p.Code == "account_exists" {
				return nil // the answer of an earlier try was lost
			}
			return err
		})
	}
}

// order creates an account by a command through the door of an instance, and waits until it has been decided.
func (s *shape) order(t *testing.T, instance, id string) {
	t.Helper()
	nc, err := nats.Connect(s.fields[instance][1], nats.Token(s.token(t)), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "publish "+id, func() error {
		_, err := js.Publish(t.Context(), "accounts.cmd.demo.create", fmt.Appendf(nil, `{"user_id": %q}`, id), natsjs.WithMsgID(id))
		return err
	})
	// It is asked for, not listened to: what is told while a server is lost may be missed.
	eventually(t, "the outcome of "+id, func() error {
		m, err := nc.Request("$JS.API.DIRECT.GET.OUTCOMES.accounts.outcome.demo."+id, nil, time.Second)
		if err == nil && !strings.Contains(string(m.Data), `"accepted"`) {
			err = fmt.Errorf("it is %s %v", m.Data, m.Header)
		}
		return err
	})
}

// listed waits until the list tells of a number of accounts.
func (s *shape) listed(t *testing.T, c *client.Client, want int) {
	t.Helper()
	eventually(t, "the list has everything", func() error {
		page, err := c.Accounts(t.Context(), "demo", client.Listing{Limit: 1})
		if err == nil && page.Total != want {
			err = fmt.Errorf("it has %d accounts, want %d", page.Total, want)
		}
		return err
	})
}

// gone waits until every process has ended and nobody listens at any address.
func (s *shape) gone(t *testing.T) {
	t.Helper()
	for name, pid := range s.pids {
		eventually(t, name+" ends", func() error {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil || strings.Contains(string(status), ") Z ") { // or it has ended, and nobody has asked how
				return nil
			}
			return fmt.Errorf("process %d is still there: %s", pid, status)
		})
	}
	for _, address := range s.addresses {
		eventually(t, "nobody listens", func() error {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			return l.Close()
		})
	}
}

func TestAClusterOnOneMachineServesThroughTheLossOfItsPartsAndKeepsItsData(t *testing.T) {
	t.Parallel()
	const imported = 12_000 // more than is on its way at once
	folder := filepath.Join(t.TempDir(), "cluster")
	s := startShape(t, folder, "--restart", "1s")
	c := s.client(t)
	if _, err := c.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	s.create(t, c, "whole")
	rows := filepath.Join(t.TempDir(), "rows.ndjson")
	var content strings.Builder
	for i := range imported {
		content.WriteString(row(i))
	}
	if err := os.WriteFile(rows, []byte(content.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, map[string]string{"ROLLCALL_SERVER": "http://" + s.listen, "ROLLCALL_DATA": folder, "ROLLCALL_APP": "demo"}, "accounts", "import", rows)
	s.order(t, "instance1", "by-door-1")
	s.order(t, "instance2", "by-door-2")

	s.kill(t, "instance1")
	s.create(t, c, "without-instance1")
	s.order(t, "instance2", "by-door-2-alone")
	s.told(t, "instance1 has died (signal: killed); the end of "+filepath.Join(folder, "instance1.log"))
	s.told(t, "instance1 is started again")
	s.told(t, "http://"+strings.TrimPrefix(s.fields["instance1"][0], "http://")+" is back")

	s.kill(t, "nats1")
	s.create(t, c, "without-nats1")
	s.order(t, "instance1", "by-door-1-again")
	s.told(t, "nats1 has died")
	s.kill(t, "postgres")
	s.create(t, c, "without-postgres")
	s.told(t, "postgres is started again")

	const want = imported + 4*6 + 4
	s.listed(t, c, want)
	s.pids = nil // of parts that have been started anew; that their ports are free tells
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if <-s.exited; s.err != nil {
		t.Errorf("the cluster ended with %v: %s", s.err, s.errors.String())
	}
	s.gone(t)

	again := startShape(t, folder)
	again.checkSecrets(t)
	again.listed(t, again.client(t), want)
	if err := again.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-again.exited
	again.gone(t)
}

// checkSecrets looks who may read what the cluster keeps.
func (s *shape) checkSecrets(t *testing.T) {
	t.Helper()
	for file, want := range map[string]os.FileMode{
		".": 0o700, "operator.token": 0o600, "master.key": 0o600, "passwords.json": 0o600, "instance1.log": 0o600, "nats1.log": 0o600, "postgres.log": 0o600,
	} {
		info, err := os.Stat(filepath.Join(s.folder, file))
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %s, want %s", file, info.Mode(), want)
		}
	}
}

func TestAClusterSaysWhichPortIsTakenAndWhichPartDoesNotStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	broken := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(broken, []byte("listen: [{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want, flag, value string
	}{
		{"address already in use", "--postgres-port", strconv.Itoa(l.Addr().(*net.TCPAddr).Port)},
		{"nats1.log", "--nats-conf", broken},
		{"three ports", "--nats-ports", "1,2"},
	} {
		flags, _ := shapeFlags(t)
		flags = append(flags, "--folder", filepath.Join(t.TempDir(), "cluster"), "--nats-conf", filepath.Join(moduleRoot(t), "deployments", "nats", "nats.conf"))
		flags[slices.Index(flags, c.flag)+1] = c.value
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err := command(ctx, t, nil, append([]string{"cluster"}, flags...)...).CombinedOutput()
		cancel()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(string(out), c.want) {
			t.Errorf("with %s %s it ended with %v, and does not tell of %q: %s", c.flag, c.value, err, c.want, out)
		}
	}
}
