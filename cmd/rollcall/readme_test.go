package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/cmd/rollcall/internal/client"
)

// shellBlocks returns the lines of the README that are meant to be typed into a shell.
func shellBlocks(t *testing.T) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(moduleRoot(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var block strings.Builder
	inside := false
	for line := range strings.Lines(string(b)) {
		switch {
		case strings.HasPrefix(line, "```sh"):
			inside = true
			block.Reset()
		case inside && strings.HasPrefix(line, "```"):
			inside = false
			blocks = append(blocks, block.String())
		case inside:
			block.WriteString(line)
		}
	}
	return blocks
}

func TestTheCommandsOfTheREADMEWork(t *testing.T) {
	t.Parallel()
	blocks := shellBlocks(t)
	whole := strings.Join(blocks, "")
	for what, least := range map[string]int{"curl ": 14, "bin/rollcall ": 9, "\nnats ": 7} {
		if n := strings.Count(whole, what); n < least {
			t.Fatalf("the README has %d commands with %s, want at least %d", n, what, least)
		}
	}
	dir := t.TempDir()
	p := serve(t, filepath.Join(dir, "data"))
	// The commands are run as printed, but for the ports, in a folder with bin/rollcall and data as make run leaves them.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link(t, self, filepath.Join(dir, "bin", "rollcall"))
	installed := filepath.Join(dir, "installed")
	link(t, natsCommand(t), filepath.Join(installed, "nats"))
	script := "set -euo pipefail\n" + strings.NewReplacer("127.0.0.1:8080", host(t, p.url), "127.0.0.1:4222", host(t, p.nats)).Replace(whole)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	bash := exec.CommandContext(ctx, "bash", "-x", "-c", script)
	bash.Dir = dir
	bash.Env = []string{asCommand + "=1", "ROLLCALL_SERVER=" + p.url, "PATH=" + installed + ":" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	bash.WaitDelay = time.Second // for a command in the background that holds the output
	out, err := bash.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	checkTour(t, dir)
	checkNATSTour(t, p, string(out))
}

// link makes a symbolic link and the folder that it is in.
func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// host returns the host and port of an address.
func host(t *testing.T, address string) string {
	t.Helper()
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return at.Host
}

// natsCommand returns the nats command line of the module .ci/tools, which the go command builds unless it has it.
func natsCommand(t *testing.T) string {
	t.Helper()
	const building = 5 * time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), building)
	defer cancel()
	var errs strings.Builder
	build := exec.CommandContext(ctx, "go", "tool", "-n", "nats")
	build.Dir, build.Stderr = filepath.Join(moduleRoot(t), ".ci", "tools"), &errs
	out, err := build.Output()
	if err != nil {
		t.Fatalf("build the nats command line: %v: %s", err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// checkNATSTour checks what the commands over NATS have printed and left behind.
func checkNATSTour(t *testing.T, p *process, printed string) {
	t.Helper()
	for _, want := range []string{
		"Stored in Stream: COMMANDS", `"type":"command.accepted.v1","subject":"accounts.outcome.demo.c1"`, // heard
		"Rollcall-Error-Code: account_exists", `"subject":"accounts.outcome.demo.c3"`, // read
		"All Services", "accounts.rpc.*.create",
		`"subject":"accounts.evt.demo.app"`, // read by a consumer
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("the tour over NATS does not print %s:\n%s", want, printed)
		}
	}
	api := p.client(t)
	if _, err := api.Account(t.Context(), "demo", "haru"); err != nil {
		t.Errorf("the account of the tour over NATS: %v", err)
	}
	var problem *client.Problem
	if _, err := api.Account(t.Context(), "demo", "sora"); !errors.As(err, &problem) || problem.Code != "account_not_found" {
		t.Errorf("the account that the tour over NATS deletes: %v", err)
	}
}

// checkTour checks the file that the tour downloads.
func checkTour(t *testing.T, dir string) {
	t.Helper()
	exported, err := os.ReadFile(filepath.Join(dir, "accounts.csv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"minjun", "김민준", "li.na", "李娜", "maryam", "مريم"} {
		if !strings.Contains(string(exported), want) {
			t.Errorf("the file that the tour downloads lacks %s:\n%s", want, exported)
		}
	}
	for _, gone := range []string{"boss", "fox"} {
		if strings.Contains(string(exported), gone) {
			t.Errorf("the file that the tour downloads has %s, which the tour deletes:\n%s", gone, exported)
		}
	}
}
