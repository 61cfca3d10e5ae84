package service_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/cmd/rollcall/internal/service"
	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

const patience = 30 * time.Second

// config is that of a service on free ports.
func config(data string) service.Config {
	return service.Config{Data: data, Listen: "127.0.0.1:0", NATSListen: "127.0.0.1:0"}
}

func start(t testing.TB, cfg service.Config) *service.Service {
	t.Helper()
	s, err := service.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t testing.TB, s *service.Service) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// write creates an application and reads it, which the list must have seen then.
func write(t testing.TB, s *service.Service, app string) {
	t.Helper()
	c, err := client.New(s.URL(), s.OperatorToken())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.CreateApp(t.Context(), client.AppChange{App: app}); err != nil {
		t.Fatal(err)
	}
	storetest.Eventually(t, "the list shows application "+app, func() bool { // a read waits for a moment only
		_, err := c.App(t.Context(), app)
		return err == nil
	})
}

func TestAStartThatFailsReleasesTheDataFolder(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := t.TempDir()
	cfg := config(data)
	cfg.Listen = taken.Addr().String()
	if s, err := service.Start(t.Context(), cfg); err == nil {
		stop(t, s)
		t.Fatal("it started on an address that is taken")
	} else if !strings.Contains(err.Error(), cfg.Listen) {
		t.Errorf("the error does not name the address: %v", err)
	}
	s := start(t, config(data))
	write(t, s, "demo")
	stop(t, s)
}

func TestASecondServiceOnTheSameFolderIsRefused(t *testing.T) {
	data := t.TempDir()
	s := start(t, config(data))
	if _, err := service.Start(t.Context(), config(data)); !errors.Is(err, jetstream.ErrLocked) {
		t.Errorf("the second start: %v, want %v", err, jetstream.ErrLocked)
	}
	write(t, s, "demo")
	stop(t, s)
}

func TestALogThatEndsBeforeACheckpointIsRefused(t *testing.T) {
	data := t.TempDir()
	s := start(t, config(data))
	write(t, s, "demo")
	stop(t, s)
	// The log is swapped for a new one, as a restore from a wrong backup would.
	for _, name := range []string{"log", "master.key"} {
		if err := os.RemoveAll(filepath.Join(data, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := service.Start(t.Context(), config(data))
	if !errors.Is(err, eventstore.ErrDamaged) || !strings.Contains(err.Error(), "account_list has seen the log up to position") {
		t.Errorf("start: %v; want that the list has seen more than there is", err)
	}
}

func TestSecretsThatCannotBeUsedAreRefused(t *testing.T) {
	weak := config(t.TempDir())
	weak.OperatorToken = "short"
	malformed := config(t.TempDir())
	malformed.MasterKey = "not a key"
	for what, cfg := range map[string]service.Config{"ROLLCALL_OPERATOR_TOKEN": weak, "ROLLCALL_MASTER_KEY": malformed} {
		s, err := service.Start(t.Context(), cfg)
		if err == nil {
			stop(t, s)
			t.Errorf("%s: it started", what)
		} else if !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "not a key") {
			t.Errorf("the error must name %s and not repeat it: %v", what, err)
		}
	}
}

func TestStopBreaksOffARequestThatTakesTooLong(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.StopTimeout = 100 * time.Millisecond
	s := start(t, cfg)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A body that never comes. The service says 100 Continue once it waits for it.
	fmt.Fprintf(conn, "POST /v1/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", s.OperatorToken())
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "broken off") {
		t.Errorf("stop: %v, want that a request was broken off", err)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("stop took %s", took)
	}
	again := start(t, config(cfg.Data))
	stop(t, again)
}

func TestStopLeavesNoGoroutineBehind(t *testing.T) {
	data := t.TempDir()
	run := func(app string) {
		s := start(t, config(data))
		write(t, s, app)
		resp, err := http.Get(s.URL() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		stop(t, s)
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("the second stop: %v", err)
		}
	}
	run("first") // starts what is started once a process
	before := runtime.NumGoroutine()
	run("second")
	run("third")
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for runtime.NumGoroutine() > before {
		select {
		case <-tick.C:
		case <-deadline:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
