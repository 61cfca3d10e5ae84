package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore"
)

// replayTarget takes events.
type replayTarget interface {
	// last returns the position of the last event that it has and is gone on behind, zero for none.
	last() uint64
	write(ctx context.Context, e client.LoggedEvent) error
	// close returns when the target has everything, or the error that kept it from that.
	close() error
}

// target returns where the events go.
func (c *auditReplayCmd) target(ctx context.Context, s *streams, env lookup) (replayTarget, error) {
	kind, where, _ := strings.Cut(c.To, ":")
	switch {
	case c.To == "":
		return &lineTarget{w: bufio.NewWriter(s.out), every: c.Follow || c.Rate > 0}, nil
	case kind == "file" && where != "":
		return openFileTarget(where, c.Follow || c.Rate > 0)
	case kind == "nats" && where != "" && !strings.ContainsAny(where, " *>"):
		return connectTarget(ctx, c.NATS, where, c.Follow || c.Rate > 0, env.text("ROLLCALL_REPLAY_NATS_CREDS"))
	}
	return nil, usage("--to %q: write file:PATH or nats:SUBJECT", c.To)
}

// lineTarget writes a line an event.
type lineTarget struct {
	w     *bufio.Writer
	every bool // each line at once
	file  *os.File
	had   uint64
}

func (t *lineTarget) last() uint64 { return t.had }

func (t *lineTarget) write(_ context.Context, e client.LoggedEvent) error {
	_, err := t.w.Write(e.Line)
	if err == nil {
		err = t.w.WriteByte('\n')
	}
	if err == nil && t.every {
		err = t.w.Flush()
	}
	return err
}

func (t *lineTarget) close() error {
	err := t.w.Flush()
	if t.file != nil {
		err = errors.Join(err, t.file.Sync(), t.file.Close())
	}
	return err
}

// openFileTarget opens a file to go on behind the last whole line in it. Half a line, from an interruption, is cut off. A file that is not of
// events is left as it is.
func openFileTarget(path string, every bool) (*lineTarget, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, ownerOnly)
	if err != nil {
		return nil, err
	}
	last, end, err := lastLine(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("go on in %s: %w", path, err), f.Close())
	}
	return &lineTarget{w: bufio.NewWriter(f), every: every, file: f, had: last}, nil
}

// errNoReplay means that a file holds something else than events.
var errNoReplay = errors.New("it is no file of events; name another")

// lastLine returns the position in the last whole line of a file of events, and where that line ends. errNoReplay unless the file is empty,
// or begins as one of events does and ends as one.
func lastLine(f *os.File) (position uint64, end int64, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, 0, err
	}
	const most = 8 << 20 // more than any two lines
	from := max(info.Size()-most, 0)
	head, tail := make([]byte, min(info.Size(), 64)), make([]byte, info.Size()-from)
	if _, err := f.ReadAt(head, 0); err != nil {
		return 0, 0, err
	}
	if _, err := f.ReadAt(tail, from); err != nil {
		return 0, 0, err
	}
	i := bytes.LastIndexByte(tail, '\n')
	if !beginsAsEvent(head) || !beginsAsEvent(tail[i+1:]) || i < 0 && from > 0 {
		return 0, 0, errNoReplay
	}
	if i < 0 {
		return 0, 0, nil // half a line is all there is
	}
	e, err := eventstore.ParseLine(tail[bytes.LastIndexByte(tail[:i], '\n')+1 : i])
	if err != nil {
		return 0, 0, errNoReplay
	}
	return uint64(e.Position), from + int64(i) + 1, nil
}

// beginsAsEvent tells whether a text may be the beginning of the line of an event, see eventstore.AppendLine.
func beginsAsEvent(text []byte) bool {
	const before, behind = `{"position":`, `,"recordedtime":"`
	if len(text) <= len(before) {
		return strings.HasPrefix(before, string(text))
	}
	rest, ok := bytes.CutPrefix(text, []byte(before))
	rest = bytes.TrimLeft(rest, "0123456789")
	return ok && (strings.HasPrefix(behind, string(rest)) || bytes.HasPrefix(rest, []byte(behind)))
}
