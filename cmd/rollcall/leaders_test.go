package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
	"rollcall/projections/accountlist/postgres/pgtest"
)

// instances are two processes on one cluster and one database.
type instances struct {
	t     *testing.T
	flags [2][]string
	env   []string
	data  string
	procs [2]*process
}

// serveTwo starts both, with their NATS doors at the addresses that are returned.
func serveTwo(t *testing.T, d *storetest.Deployment, database string) (both *instances, doors string) {
	t.Helper()
	both = &instances{t: t, data: t.TempDir(), env: []string{
		"ROLLCALL_NATS_PASSWORD=" + storetest.Password, "ROLLCALL_NATS_LEAF_PASSWORD=" + storetest.DoorPassword,
		"ROLLCALL_MASTER_KEY=" + strings.Repeat("2e", 32), "ROLLCALL_OPERATOR_TOKEN=" + sharedToken,
	}}
	var addresses []string
	for i := range both.procs {
		listen := freeAddress(t)
		addresses = append(addresses, "nats://"+listen)
		both.flags[i] = []string{
			"--nats", d.URL(), "--nats-leaf", strings.Join(d.LeafURLs(), ","), "--db", database,
			"--exports", "file://" + filepath.Join(both.data, "exports"), "--nats-listen", listen,
		}
		both.start(i)
	}
	return both, strings.Join(addresses, ",")
}

const sharedToken = "operator-token-that-all-instances-share"

func (b *instances) start(i int) {
	b.t.Helper()
	b.procs[i] = serveWith(b.t, filepath.Join(b.data, strconv.Itoa(i)), b.flags[i], b.env...)
}

// leader returns the index of the process that decides commands.
func (b *instances) leader(leases natsjs.KeyValue) int {
	b.t.Helper()
	leader := -1
	eventually(b.t, "an instance decides commands", func() error {
		e, err := leases.Get(b.t.Context(), "commands")
		if err != nil {
			return err
		}
		instance, _, _ := strings.Cut(string(e.Value()), "/")
		for i, p := range b.procs {
			if strings.HasSuffix(instance, fmt.Sprintf(":%d", p.cmd.Process.Pid)) {
				leader = i
				return nil
			}
		}
		return errors.New("it is " + strconv.Quote(instance))
	})
	return leader
}

var soak = flag.Duration("soak", 0, "how long commands are published while the leader of two instances is killed every ten seconds; "+
	"zero publishes a few thousand as fast as it goes, and kills four times meanwhile")

// What a soak does.
const (
	soakKill = 10 * time.Second      // between two kills
	soakFeed = 20 * time.Millisecond // between two accounts, of ten commands each
)

func TestNoCommandIsLostOrDoubledWhenTheLeaderOfTwoInstancesIsKilledAgainAndAgain(t *testing.T) {
	const each, publishers = 10, 100
	accounts, kills := 400, 4
	var ticks <-chan time.Time
	if *soak > 0 {
		accounts, kills = int(*soak/soakFeed), int(*soak/soakKill)
		feed := time.NewTicker(soakFeed)
		defer feed.Stop()
		ticks = feed.C
	}
	rng := rand.New(rand.NewPCG(7, 7))
	orders := make([][]order, accounts)
	for a := range orders {
		orders[a] = ordersOf(rng, a, each)
	}
	d := storetest.RunDeployment(t)
	server, err := pgtest.Start(t.Context(), "", pgtest.Fast()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	nc, err := jetstream.Cluster{URLs: d.URLs(), User: "rollcall", Password: storetest.Password}.Connect(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	both, doors := serveTwo(t, d, server.URL("postgres"))
	api := both.api(0)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	token, err := api.CreateToken(t.Context(), "orders", "producer", "demo")
	if err != nil {
		t.Fatal(err)
	}
	leases, err := js.KeyValue(t.Context(), "ROLLCALL_LEASES")
	if err != nil {
		t.Fatal(err)
	}

	var published atomic.Int64
	publishing := make(chan error, 1)
	go func() {
		publishing <- publishAll(t.Context(), doors, token.Secret, orders, publishers, ticks, &published)
	}()
	began := time.Now()
	for k := range kills {
		eventually(t, "enough is published, for long enough", func() error {
			n, target, after := published.Load(), int64(accounts*each*(k+1)/(kills+1)), min(*soak, time.Duration(k+1)*soakKill)
			if n < target || time.Since(began) < after {
				return fmt.Errorf("%d of %d after %s", n, target, time.Since(began))
			}
			return nil
		})
		i := both.leader(leases)
		t.Logf("%s after the start, %d of %d commands published: instance %d leads and is killed", time.Since(began).Round(time.Millisecond), published.Load(), accounts*each, i)
		if err := both.procs[i].cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		both.procs[i].wait(t)
		both.start(i)
	}
	if err := <-publishing; err != nil {
		t.Fatal(err)
	}
	awaitOutcomes(t, both.procs[0].url, sharedToken, orders)
	t.Run("the list equals one that is built from the log", func(t *testing.T) {
		api := both.api(1)
		built, err := api.RebuildList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the list that was built is live", func() error {
			l, err := listNumbered(t.Context(), api, built.Number)
			if err == nil && l.State != "live" {
				err = fmt.Errorf("it is %+v", l)
			}
			return err
		})
	})
	for _, p := range both.procs {
		p.stop(t)
	}
	t.Run("each has the outcome that it must have, once, and its event", func(t *testing.T) {
		store, err := jetstream.Open(t.Context(), nc, jetstream.Config{Replicas: 3, MustExist: true})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		checkDecided(t, store, js, orders)
	})
}

// api returns a client of a process.
func (b *instances) api(i int) *client.Client {
	b.t.Helper()
	c, err := client.New(b.procs[i].url, sharedToken)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(c.Close)
	return c
}
