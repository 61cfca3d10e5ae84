package main

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
	blocks := shellBlocks(t)
	whole := strings.Join(blocks, "")
	for what, least := range map[string]int{"curl ": 14, "bin/rollcall ": 9} {
		if n := strings.Count(whole, what); n < least {
			t.Fatalf("the README has %d commands with %s, want at least %d", n, what, least)
		}
	}
	dir := t.TempDir()
	p := serve(t, filepath.Join(dir, "data"))
	// The commands are run as printed, but for the port, in a folder with bin/rollcall and data as make run leaves them.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "bin", "rollcall")); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	script := "set -euo pipefail\n" + strings.ReplaceAll(whole, "127.0.0.1:8080", at.Host)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bash := exec.CommandContext(ctx, "bash", "-x", "-c", script)
	bash.Dir = dir
	bash.Env = []string{asCommand + "=1", "ROLLCALL_SERVER=" + p.url, "PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	out, err := bash.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
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
