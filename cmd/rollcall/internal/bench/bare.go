package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest/freeport"
)

// footprint is what a server takes, in MiB and time.
type footprint struct {
	start         time.Duration
	started, read float64
	perSecond     float64 // messages read, none of a server without a log
}

// settled is how long a server is left alone before its memory is looked at.
const settled = 3 * time.Second

// bare runs a NATS server on a store, alone, and reads what it keeps.
func (r *run) bare(ctx context.Context, store string) (f footprint, err error) {
	ports, err := freeport.Choose(1)
	if err != nil {
		return f, err
	}
	addr := freeport.Address(ports[0])
	file := r.path("nats.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "listen: %q\njetstream { store_dir: %q, sync_interval: always }\n", addr, store), 0o600); err != nil {
		return f, err
	}
	p := &process{}
	p.cmd = exec.Command(r.Binary, "nats-server", file)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return f, err
	}
	defer func() {
		stopped := errors.Join(p.cmd.Process.Signal(syscall.SIGTERM), p.cmd.Wait())
		if stopped != nil {
			err = errors.Join(err, stopped, errors.New(p.log.String()))
		}
	}()
	nc, err := connect(ctx, addr)
	if err != nil {
		return f, err
	}
	defer nc.Close()
	f.start = time.Since(begin)
	if f.started, err = p.settle(ctx); err != nil {
		return f, err
	}
	if f.perSecond, err = readAll(ctx, nc); err != nil {
		return f, err
	}
	f.read, err = p.settle(ctx)
	return f, err
}

// connect connects to a server as soon as it takes connections, which is when it has opened its streams.
func connect(ctx context.Context, addr string) (*nats.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		nc, err := nats.Connect("nats://" + addr)
		if err == nil {
			return nc, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

// settle leaves the server alone for a while and returns its memory.
func (p *process) settle(ctx context.Context) (mib float64, err error) {
	select {
	case <-time.After(settled):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	mib, _, err = p.memory()
	return mib, err
}

// readAll reads the log, where there is one, and returns messages a second.
func readAll(ctx context.Context, nc *nats.Conn) (float64, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return 0, err
	}
	stream, err := js.Stream(ctx, jetstream.DefaultStream)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	start := time.Now()
	n := stream.CachedInfo().State.Msgs
	consumer, err := stream.OrderedConsumer(ctx, natsjs.OrderedConsumerConfig{})
	if err != nil {
		return 0, err
	}
	messages, err := consumer.Messages(natsjs.PullMaxMessages(4096))
	if err != nil {
		return 0, err
	}
	defer messages.Stop()
	for range n {
		if _, err := messages.Next(natsjs.NextContext(ctx)); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}
