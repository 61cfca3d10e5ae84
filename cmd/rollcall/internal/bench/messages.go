package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// maxUnderway is how many messages are on their way at once from their publication to their outcome.
const maxUnderway = 2000

// messages measures commands that come as messages, from their publication to their outcome, beside a bare loop that
// consumes a message and publishes another one, all written to disk before it is acknowledged.
func (r *run) messages(ctx context.Context) (err error) {
	parts, err := r.openParts(ctx, r.path("messages-parts"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.close()) }()
	bare, err := parts.bareLoop(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.close()) }()
	p, err := r.serve(ctx, r.path("messages"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.post(ctx, "/v1/apps", `{"app":"bench"}`, nil); err != nil {
		return err
	}
	ours, err := p.commandFlow()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.close()) }()

	r.head("messages/s, from publication to outcome", "rollcall", "bare loop")
	raw, err := bare.rate(ctx, r.Seconds)
	if err != nil {
		return fmt.Errorf("the bare loop: %w", err)
	}
	rate, err := ours.rate(ctx, r.Seconds)
	if err != nil {
		return fmt.Errorf("commands as messages: %w", err)
	}
	r.beside(fmt.Sprintf("create, %d under way", maxUnderway), rate, raw)
	return r.latencies(ctx, ours, bare)
}

// latencies prints how long messages take at fixed rates.
func (r *run) latencies(ctx context.Context, ours, bare *flow) error {
	fmt.Fprintf(r.Out, "\n%-44s %14s %14s\n", "from publication to outcome", "p50", "p99")
	for _, perSecond := range []int{1, 1000} {
		times := max(10, int(r.Seconds*float64(perSecond)))
		for name, f := range map[string]*flow{"rollcall": ours, "bare loop": bare} {
			p50, p99, err := f.latency(ctx, perSecond, times)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Fprintf(r.Out, "%-44s %14s %14s\n", fmt.Sprintf("%d/s, %s", perSecond, name), millis(p50), millis(p99))
		}
	}
	return nil
}

// flow publishes messages and hears what became of them.
type flow struct {
	nc       *nats.Conn
	js       natsjs.JetStream
	publish  string // subject
	outcomes string // subject, followed by the id of the message
	next     atomic.Int64
	closers  []func() error

	mu      sync.Mutex
	pending map[string]func()
}

func newFlow(nc *nats.Conn, publish, outcomes string) (*flow, error) {
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(2*maxUnderway))
	if err != nil {
		return nil, err
	}
	f := &flow{nc: nc, js: js, publish: publish, outcomes: outcomes, pending: make(map[string]func())}
	sub, err := nc.Subscribe(outcomes+">", f.hear)
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	return f, nc.Flush()
}

func (f *flow) close() error {
	var errs []error
	for _, c := range slices.Backward(f.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// hear tells whoever waits for an outcome. One that comes twice counts once.
func (f *flow) hear(m *nats.Msg) {
	id := strings.TrimPrefix(m.Subject, f.outcomes)
	f.mu.Lock()
	done := f.pending[id]
	delete(f.pending, id)
	f.mu.Unlock()
	if done != nil {
		done()
	}
}

// send publishes the next message; done is called with its outcome.
func (f *flow) send(done func()) error {
	n := int(f.next.Add(1))
	id := "m" + strconv.Itoa(n)
	f.mu.Lock()
	f.pending[id] = done
	f.mu.Unlock()
	_, err := f.js.PublishMsgAsync(&nats.Msg{Subject: f.publish, Data: []byte(body(n)), Header: nats.Header{natsjs.MsgIDHeader: {id}}})
	return err
}

// rate returns how many messages a second get their outcome when as many as may be are under way.
func (f *flow) rate(ctx context.Context, seconds float64) (float64, error) {
	underway := make(chan struct{}, maxUnderway)
	begin := time.Now()
	sent := 0
	for time.Since(begin).Seconds() < seconds {
		select {
		case underway <- struct{}{}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if err := f.send(func() { <-underway }); err != nil {
			return 0, err
		}
		sent++
	}
	for range cap(underway) { // until all have their outcome
		select {
		case underway <- struct{}{}:
		case <-time.After(time.Minute):
			return 0, errors.New("not all messages got an outcome")
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return float64(sent) / time.Since(begin).Seconds(), nil
}

// latency sends messages at a rate, whatever becomes of those before, and returns the median and the 99th percentile.
func (f *flow) latency(ctx context.Context, perSecond, times int) (p50, p99 time.Duration, err error) {
	took := make(chan time.Duration, times)
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for range times {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
		start := time.Now()
		if err := f.send(func() { took <- time.Since(start) }); err != nil {
			return 0, 0, err
		}
	}
	all := make([]time.Duration, 0, times)
	for range times {
		select {
		case d := <-took:
			all = append(all, d)
		case <-time.After(time.Minute):
			return 0, 0, errors.New("not all messages got an outcome")
		}
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], nil
}

// commandFlow sends commands to a service.
func (p *process) commandFlow() (*flow, error) {
	nc, err := nats.Connect(p.nats, nats.Token(token))
	if err != nil {
		return nil, err
	}
	f, err := newFlow(nc, "accounts.cmd.bench.create", "accounts.outcome.bench.")
	if err != nil {
		nc.Close()
		return nil, err
	}
	f.closers = append(f.closers, func() error { nc.Close(); return nil })
	return f, nil
}

// bareLoop consumes messages from one stream and publishes others to another, many in flight, each acknowledged once
// what it led to is on disk.
func (p *parts) bareLoop(ctx context.Context) (*flow, error) {
	for name, subject := range map[string]string{"IN": "in", "OUT": "out.*"} {
		cfg := natsjs.StreamConfig{Name: name, Subjects: []string{subject}, Storage: natsjs.FileStorage}
		if name == "IN" {
			cfg.Retention = natsjs.WorkQueuePolicy
		} else { // an outcome is heard when it is on disk, as that of Rollcall
			cfg.RePublish = &natsjs.RePublish{Source: ">", Destination: "stored.>"}
		}
		if _, err := p.js.CreateStream(ctx, cfg); err != nil {
			return nil, err
		}
	}
	consumer, err := p.js.CreateConsumer(ctx, "IN", natsjs.ConsumerConfig{Durable: "loop", AckPolicy: natsjs.AckExplicitPolicy, MaxAckPending: 4096})
	if err != nil {
		return nil, err
	}
	const inFlight = 256
	js, err := natsjs.New(p.nc, natsjs.WithPublishAsyncMaxPending(inFlight))
	if err != nil {
		return nil, err
	}
	messages, err := consumer.Messages(natsjs.PullMaxMessages(1024))
	if err != nil {
		return nil, err
	}
	var loop sync.WaitGroup
	type published struct {
		in  natsjs.Msg
		ack natsjs.PubAckFuture
	}
	acks := make(chan published, inFlight)
	loop.Go(func() {
		defer close(acks)
		for {
			m, err := messages.Next()
			if err != nil {
				return
			}
			ack, err := js.PublishMsgAsync(&nats.Msg{Subject: "out." + m.Headers().Get(natsjs.MsgIDHeader), Data: m.Data()})
			if err != nil {
				return
			}
			acks <- published{m, ack}
		}
	})
	loop.Go(func() {
		for a := range acks {
			select {
			case <-a.ack.Ok():
				_ = a.in.Ack() // an acknowledgement that gets lost is not measured
			case <-a.ack.Err():
			}
		}
	})
	f, err := newFlow(p.nc, "in", "stored.out.")
	if err != nil {
		messages.Stop()
		loop.Wait()
		return nil, err
	}
	f.closers = append(f.closers, func() error { messages.Stop(); loop.Wait(); return nil })
	return f, nil
}
