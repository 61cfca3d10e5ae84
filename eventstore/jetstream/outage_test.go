package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// commands lets clients execute commands, each until it has an answer, while
// something goes wrong, and checks that each was executed exactly once.
type commands struct {
	clients, each int
	done          atomic.Int64 // commands that have an answer
	unknown       atomic.Int64 // answers that were lost
	outages       atomic.Int64 // commands that found the log gone
}

// counter returns the counter that a command adds to: two clients share one, and take
// another after some commands, for a long history is slow to load.
func (c *commands) counter(client, i int) eventstore.AggregateID {
	return eventstore.Account("app", fmt.Sprintf("counter%d-%d", client/2, i/5))
}

func (c *commands) run(t *testing.T, s eventstore.Store) {
	var wg sync.WaitGroup
	for client := range c.clients {
		wg.Go(func() {
			for i := range c.each {
				id, commandID := c.counter(client, i), fmt.Sprintf("%d-%d", client, i)
				for {
					_, err := eventstore.Execute(t.Context(), s, commandID, storetest.Add(id, commandID))
					if err == nil {
						break
					}
					switch {
					case errors.Is(err, eventstore.ErrUnknownOutcome):
						c.unknown.Add(1)
					case errors.Is(err, eventstore.ErrUnavailable):
						c.outages.Add(1)
					default:
						t.Errorf("command %s: %v", commandID, err)
						return
					}
				}
				c.done.Add(1)
			}
		})
	}
	wg.Wait()
}

// check fails the test unless every command is in the log once and every
// counter counts without gaps.
func (c *commands) check(t *testing.T, s eventstore.Store) {
	t.Helper()
	last, err := s.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	counts := make(map[eventstore.AggregateID]int)
	for e, err := range s.Read(t.Context(), 1, last) {
		if err != nil {
			t.Fatal(err)
		}
		seen[e.CommandID]++
		counts[e.Aggregate]++
		if got := string(e.Data); got != fmt.Sprint(counts[e.Aggregate]) {
			t.Errorf("%s counts to %s at position %d, want %d", e.Aggregate, got, e.Position, counts[e.Aggregate])
		}
	}
	for client := range c.clients {
		for i := range c.each {
			if n := seen[fmt.Sprintf("%d-%d", client, i)]; n != 1 {
				t.Errorf("command %d-%d is in the log %d times", client, i, n)
			}
		}
	}
	t.Logf("%d commands, %d lost answers, %d times unreachable", c.done.Load(), c.unknown.Load(), c.outages.Load())
}

// follow reads the log through a subscription that must outlive every outage.
func follow(t *testing.T, s eventstore.Store, n int) (wait func()) {
	t.Helper()
	sub, err := s.Subscribe(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer sub.Close()
		for next := eventstore.Position(1); next <= eventstore.Position(n); {
			events, err := sub.Next(t.Context(), 100)
			if err != nil {
				t.Errorf("follow at %d: %v", next, err)
				return
			}
			for _, e := range events {
				if e.Position != next {
					t.Errorf("followed to position %d, want %d", e.Position, next)
				}
				next++
			}
		}
	})
	return wg.Wait
}

func open(t *testing.T, url string, cfg jetstream.Config) (*jetstream.Store, *nats.Conn) {
	t.Helper()
	nc := storetest.Connect(t, url, nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0))
	s, err := jetstream.Open(t.Context(), nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, nc
}

// counting counts the appends whose answer was lost. Execute resolves most of them itself.
type counting struct {
	eventstore.Store
	unknown *atomic.Int64
}

func (c counting) Append(ctx context.Context, proposals ...eventstore.Proposal) ([]eventstore.Position, error) {
	positions, err := c.Store.Append(ctx, proposals...)
	if errors.Is(err, eventstore.ErrUnknownOutcome) {
		c.unknown.Add(1)
	}
	return positions, err
}

func TestLostAcknowledgementsLeadToExactlyOneEvent(t *testing.T) {
	for _, clients := range []int{4, 48} { // single messages, batches
		t.Run(fmt.Sprintf("%d clients", clients), func(t *testing.T) {
			url := storetest.RunServer(t)
			proxy := storetest.RunProxy(t, url)
			direct, _ := open(t, url, jetstream.Config{})
			s, nc := open(t, proxy.URL(), jetstream.Config{AckTimeout: 2 * time.Second})
			c := &commands{clients: clients, each: 480 / clients}
			total := int64(c.clients * c.each)
			following := follow(t, s, int(total))
			over := make(chan struct{})
			go func() {
				defer close(over)
				c.run(t, counting{s, &c.unknown})
			}()
			// Each round loses what the log says for as long as it takes to write something.
			for round := int64(1); c.unknown.Load() < 3 || round < 4; round++ {
				storetest.Eventually(t, "some commands are done", func() bool {
					return nc.IsConnected() && c.done.Load() > min(round*10, total-1)
				})
				before, err := direct.Last(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				proxy.Mute()
				patience := time.NewTimer(50 * time.Millisecond)
				for written := false; !written; {
					last, err := direct.Last(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					select {
					case <-patience.C: // everyone may be waiting for a load
						written = true
					default:
						written = last > before
					}
				}
				patience.Stop()
				proxy.Cut()
				if c.done.Load() == total {
					break
				}
			}
			<-over
			following()
			c.check(t, direct)
			if c.unknown.Load() == 0 {
				t.Error("no answer was lost: the test has tested nothing")
			}
		})
	}
}

func TestAClusterThatLosesItsLeaderLosesNothing(t *testing.T) {
	cluster := storetest.RunCluster(t, 3)
	s, nc := open(t, cluster.URL(), jetstream.Config{Replicas: 3})
	c := &commands{clients: 32, each: 15}
	total := int64(c.clients * c.each)
	following := follow(t, s, int(total))
	over := make(chan struct{})
	go func() {
		defer close(over)
		c.run(t, counting{s, &c.unknown})
	}()
	for _, share := range []int64{5, 2} {
		storetest.Eventually(t, "some commands are done", func() bool { return c.done.Load() > total/share })
		js, err := natsjs.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		var leader string
		storetest.Eventually(t, "the log has a leader", func() bool { // the node that came back may have had one elected anew
			stream, err := js.Stream(t.Context(), jetstream.DefaultStream)
			if err == nil {
				leader = stream.CachedInfo().Cluster.Leader
			}
			return leader != ""
		})
		cluster.Stop(leader)
		before := c.done.Load()
		storetest.Eventually(t, "commands are done without the node", func() bool { return c.done.Load() > min(before+20, total-1) })
		cluster.Start(leader)
	}
	<-over
	following()
	// The node that came back may have a leader elected once more.
	storetest.Eventually(t, "the cluster tells where the log ends", func() bool {
		_, err := s.Last(t.Context())
		return err == nil
	})
	c.check(t, s)
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}
