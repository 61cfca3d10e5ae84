package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"rollcall/cmd/rollcall/internal/client"
)

// replayTarget takes events.
type replayTarget interface {
	last() uint64 // position of the last event that it has, zero for none
	write(ctx context.Context, e client.LoggedEvent) error
	close() error
}

// target returns where the events go.
func (c *auditReplayCmd) target(s *streams, env lookup) (replayTarget, error) {
	kind, where, _ := strings.Cut(c.To, ":")
	switch {
	case c.To == "":
		return &lineTarget{w: bufio.NewWriter(s.out), every: c.Follow || c.Rate > 0}, nil
	case kind == "file" && where != "":
		return openFileTarget(where, c.Follow || c.Rate > 0)
	case kind == "nats" && where != "" && !strings.ContainsAny(where, " *>"):
		return connectTarget(c.NATS, where, env.text("ROLLCALL_REPLAY_NATS_CREDS"))
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

// openFileTarget opens a file to go on behind the last whole line in it. Half a line, from an interruption, is cut off.
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

// lastLine returns the position in the last whole line of a file of events, and where that line ends.
func lastLine(f *os.File) (position uint64, end int64, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, 0, err
	}
	const most = 8 << 20 // more than any two lines
	from := max(info.Size()-most, 0)
	tail := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	i := bytes.LastIndexByte(tail, '\n')
	if i < 0 && from > 0 {
		return 0, 0, errors.New("it is no file of events")
	}
	if i < 0 {
		return 0, 0, nil
	}
	line := tail[bytes.LastIndexByte(tail[:i], '\n')+1 : i]
	var e struct {
		Position uint64 `json:"position"`
	}
	if err := json.Unmarshal(line, &e); err != nil || e.Position == 0 {
		return 0, 0, errors.New("it is no file of events; name another")
	}
	return e.Position, from + int64(i) + 1, nil
}

// subjectTarget publishes events.
type subjectTarget struct {
	nc      *nats.Conn
	subject string
}

func connectTarget(url, subject, creds string) (*subjectTarget, error) {
	opts := []nats.Option{nats.Name("rollcall audit replay")}
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to --nats: %w", err)
	}
	return &subjectTarget{nc, subject}, nil
}

func (t *subjectTarget) last() uint64 { return 0 }

func (t *subjectTarget) write(_ context.Context, e client.LoggedEvent) error {
	return t.nc.Publish(t.subject, e.Line)
}

// close returns when the server has everything, or the error that it answered with.
func (t *subjectTarget) close() error {
	defer t.nc.Close()
	if err := t.nc.FlushTimeout(30 * time.Second); err != nil {
		return fmt.Errorf("publish on %s: %w", t.subject, err)
	}
	return t.nc.LastError()
}
