package messaging_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/storetest"
	"rollcall/handlers/messaging"
)

// contender is an instance that wants a lease for as long as it is run.
type contender struct {
	leads  atomic.Bool
	stop   context.CancelFunc
	leases *messaging.Leases
	ended  sync.WaitGroup
}

// contend has an instance hold the lease whenever it can. Two at once fail the test.
func contend(t *testing.T, js jetstream.JetStream, replicas int, name string, leading *atomic.Int32) *contender {
	t.Helper()
	leases, err := messaging.OpenLeases(t.Context(), js, replicas, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	c := &contender{stop: stop, leases: leases}
	c.ended.Go(func() {
		err := leases.Hold(ctx, "work", func(ctx context.Context) error {
			if n := leading.Add(1); n != 1 {
				t.Errorf("%d instances lead at once", n)
			}
			c.leads.Store(true)
			<-ctx.Done()
			c.leads.Store(false)
			leading.Add(-1)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); c.ended.Wait() })
	return c
}

func TestALeaseThatIsGivenBackGoesToAnother(t *testing.T) {
	node := newNode(t)
	var leading atomic.Int32
	a := contend(t, node.connect(t), 1, "a", &leading)
	eventually(t, "the first leads", a.leads.Load)
	b := contend(t, node.connect(t), 1, "b", &leading)
	if holder, err := b.leases.Holder(t.Context(), "work"); holder != "a" || err != nil {
		t.Errorf("the holder is %q (%v), want a", holder, err)
	}
	a.stop()
	a.ended.Wait()
	eventually(t, "the other leads", b.leads.Load)
	b.stop()
	b.ended.Wait()
	if holder, err := b.leases.Holder(t.Context(), "work"); holder != "" || err != nil {
		t.Errorf("the holder is %q (%v), want nobody", holder, err)
	}
}

func TestAHolderThatIsCutOffStopsBeforeAnotherTakesTheLease(t *testing.T) {
	cluster := storetest.RunCluster(t, 3)
	proxy := storetest.RunProxy(t, cluster.URL()[:len("nats://127.0.0.1:00000")])
	connect := func(url string) jetstream.JetStream {
		js, err := jetstream.New(storetest.Connect(t, url))
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	var leading atomic.Int32
	a := contend(t, connect(proxy.URL()), 3, "a", &leading)
	eventually(t, "the first leads", a.leads.Load)
	b := contend(t, connect(cluster.URL()), 3, "b", &leading)
	proxy.Mute()
	eventually(t, "the other leads", b.leads.Load)
	if a.leads.Load() {
		t.Error("the first leads as well")
	}
}

func TestALeaseWhoseKeyAnOperatorDeletesIsTakenAgain(t *testing.T) {
	node := newNode(t)
	var leading atomic.Int32
	a := contend(t, node.connect(t), 1, "a", &leading)
	eventually(t, "the first leads", a.leads.Load)
	b := contend(t, node.connect(t), 1, "b", &leading)
	kv, err := node.connect(t).KeyValue(t.Context(), "ROLLCALL_LEASES")
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), "work"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the holder stops", func() bool { return !a.leads.Load() })
	eventually(t, "someone leads again", func() bool { return a.leads.Load() || b.leads.Load() })
}

func TestALeaseIsGivenBackWhenItsWorkIsDone(t *testing.T) {
	node := newNode(t)
	leases, err := messaging.OpenLeases(t.Context(), node.connect(t), 1, "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	failure := errors.New("it failed")
	for range 2 {
		if err := leases.Hold(t.Context(), "work", func(context.Context) error { return failure }); !errors.Is(err, failure) {
			t.Errorf("the work's error is %v, want %v", err, failure)
		}
		if holder, err := leases.Holder(t.Context(), "work"); holder != "" || err != nil {
			t.Errorf("the holder is %q (%v), want nobody", holder, err)
		}
	}
}

func TestALeaseIsHeldOverARestartOfTheServerOrLostAndTakenAgain(t *testing.T) {
	node := newNode(t)
	var leading atomic.Int32
	var all []*contender
	for _, name := range []string{"a", "b", "c"} {
		all = append(all, contend(t, node.connect(t), 1, name, &leading))
	}
	one := func() bool { return leading.Load() == 1 }
	eventually(t, "one leads", one)
	node.stop()
	eventually(t, "none leads without the server", func() bool { return leading.Load() == 0 })
	node.start(t)
	eventually(t, "one leads again", one)
	for _, c := range all {
		c.stop()
	}
}
