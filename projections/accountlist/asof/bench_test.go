package asof_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/eventstore/jetstream"
	"rollcall/projections/accountlist/asof"
	"rollcall/projections/accountlist/listtest"
)

var benchAccounts = flag.Int("accounts", 20_000, "number of accounts of the benchmark")

// BenchmarkBuild builds the list of an application as of the end of a log, beside a bare reading of the same events, and reads pages of it.
func BenchmarkBuild(b *testing.B) {
	c := codec.New(listtest.NewGCMSealer(b))
	store := benchLog(b, c)
	last, err := store.Last(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		began := time.Now()
		for _, err := range store.ReadApp(b.Context(), string(listtest.LoadApp), 1, last) {
			if err != nil {
				b.Fatal(err)
			}
		}
		bare := time.Since(began)
		lists, err := asof.New(b.TempDir()+"/asof", store, c, asof.Options{Wait: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		l := domain.Listing{App: listtest.LoadApp, AsOf: uint64(last), Sort: domain.SortNickname}
		before, most := resident(), 0.0
		began = time.Now()
		for {
			page, err := lists.Page(b.Context(), l)
			most = max(most, resident()-before)
			if _, unready := errors.AsType[*asof.UnreadyError](err); unready {
				continue
			}
			if err != nil || page.Total != *benchAccounts {
				b.Fatal(page.Total, err)
			}
			break
		}
		took := time.Since(began)
		b.ReportMetric(float64(*benchAccounts)/took.Seconds(), "accounts/s")
		b.ReportMetric(took.Seconds()/bare.Seconds(), "x-bare-reading")
		b.ReportMetric(most, "MiB-grown")
		runtime.GC()
		b.ReportMetric(resident()-before, "MiB-kept")
		for _, text := range []string{"", "김민준", "777"} {
			l.Filter.Text = text
			began = time.Now()
			const pages = 50
			for range pages {
				if _, err := lists.Page(b.Context(), l); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(time.Since(began).Microseconds())/pages, "µs/page-q="+text)
		}
		began = time.Now()
		if err := lists.Forget(b.Context(), listtest.LoadApp, asof.Deletion{User: "user_0000000", Position: last + 1}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/forget")
		if err := lists.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// benchLog returns a log with an application and its accounts, on a server that does not wait for the disk.
func benchLog(b *testing.B, c *codec.Codec) *jetstream.Store {
	b.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: b.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		b.Fatal(err)
	}
	srv.Start()
	b.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	store, err := jetstream.Open(b.Context(), nc, jetstream.Config{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	js, err := natsjs.New(nc, natsjs.WithPublishAsyncMaxPending(4096))
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	publish(b, js, c, 0, listtest.NewApp(listtest.LoadApp)[0])
	for i := range *benchAccounts {
		publish(b, js, c, i+1, listtest.LoadAccount(r, i))
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(10 * time.Minute):
		b.Fatal("the log does not take the events")
	}
	return store
}

func publish(b *testing.B, js natsjs.JetStream, c *codec.Codec, i int, event domain.Event) {
	b.Helper()
	env, err := c.Encode(context.Background(), codec.Meta{EventID: fmt.Sprintf("%026d", i), Actor: "bench", CommandID: fmt.Sprint("c", i)}, fmt.Sprint("key", i), event)
	if err != nil {
		b.Fatal(err)
	}
	data, err := eventstore.Marshal(env)
	if err != nil {
		b.Fatal(err)
	}
	m := &nats.Msg{Subject: env.Aggregate.Subject(), Data: data, Header: nats.Header{natsjs.ExpectedLastSubjSeqHeader: {"0"}}}
	if _, err := js.PublishMsgAsync(m, natsjs.WithStallWait(time.Minute)); err != nil {
		b.Fatal(err)
	}
}

// resident returns how much memory the process occupies, in MiB, as Linux tells it.
func resident() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if kb := 0; strings.HasPrefix(line, "VmRSS") {
			if _, err := fmt.Sscanf(strings.TrimPrefix(line, "VmRSS:"), "%d", &kb); err == nil {
				return float64(kb) / 1024
			}
		}
	}
	return 0
}
