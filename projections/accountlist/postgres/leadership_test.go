package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rollcall/eventstore/codec"
	"rollcall/eventstore/storetest"
	"rollcall/projections/accountlist/listtest"
	"rollcall/projections/accountlist/postgres"
	"rollcall/projections/accountlist/postgres/pgtest"
)

// takeover bounds how long there may be no leader.
const takeover = 10 * time.Second

// candidate runs a leadership and tells when it leads and when it does not.
type candidate struct {
	leads, leadsNot chan struct{}
	stop            func()
}

// stand makes an instance a candidate until the end of the test. The number of those that
// lead is counted in leading, which must never be above one.
func stand(t *testing.T, db *postgres.DB, leading *atomic.Int32) *candidate {
	ctx, cancel := context.WithCancel(t.Context())
	c := &candidate{leads: make(chan struct{}, 100), leadsNot: make(chan struct{}, 100)}
	var running sync.WaitGroup
	running.Go(func() {
		err := db.Leadership("list").Run(ctx, func(ctx context.Context) error {
			if n := leading.Add(1); n > 1 {
				t.Errorf("%d instances lead", n)
			}
			c.leads <- struct{}{}
			<-ctx.Done()
			leading.Add(-1)
			c.leadsNot <- struct{}{}
			return nil
		})
		if err != nil {
			t.Errorf("run: %v", err)
		}
	})
	c.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(c.stop)
	return c
}

// await waits for what must happen in time.
func await(t *testing.T, what string, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
	case <-time.After(takeover):
		t.Fatalf("%s: not within %s", what, takeover)
	}
}

func TestAStandbyTakesOverAtOnceWhenTheLeaderStops(t *testing.T) {
	address := pgtest.Database(t)
	var leading atomic.Int32
	first := stand(t, open(t, address), &leading)
	await(t, "the only candidate leads", first.leads)
	second := stand(t, open(t, address), &leading)
	first.stop()
	await(t, "the other one leads", second.leads)
}

func TestLeadEndsTheLeadershipByReturning(t *testing.T) {
	address := pgtest.Database(t)
	mine := errors.New("mine")
	db := open(t, address)
	err := db.Leadership("list").Run(t.Context(), func(context.Context) error { return mine })
	if !errors.Is(err, mine) {
		t.Errorf("run returns %v, want what lead returns", err)
	}
	if holder, _, err := db.Leadership("list").Holder(t.Context()); err != nil || holder != "" {
		t.Errorf("%q leads (%v), want no one", holder, err)
	}
	var leading atomic.Int32
	await(t, "another one leads", stand(t, open(t, address), &leading).leads)
}

func TestAStandbyTakesOverWhenTheLeadersConnectionsAreCut(t *testing.T) {
	for what, cut := range map[string]func(*storetest.Proxy){
		"its machine has vanished": (*storetest.Proxy).Mute,
		"the network refuses it":   (*storetest.Proxy).Stop,
	} {
		t.Run(what, func(t *testing.T) {
			address := pgtest.Database(t)
			proxy := storetest.RunProxy(t, address)
			var leading atomic.Int32
			first := stand(t, open(t, through(t, proxy, address)), &leading)
			await(t, "the only candidate leads", first.leads)
			second := stand(t, open(t, address), &leading)
			cut(proxy)
			await(t, "the first one gives up", first.leadsNot)
			await(t, "the other one leads", second.leads)
		})
	}
}

// through returns the address of a database through a proxy.
func through(t *testing.T, proxy *storetest.Proxy, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p, err := url.Parse(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.Host
	return u.String()
}

func TestSomeoneLeadsThoughSessionsAreKilledAllTheTime(t *testing.T) {
	address := pgtest.Database(t)
	var leading atomic.Int32
	first := stand(t, open(t, address), &leading)
	await(t, "the only candidate leads", first.leads)
	second := stand(t, open(t, address), &leading)
	admin := connect(t, address)
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for range 60 {
		<-every.C
		execSQL(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	}
	if leading.Load() == 0 {
		select {
		case <-first.leads:
		case <-second.leads:
		case <-time.After(takeover):
			t.Errorf("no one leads after %s", takeover)
		}
	}
}

func TestALeaderWhoseSessionsAreEndedForGoodIsFollowed(t *testing.T) {
	address := pgtest.Database(t)
	admin := connect(t, address)
	role := "leader_" + fmt.Sprint(time.Now().UnixNano())
	execSQL(t, admin, "CREATE ROLE "+role+" LOGIN SUPERUSER")
	t.Cleanup(func() {
		if _, err := admin.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	second := open(t, address) // owns the tables
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	var leading atomic.Int32
	first := stand(t, open(t, u.String()), &leading)
	await(t, "the only candidate leads", first.leads)
	other := stand(t, second, &leading)
	execSQL(t, admin, "ALTER ROLE "+role+" NOLOGIN")
	execSQL(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
	await(t, "the first one gives up", first.leadsNot)
	await(t, "the other one leads", other.leads)
}

// childVariable makes this program a leader on the database that it names, which holds the
// checkpoint in a transaction that it never ends.
const childVariable = "ROLLCALL_TEST_LEADER"

func TestMain(m *testing.M) {
	if address := os.Getenv(childVariable); address != "" {
		if err := leadAndHang(address); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := listtest.Draw(40); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(pgtest.Main(m))
}

// leadAndHang leads, says so, and says so when it leads no more.
func leadAndHang(address string) error {
	ctx := context.Background()
	db, err := postgres.Open(ctx, address)
	if err != nil {
		return err
	}
	defer db.Close()
	ended := errors.New("ended")
	err = db.Leadership("list").Run(ctx, func(ctx context.Context) error {
		fmt.Println("leads")
		<-ctx.Done()
		fmt.Println("leads no more")
		return ended
	})
	return err
}

func TestALeaderThatHangsIsFollowedAndStopsWhenItWakes(t *testing.T) {
	address := pgtest.Database(t)
	db := open(t, address)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+address)
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the child says %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
	}
	expect("leads")
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var leading atomic.Int32
	await(t, "the standby leads", stand(t, db, &leading).leads)
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	expect("leads no more")
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
}

func TestTheNextLeaderIsNotHeldUpByATransactionOfTheLast(t *testing.T) {
	address := pgtest.Database(t)
	proxy := storetest.RunProxy(t, address)
	c := codec.New(&listtest.Sealer{})
	last := open(t, through(t, proxy, address))
	checkpoint(t, last.Live(c))
	var leading atomic.Int32
	await(t, "the only candidate leads", stand(t, last, &leading).leads)
	w := &listtest.World{Codec: c}
	if err := last.Live(c).Apply(t.Context(), 0, w.Encode(t, 0, listtest.NewApp("app")...)); err != nil {
		t.Fatal(err)
	}
	hang(t, address, liveSchema(t, last))

	db := open(t, address)
	next := stand(t, db, &leading)
	proxy.Stop()
	await(t, "the other one leads", next.leads)
	began := time.Now()
	if err := db.Live(c).Apply(t.Context(), 2, w.Encode(t, 2, listtest.NewApp("other")...)); err != nil {
		t.Errorf("apply: %v", err)
	}
	if took := time.Since(began); took > takeover {
		t.Errorf("the next leader was held up for %s", took)
	}
}

// hang leaves a transaction open that has moved the checkpoint, in a session like those of the
// only instance, as if that had stopped amid a batch.
func hang(t *testing.T, address, schema string) {
	t.Helper()
	conn := connect(t, address)
	const like = "SELECT set_config('application_name', (SELECT min(application_name) FROM pg_stat_activity " +
		"WHERE datname = current_database() AND application_name LIKE 'rollcall writer %'), false)"
	execSQL(t, conn, like)
	execSQL(t, conn, "BEGIN")
	execSQL(t, conn, "UPDATE "+schema+".progress SET checkpoint = checkpoint + 1")
}
