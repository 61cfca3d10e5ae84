package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// keepScript starts the server and stops it once a line tells how. When its input ends without one,
// the process at the other end was killed, and no one else will remove the folder.
const keepScript = `
"$1/pg_ctl" start --pgdata "$2/data" --log "$2/log" --options "$3" --wait --timeout 60 >&2 || exit 1
echo ready
read -r mode
"$1/pg_ctl" stop --pgdata "$2/data" --mode "${mode:-immediate}" --wait --timeout 60 >&2
status=$?
if [ -z "$mode" ]; then rm -rf "$2"; fi
exit $status
`

// keeper is the process that keeps a server as long as its input is open.
type keeper struct {
	process *exec.Cmd
	input   io.WriteCloser
}

// keep starts a server and returns when it takes connections.
func keep(ctx context.Context, s *Server, options string) (*keeper, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// The server outlives the context of its start.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", keepScript, "sh", s.bin, s.folder, options)
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner, Setpgid: true} // an interrupt from the terminal is not for the server
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	k := &keeper{process: cmd, input: input}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "ready\n" {
		return nil, errors.Join(fmt.Errorf("the server does not start: %s", logged(s.folder)), input.Close(), cmd.Wait())
	}
	return k, nil
}

// stop stops the server in a mode of pg_ctl and waits for it.
func (k *keeper) stop(mode string) error {
	_, err := io.WriteString(k.input, mode+"\n")
	return errors.Join(err, k.input.Close(), k.process.Wait())
}

// logged returns what the server has logged.
func logged(folder string) string {
	content, err := os.ReadFile(filepath.Join(folder, "log"))
	if err != nil {
		return err.Error()
	}
	return string(content)
}
